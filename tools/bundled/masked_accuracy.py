"""How the bundled masked diffusion model answers by each decoding method: what its card says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundled.questions import QUESTIONS_EACH, QUESTIONS_SEED, held_out_questions, validation_questions

from ipw.workloads.diffusion.decoding import decode_batch
from ipw.workloads.diffusion.run import asked_of, batches
from ipw.workloads.diffusion.settings import Settings, settings_of
from ipw.workloads.diffusion.subject import Subject, load
from ipw.workloads.texts.datasets import BUNDLED, BUNDLED_LONG
from ipw.workloads.texts.datasets import load as load_questions
from ipw.workloads.texts.questions import Question

BATCH, VALIDATION_SEED = 60, 11
TRIED: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {
    BUNDLED: (8, {
        "greedy": {}, "greedy, 4 steps": {"steps": 4}, "greedy, 2 steps": {"steps": 2}, "greedy, 1 step": {"steps": 1},
        "random": {"sampler": "random"}, "threshold": {"sampler": "threshold"}, "local-leap": {"sampler": "local-leap"},
        "dkv-decode": {"cache": "decode"}, "dkv-decode, refresh 1": {"cache": "decode", "refresh": 1},
        "dkv-prefill": {"cache": "prefill"}, "dkv-pd": {"cache": "pd"},
        "dkv-greedy": {"sampler": "random", "cache": "greedy"},
        "local-leap+dkv-prefill": {"sampler": "local-leap", "cache": "prefill"},
    }),
    BUNDLED_LONG: (48, {
        "greedy": {}, "greedy, 12 steps": {"steps": 12}, "greedy, 1 step": {"steps": 1},
        "greedy, blocks of 8": {"block_length": 8}, "left to right": {"block_length": 1},
        "threshold": {"sampler": "threshold"},
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
        questions, rows = load_questions(dataset).questions, []
        wanted = {question.id: question.answer for question in questions}
        first: dict[str, str] = {}
        for name, options in tried.items():
            texts, passes = _answered(model, questions, settings_of(length=length, **options))
            first = first or texts
            right = dict.fromkeys((str(each.subject) for each in questions), 0)
            for each in questions:
                right[str(each.subject)] += texts[each.id] == each.answer
            rows.append({
                "method": name, "right": right, "asked": len(questions), "passes": passes,
                "same": sum(text == first[key] for key, text in texts.items()),
                "lost": sum(first[key] == wanted[key] != text for key, text in texts.items()),
                "won": sum(first[key] != wanted[key] == text for key, text in texts.items()),
            })  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
        found[dataset] = rows
    return found


def validation(folder: Path, each: int = 60) -> dict[str, float]:
    """Share of right answers by subject, of the plain sampler, to held-out questions that are not in `questions.jsonl`.

    To look at while recipes are tried, so that the questions that are asked decide nothing.
    """
    model, known = load(folder, device="cpu"), held_out_questions(QUESTIONS_EACH, QUESTIONS_SEED)
    drawn = validation_questions(each, VALIDATION_SEED, known)
    questions = [Question(str(k), one.subject, one.prompt, one.answer) for k, one in enumerate(drawn)]
    texts, _ = _answered(model, questions, settings_of(length=8))
    total, right = Counter(one.subject for one in drawn), Counter[str]()
    for one in questions:
        right[str(one.subject)] += texts[one.id] == one.answer
    return {subject: right[subject] / count for subject, count in total.items()}


def _answered(model: Subject, questions: Sequence[Question], settings: Settings) -> tuple[dict[str, str], int]:
    """Texts by question, and forward passes of all together."""
    texts, passes = {}, 0
    for batch in batches(asked_of(questions, model, 0), BATCH):
        answers = decode_batch(model, [each.prompt for each in batch], settings, [each.seed for each in batch])
        for each, decoded in zip(batch, answers, strict=True):
            texts[each.question.id] = model.text(decoded.tokens[len(each.prompt) :])
            passes += len(decoded.committed)
    return texts, passes
