"""The routing of a model that runs here, over texts, as parts of a trace; nothing is measured meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TEXTS = 240
LENGTH = 256
WRITE = 32
"""Tokens that the model writes after each text; those are what offloading is judged on."""


def capture(model: str, corpus: str, folder: Path) -> None:
    """Let `model` read texts and write on, and keep its routing in `folder`. Raises UsageError."""
    from ipw.workloads.routing.capture import Capture
    from ipw.workloads.routing.forward import read
    from ipw.workloads.routing.subject import load_subject
    from ipw.workloads.routing.trace import Writer
    from ipw.workloads.texts.corpus import cut, read_corpus

    subject = load_subject(model)
    write = 0 if subject.model.config.is_encoder_decoder else WRITE
    noted = Capture(subject.model)
    try:
        writer: Writer | None = None
        texts = read_corpus(corpus, limit=TEXTS)
        for sequence in cut(texts, subject.encode, LENGTH, TEXTS):
            read(subject, sequence.token_ids, write)
            experts = noted.take()
            writer = writer or Writer(folder, noted.num_experts, noted.layers)
            writer.add(experts, np.full(len(experts), -1), len(sequence.token_ids), sequence.domain)
        if writer is not None:
            writer.flush()
    finally:
        noted.close()
