from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workloads.diffusion import tiny

from ipw.errors import UsageError
from ipw.workloads.diffusion import decode, load
from ipw.workloads.diffusion.decoding import Decoded, decode_batch
from ipw.workloads.diffusion.selection import select
from ipw.workloads.diffusion.settings import settings_of
from ipw.workloads.diffusion.subject import Subject

PROMPT = st.lists(st.integers(3, tiny.VOCABULARY - 2), min_size=1, max_size=7)
FEW = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLERS = st.sampled_from(["low-confidence", "random", "threshold", "local-leap"])
SURE: dict[str, Any] = {"threshold": 0.7, "relaxed": 0.5, "radius": 1}


@pytest.fixture(params=["llada", "dream"])
def model(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found


def _same(one: Decoded, other: Decoded) -> bool:
    return one.tokens == other.tokens and one.committed == other.committed


@FEW
@given(
    prompt=PROMPT,
    sampler=SAMPLERS,
    cache=st.sampled_from(["none", "decode", "prefill", "pd"]),
    block=st.sampled_from([3, 6, 12]),
)
def test_every_position_is_committed_once_in_block_order_and_never_as_a_mask(
    model: Subject, prompt: list[int], sampler: str, cache: str, block: int
) -> None:
    found = decode(model, prompt, length=12, block_length=block, sampler=sampler, cache=cache, refresh=3, **SURE)
    positions = [p for step in found.committed for p in step]
    assert sorted(positions) == list(range(len(prompt), len(prompt) + 12))
    blocks = [(p - len(prompt)) // block for p in positions]
    assert blocks == sorted(blocks)
    assert all(found.committed)
    assert tiny.MASK not in found.tokens
    assert found.tokens[: len(prompt)] == prompt


@FEW
@given(prompt=PROMPT, sampler=SAMPLERS, block=st.sampled_from([4, 12]))
def test_a_cache_that_is_renewed_at_every_step_changes_nothing(
    model: Subject, prompt: list[int], sampler: str, block: int
) -> None:
    plain = decode(model, prompt, length=12, block_length=block, sampler=sampler, **SURE)
    assert _same(
        decode(model, prompt, length=12, block_length=block, sampler=sampler, cache="decode", refresh=1, **SURE), plain
    )
    if sampler == "random":
        greedy = decode(model, prompt, length=12, block_length=block, sampler="random", cache="greedy", refresh=1)
        assert _same(greedy, plain)


@FEW
@given(prompt=PROMPT, cache=st.sampled_from(["none", "decode", "prefill"]))
def test_local_leap_without_a_radius_or_with_equal_thresholds_is_the_threshold_rule(
    model: Subject, prompt: list[int], cache: str
) -> None:
    def by(sampler: str, relaxed: float, radius: int) -> Decoded:
        return decode(
            model, prompt, length=10, sampler=sampler, cache=cache, threshold=0.6, relaxed=relaxed, radius=radius
        )

    plain = by("threshold", 0.6, 0)
    assert _same(by("local-leap", 0.6, 4), plain)
    assert _same(by("local-leap", 0.1, 0), plain)


@FEW
@given(prompt=PROMPT, sampler=st.sampled_from(["threshold", "local-leap"]))
def test_a_threshold_above_one_commits_one_position_a_step_as_the_plain_sampler_does(
    model: Subject, prompt: list[int], sampler: str
) -> None:
    plain = decode(model, prompt, length=8, block_length=4)
    assert _same(decode(model, prompt, length=8, block_length=4, sampler=sampler, threshold=1.1), plain)
    assert [len(step) for step in plain.committed] == [1] * 8


@FEW
@given(prompts=st.lists(PROMPT, min_size=2, max_size=3), cache=st.sampled_from(["decode", "prefill", "pd"]))
def test_an_answer_does_not_depend_on_what_was_answered_before(
    model: Subject, prompts: list[list[int]], cache: str
) -> None:
    def asked(prompt: list[int]) -> Decoded:
        return decode(model, prompt, length=8, sampler="local-leap", cache=cache, refresh=3, **SURE)

    alone = [asked(prompt) for prompt in prompts]
    assert all(_same(asked(prompt), one) for prompt, one in zip(reversed(prompts), reversed(alone), strict=True))


@FEW
@given(
    size=st.integers(2, 7),
    count=st.integers(2, 4),
    sampler=SAMPLERS,
    cache=st.sampled_from(["none", "decode", "pd"]),
    draw=st.data(),
)
def test_a_batch_gives_each_answer_what_it_gives_alone(
    model: Subject, size: int, count: int, sampler: str, cache: str, draw: st.DataObject
) -> None:
    token = st.integers(3, tiny.VOCABULARY - 2)
    prompts = [draw.draw(st.lists(token, min_size=size, max_size=size)) for _ in range(count)]
    made = settings_of(length=8, block_length=4, sampler=sampler, cache=cache, refresh=3, early_stop=True, **SURE)
    together = decode_batch(model, prompts, made, seeds=range(count))
    alone = [decode_batch(model, [prompt], made, seeds=[seed])[0] for seed, prompt in enumerate(prompts)]
    assert all(_same(one, other) for one, other in zip(together, alone, strict=True))


def test_an_answer_that_computes_little_may_stand_beside_one_that_computes_all(model: Subject) -> None:
    prompts = [[3 + (5 * k + p) % 15 for p in range(4)] for k in range(12)]
    made = settings_of(length=12, block_length=3, sampler="threshold", cache="decode", refresh=8, threshold=0.6)
    together = decode_batch(model, prompts, made, seeds=range(12))
    steps = {len(answer.committed) for answer in together}
    assert len(steps) > 1, "answers must differ in their steps for blocks to begin at different times"
    assert all(
        _same(one, decode_batch(model, [prompt], made, seeds=[0])[0])
        for one, prompt in zip(together, prompts, strict=True)
    )


@FEW
@given(prompt=PROMPT)
def test_the_window_of_the_greedy_cache_over_everything_is_what_decode_computes_and_more(
    llada: Subject, prompt: list[int]
) -> None:
    found = decode(llada, prompt, length=8, sampler="random", cache="greedy", refresh=4, window=99)
    masked_before = [8, *[8 - step for step in range(7)]]
    whole = len(prompt) + 8
    assert found.computed == [whole if step % 4 == 0 else masked_before[step] for step in range(8)]


def test_what_is_cached_and_what_is_computed_are_all_positions(llada: Subject, dream: Subject) -> None:
    prompt = [3, 4, 5, 6]
    for model, expected in ((llada, [12, 12, 7, 6, 12, 4, 3, 2]), (dream, None)):
        found = decode(model, prompt, length=8, cache="decode", refresh=4)
        assert found.computed[0] == 12
        assert max(found.computed) <= 12
        assert expected is None or found.computed == expected
        assert decode(model, prompt, length=8).computed == [12] * 8
    assert decode(llada, prompt, length=8, cache="prefill").computed == [12, *[8] * 7]
    assert decode(dream, prompt, length=8, cache="prefill").computed == [12, *[9] * 7]


def test_a_partial_pass_over_an_unchanged_sequence_predicts_what_the_full_pass_does(model: Subject) -> None:
    import torch

    from ipw.workloads.diffusion.decoding import Passes

    tokens = np.array([3, 4, 5, 6, 7, *[tiny.MASK] * 5], np.int64)
    passes = Passes(model, keep=True)
    with torch.inference_mode():
        whole, _ = passes.run([tokens], [None])
        part, rows = passes.run([tokens], [np.array([1, 4, 8])])
    assert rows[0].tolist() == [1, 4, 8]
    assert torch.allclose(part[0], whole[0, [1, 4, 8]], atol=1e-5)


def test_logits_are_those_of_a_plain_forward_pass(tmp_path: Path) -> None:
    import torch

    from ipw.workloads.diffusion.decoding import Passes

    folder = tiny.llada(tmp_path / "m", seed=3)
    model = load(folder, device="cpu")
    tokens = [3, 9, 4, 17, 5, *[tiny.MASK] * 6]
    with torch.inference_mode():
        hidden, _ = Passes(model, keep=False).run([np.array(tokens)], [None])
        logits = model.head(hidden[0]).numpy()
    assert np.allclose(logits, tiny.plain_llada_logits(folder, tokens), atol=2e-4)


def test_decoding_without_a_cache_is_the_rule_applied_again_and_again(tmp_path: Path) -> None:
    folder = tiny.llada(tmp_path / "m", seed=5)
    model, tokens = load(folder, device="cpu"), [3, 9, 4, *[tiny.MASK] * 8]
    found = decode(model, tokens[:3], length=8, block_length=4, sampler="local-leap", **SURE)
    for step in found.committed:
        first = tokens.index(tiny.MASK)
        block = range(3, 7) if first < 7 else range(7, 11)
        logits = plain_without_mask(folder, tokens)[list(block)]
        masked = [tokens[p] == tiny.MASK for p in block]
        positions, committed = select(logits, masked, threshold=0.7, relaxed=0.5, radius=1)
        assert step == [block[p] for p in positions]
        for p, token in zip(step, committed.tolist(), strict=True):
            tokens[p] = token
    assert found.tokens == tokens


def plain_without_mask(folder: Path, tokens: list[int]) -> Any:
    logits = tiny.plain_llada_logits(folder, tokens)
    logits[:, tiny.MASK] = -np.inf
    return logits


def test_early_stop_fills_what_is_left_with_the_end_and_commits_no_more(llada: Subject) -> None:
    whole = decode(llada, [3, 4], length=12, block_length=3)
    end = whole.tokens[2 + 4]  # in the second of four blocks, not at its edge
    found = decode(replace(llada, ends=frozenset({end})), [3, 4], length=12, block_length=3, early_stop=True)
    first = (whole.tokens.index(end) - 2) // 3
    last = 3 * (first + 1)
    assert found.committed == whole.committed[:last]
    assert found.tokens == [*whole.tokens[: 2 + last], *[end] * (12 - last)]
    assert decode(llada, [3, 4], length=12, block_length=3, early_stop=True).tokens == whole.tokens


def test_dreams_schedule_spends_its_first_pass_for_nothing(dream: Subject) -> None:
    found = decode(dream, [3, 4, 5], length=8, sampler="dream")
    assert [len(step) for step in found.committed] == [0, *[1] * 6, 2]


def test_a_temperature_draws_from_the_seed_and_zero_is_greedy(llada: Subject) -> None:
    def drawn(seed: int, temperature: float = 1.0) -> list[int]:
        return decode(llada, [3, 4], length=12, temperature=temperature, seed=seed).tokens

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 1
    assert drawn(1, 0.0) == decode(llada, [3, 4], length=12).tokens


def test_the_order_may_be_given(llada: Subject) -> None:
    found = decode(llada, [3, 4], length=4, block_length=2, sampler="random", order=[[3, 2], [4, 5]])
    assert found.committed == [[3], [2], [4], [5]]


def test_a_prompt_that_cannot_be_answered_is_said(llada: Subject) -> None:
    for prompt, why in (([], "empty"), ([3, tiny.MASK], "mask"), ([3] * 60, "64"), ([99], "does not know")):
        with pytest.raises(UsageError, match=why):
            decode(llada, prompt, length=8)


def test_logits_that_are_no_numbers_fail_the_answer(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny.llada(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.transformer.ln_f.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UsageError, match="gave no numbers"):
        decode(load(folder, device="cpu"), [3, 4], length=4)


def test_confidence_is_told_for_what_is_committed(llada: Subject) -> None:
    found = decode(llada, [3, 4], length=6)
    assert [len(step) for step in found.confidence] == [len(step) for step in found.committed]
    assert all(0 < c <= 1 for step in found.confidence for c in step)
