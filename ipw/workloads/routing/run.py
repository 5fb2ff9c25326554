"""The measured part of a routing run: every sequence once through the model, its routing kept part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ipw.errors import UsageError
from ipw.workloads.base import Book, Counters, Marker, Progress
from ipw.workloads.routing.capture import Capture
from ipw.workloads.routing.forward import Pass, read
from ipw.workloads.routing.offload.run import SEQUENCES, run_offload
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.subject import Subject
from ipw.workloads.routing.trace import Writer
from ipw.workloads.texts.corpus import Sequence, cut, read_corpus

EXAMPLE_TOKENS = 160
"""So much of the first sequence is kept as text, for the routing map."""


def run_routing(
    marker: Marker, book: Book, folder: Path, subject: Subject, parameters: Parameters, progress: Progress
) -> None:
    """Read the corpus, let the model write where asked to, and keep the routing of all of it in `folder`.

    A sequence is journalled as a query when its routing is noted; parts of routing are written as they fill, the last
    also when the run is cut short. Raises UsageError for a dense model and for a corpus without text.
    """
    if parameters.write and subject.model.config.is_encoder_decoder:
        raise UsageError("an encoder-decoder model only reads here", "leave --write out")
    texts = read_corpus(parameters.corpus, limit=parameters.limit, seed=parameters.seed)
    sequences = cut(texts, subject.encode, parameters.sequence_length, parameters.limit)
    capture = Capture(subject.model)
    try:
        first = next(sequences)
        with marker.span("warm-up", "warmup"):
            for _ in range(max(parameters.warmup, 1)):
                read(subject, first.token_ids, parameters.write)
                capture.take()
        book.append("example", {"query_id": first.id, "pieces": subject.pieces(first.token_ids[:EXAMPLE_TOKENS])})
        writer = Writer(folder, capture.num_experts, capture.layers)
        counters = Counters(total=1)
        with marker.span("measure", "measure"):
            try:
                _keep(book, writer, subject, capture, first, parameters.write, counters)
                progress(counters)
                for sequence in sequences:
                    counters.total = counters.done + 1
                    _keep(book, writer, subject, capture, sequence, parameters.write, counters)
                    progress(counters)
            finally:
                writer.flush()
        shape = capture.num_experts, capture.experts_per_token
    finally:
        capture.close()
    if parameters.offload:
        few = min(parameters.limit or SEQUENCES, SEQUENCES)
        texts = read_corpus(parameters.corpus, limit=few, seed=parameters.seed)
        again = list(cut(texts, subject.encode, parameters.sequence_length, few))
        run_offload(marker, book, subject, folder, again, parameters.offload, shape, parameters.write, progress)


def _keep(
    book: Book,
    writer: Writer,
    subject: Subject,
    capture: Capture,
    sequence: Sequence,
    write: int,
    counters: Counters,
) -> None:
    passed = read(subject, sequence.token_ids, write)
    experts = capture.take()
    token_ids = np.array([*sequence.token_ids, *passed.written], np.int32)[: len(experts)]
    writer.add(experts, token_ids, len(sequence.token_ids), sequence.domain)
    book.append("query", _record(sequence, passed))
    counters.done += 1
    counters.tokens += len(experts)


def _record(sequence: Sequence, passed: Pass) -> dict[str, object]:
    return {
        "query_id": sequence.id,
        "subject": sequence.domain,
        "start_ns": passed.start_ns,
        "first_token_ns": passed.first_token_ns,
        "end_ns": passed.end_ns,
        "status": "ok",
        "error": None,
        "prompt_tokens": len(sequence.token_ids),
        "completion_tokens": len(passed.written),
        "cached_tokens": 0,
        "tokens_source": "counted",
        "concurrency": 1,
    }
