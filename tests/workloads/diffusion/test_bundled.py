"""What holds for the bundled model: it is read like any other, and its methods keep what they promise."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from ipw.workloads.diffusion import load
from ipw.workloads.diffusion.decoding import decode_batch
from ipw.workloads.diffusion.run import asked_of, batches
from ipw.workloads.diffusion.settings import settings_of
from ipw.workloads.diffusion.subject import Subject
from ipw.workloads.texts.datasets import BUNDLED, BUNDLED_LONG
from ipw.workloads.texts.datasets import load as load_questions


@pytest.fixture(scope="module")
def bundled() -> Subject:
    return load("diffusion", device="cpu")


def _answers(
    model: Subject, dataset: str, limit: int, length: int, **options: Any
) -> tuple[dict[str, str], float, int]:
    """Texts by question, passes an answer, and how many are right."""
    asked = asked_of(load_questions(dataset, limit=limit).questions, model, 0)
    texts, passes, right = {}, 0, 0
    for batch in batches(asked, 24):
        made = decode_batch(
            model, [each.prompt for each in batch], settings_of(length=length, **options), [0] * len(batch)
        )
        for each, decoded in zip(batch, made, strict=True):
            texts[each.question.id] = model.text(decoded.tokens[len(each.prompt) :])
            passes += len(decoded.committed)
            right += texts[each.question.id] == each.question.answer
    return texts, passes / len(asked), right


def test_it_is_a_plain_checkpoint_of_transformers_that_says_what_it_is(bundled: Subject) -> None:
    assert type(bundled.model).__name__ == "Qwen3ForCausalLM"
    assert bundled.facts["parameters"] < 1_000_000
    assert bundled.shift
    assert bundled.tokenizer.mask_token_id == bundled.mask


def test_it_answers_and_local_leap_needs_less_than_half_of_the_passes(bundled: Subject) -> None:
    _, plain_passes, plain = _answers(bundled, BUNDLED, 24, 8)
    _, leap_passes, leap = _answers(bundled, BUNDLED, 24, 8, sampler="local-leap")
    assert min(plain, leap) >= 0.9 * 24
    assert leap_passes < plain_passes / 4


def test_a_cache_that_is_renewed_at_every_step_agrees_in_all_answers(bundled: Subject) -> None:
    plain, _, _ = _answers(bundled, BUNDLED, 24, 8)
    assert _answers(bundled, BUNDLED, 24, 8, cache="decode", refresh=1)[0] == plain


def test_long_answers_are_right_too_and_most_passes_are_spared(bundled: Subject) -> None:
    _, plain_passes, plain = _answers(bundled, BUNDLED_LONG, 12, 48, steps=12)
    _, leap_passes, leap = _answers(bundled, BUNDLED_LONG, 12, 48, sampler="local-leap")
    assert min(plain, leap) >= 0.8 * 12
    assert leap_passes < plain_passes / 2
