from __future__ import annotations

from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.workloads.diffusion.methods import methods_of
from ipw.workloads.diffusion.parameters import Parameters


def _names(text: str) -> list[tuple[str, str, str]]:
    return [tuple(method) for method in methods_of(text)]  # type: ignore[misc]


def test_a_name_is_a_sampler_a_cache_or_both() -> None:
    assert _names("greedy, local-leap,dkv-decode ,dkv-greedy,local-leap+dkv-prefill") == [
        ("greedy", "low-confidence", "none"),
        ("local-leap", "local-leap", "none"),
        ("dkv-decode", "low-confidence", "decode"),
        ("dkv-greedy", "random", "greedy"),
        ("local-leap+dkv-prefill", "local-leap", "prefill"),
    ]


def test_order_is_kept_and_doubles_are_dropped_also_under_another_name() -> None:
    assert [name for name, *_ in _names("threshold,greedy,fast-dllm,greedy,greedy+dkv-decode,dkv-decode")] == [
        "threshold", "greedy", "greedy+dkv-decode",
    ]  # fmt: skip


def test_a_cache_is_held_against_its_sampler_and_a_sampler_against_the_plain_one() -> None:
    found = {m.name: m.held_against for m in methods_of("greedy,local-leap,dkv-decode,threshold+dkv-pd,dkv-greedy")}
    assert found == {
        "greedy": None, "local-leap": "greedy", "dkv-decode": "greedy", "threshold+dkv-pd": "threshold",
        "dkv-greedy": "random",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("local-leep", "no method 'local-leep'", "did you mean local-leap"),
        ("greedy+dkv-decod", "no method 'dkv-decod'", "did you mean dkv-decode"),
        (" , ", "no method is named", "--method greedy"),
        ("dkv-decode+greedy", "not a sampler and a cache", "local-leap+dkv-decode"),
        ("greedy+threshold", "not a sampler and a cache", "local-leap+dkv-decode"),
        ("greedy+dkv-decode+dkv-pd", "not a sampler and a cache", "local-leap+dkv-decode"),
        ("greedy+", "no method ''", "known: greedy"),
    ],
)
def test_what_is_no_method_is_told_with_the_nearest(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r".") as error:
        methods_of(text)
    assert said in error.value.message
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("options", "method", "said", "hint"),
    [
        ({"answer_length": 100, "block_length": 32}, "greedy", "100 tokens cannot be cut into blocks of 32",
         "--block-length 25, or --answer-length 96 or 128"),
        ({"answer_length": 8, "block_length": 0}, "greedy", "8 tokens cannot be cut into blocks of 0",
         "--block-length"),
        ({"answer_length": 8, "block_length": 16}, "greedy", "8 tokens cannot be cut into blocks of 16",
         "--block-length 8"),
        ({"answer_length": -4}, "greedy", "-4 tokens has no room", "1 or more"),
        ({"answer_length": 0}, "greedy", "0 tokens has no room", "1 or more"),
        ({"answer_length": 64, "block_length": 16, "steps": 62}, "greedy", "62 steps cannot be shared by 4 blocks",
         "--steps 64"),
        ({"answer_length": 64, "block_length": 16, "steps": 68}, "dkv-decode", "68 steps cannot be shared",
         "--steps 64"),
        ({"answer_length": 64, "block_length": 16, "steps": 2}, "random", "2 steps cannot be shared", "--steps 4"),
        ({"answer_length": 8, "steps": 0}, "greedy", "0 steps", "--steps 1"),
        ({"threshold": 0.8, "relaxed": 0.9}, "local-leap", "relaxed threshold 0.9 must be above 0 and at most",
         "--relaxed 0.75"),
        ({"threshold": 0.8, "relaxed": 0.9}, "greedy", "relaxed threshold 0.9", "--relaxed 0.75"),
        ({"relaxed": 0.0}, "local-leap", "relaxed threshold 0 must be above 0", "--relaxed 0.75"),
        ({"threshold": 0.0}, "threshold", "threshold of 0", "above 0"),
        ({"threshold": -1.0}, "greedy", "threshold of -1", "above 0"),
        ({"threshold": float("nan")}, "threshold", "threshold of nan", "above 0"),
        ({"radius": -1}, "local-leap", "--radius -1", "0 or more"),
        ({"refresh": 0}, "dkv-decode", "--refresh 0", "1 or more"),
        ({"window": -1}, "dkv-greedy", "--window -1", "0 or more"),
        ({"temperature": -0.5}, "greedy", "temperature of -0.5", "0 or more"),
        ({}, "local-leap+dkv-greedy", "dkv-greedy must know the order beforehand", "local-leap+dkv-decode"),
        ({}, "greedy+dkv-greedy", "dkv-greedy must know the order beforehand", "local-leap+dkv-decode"),
        ({"answer_length": 8, "block_length": 4}, "dream", "Dream's schedule knows one block", "--method greedy"),
        ({"answer_length": 8, "block_length": 4}, "dream-entropy+dkv-pd", "Dream's schedule knows one block", "leave"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_go_together_are_told_with_what_would(
    options: dict[str, Any], method: str, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as error:
        Parameters(**options).settings(methods_of(method)[0], one_block=True)
    assert said in error.value.message
    assert hint in str(error.value.hint)
    assert "\n" not in error.value.message


def test_a_low_threshold_alone_lowers_the_relaxed_one() -> None:
    assert Parameters(threshold=0.5).settings(methods_of("local-leap")[0], one_block=True).relaxed == 0.5


def test_defaults_suit_the_questions_and_the_model() -> None:
    greedy, dream, cache = methods_of("greedy,dream,dkv-greedy")
    bundled = Parameters().settings(greedy, one_block=True)
    assert (bundled.length, bundled.block_length, bundled.steps, bundled.refresh) == (8, 8, 8, 8)
    llada = Parameters(dataset="q.jsonl").settings(greedy, one_block=False)
    assert (llada.length, llada.block_length, llada.steps) == (256, 32, 256)
    assert Parameters(dataset="q.jsonl").settings(dream, one_block=False).block_length == 256
    assert Parameters(dataset="q.jsonl", answer_length=20).settings(greedy, one_block=False).block_length == 20
    assert Parameters().settings(cache, one_block=True).refresh == 2


def test_steps_do_not_bind_methods_that_take_as_many_as_they_need() -> None:
    given = Parameters(answer_length=64, block_length=16, steps=3)
    assert given.settings(methods_of("threshold")[0], one_block=False).steps == 64
