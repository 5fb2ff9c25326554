"""How the bundled masked diffusion model answers by each decoding method: what its card says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ipw.workloads.diffusion.decoding import decode_batch
from ipw.workloads.diffusion.run import asked_of, batches
from ipw.workloads.diffusion.settings import settings_of
from ipw.workloads.diffusion.subject import load
from ipw.workloads.texts.datasets import BUNDLED, BUNDLED_LONG
from ipw.workloads.texts.datasets import load as load_questions

BATCH = 60
TRIED: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {
    BUNDLED: (8, {
        "greedy": {}, "greedy, 4 steps": {"steps": 4}, "greedy, 2 steps": {"steps": 2}, "greedy, 1 step": {"steps": 1},
        "random": {"sampler": "random"}, "threshold": {"sampler": "threshold"}, "local-leap": {"sampler": "local-leap"},
        "dkv-decode": {"cache": "decode"}, "dkv-prefill": {"cache": "prefill"}, "dkv-pd": {"cache": "pd"},
        "dkv-greedy": {"sampler": "random", "cache": "greedy"},
        "local-leap+dkv-prefill": {"sampler": "local-leap", "cache": "prefill"},
    }),
    BUNDLED_LONG: (48, {
        "greedy": {}, "greedy, 12 steps": {"steps": 12}, "greedy, 1 step": {"steps": 1},
        "greedy, blocks of 8": {"block_length": 8}, "threshold": {"sampler": "threshold"},
        "local-leap": {"sampler": "local-leap"},
        "local-leap, blocks of 8": {"sampler": "local-leap", "block_length": 8},
        "dkv-decode": {"cache": "decode"}, "dkv-prefill": {"cache": "prefill"},
    }),
}  # fmt: skip
"""Tokens of an answer, and what is tried on each set of questions: the first is what the others are held against."""


def accuracies(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Right answers by subject, forward passes an answer and answers like the first method's, of every method."""
    model = load(folder, device="cpu")
    found: dict[str, list[dict[str, Any]]] = {}
    for dataset, (length, tried) in TRIED.items():
        asked, rows = asked_of(load_questions(dataset).questions, model, 0), []
        first: dict[str, str] = {}
        for name, options in tried.items():
            settings, right, passes = settings_of(length=length, **options), Counter[str](), 0
            texts: dict[str, str] = {}
            for batch in batches(asked, BATCH):
                answers = decode_batch(model, [each.prompt for each in batch], settings, [each.seed for each in batch])
                for each, decoded in zip(batch, answers, strict=True):
                    text = model.text(decoded.tokens[len(each.prompt) :])
                    texts[each.question.id] = text
                    passes += len(decoded.committed)
                    right[str(each.question.subject)] += text == each.question.answer
            first = first or texts
            same = sum(texts[key] == first[key] for key in texts)
            rows.append({"method": name, "right": dict(right), "asked": len(asked), "passes": passes, "same": same})
            print(json.dumps(rows[-1]), flush=True)
        found[dataset] = rows
    return found
