"""Columns of a run's queries from journal records: what follows from what, and what a failed one leaves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ipw.runs.queries import DRAWN, Queries, from_records

S = 1_000_000_000


def row(**changes: Any) -> dict[str, Any]:
    return {
        "query_id": "q", "subject": "s", "status": "ok", "prompt_tokens": 10, "completion_tokens": 5, "score": 1.0,
        "cached_tokens": 4, "start_ns": S, "first_token_ns": 2 * S, "last_token_ns": 4 * S, "end_ns": 5 * S,
    } | changes  # fmt: skip


def column(name: str, *rows: dict[str, Any]) -> list[float]:
    found: list[float] = from_records(rows).numbers[name].tolist()
    return found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("one", 1), ("tokens", 15), ("uncached_tokens", 6), ("latency_s", 4), ("ttft_s", 1),
        ("itl_s", 2 / 4),  # two seconds for the four tokens after the first
    ],
)  # fmt: skip
def test_what_follows_from_the_columns_of_a_record(name: str, value: float) -> None:
    assert column(name, row()) == [pytest.approx(value)]


def test_without_known_cached_tokens_all_of_a_prompt_was_read() -> None:
    assert column("uncached_tokens", row(cached_tokens=None)) == [10]


def test_one_token_has_no_pause_after_it() -> None:
    one, none, two = column("itl_s", row(completion_tokens=1), row(completion_tokens=0), row(completion_tokens=2))
    assert math.isnan(one)
    assert math.isnan(none)
    assert two == 2


def test_a_failed_query_scores_0_and_has_the_tokens_that_are_known() -> None:
    failed = row(status="error", score=None, prompt_tokens=None, completion_tokens=3)
    assert column("score", row(), failed) == [1, 0]
    assert column("prompt_tokens", row(), failed) == [10, 0]
    assert column("completion_tokens", row(), failed) == [5, 3]
    assert math.isnan(column("prompt_tokens", row(prompt_tokens=None))[0])
    assert column("score", failed) == [0]  # where all failed, nothing was right


def test_where_nothing_was_scored_failing_is_no_wrong_answer() -> None:
    scores = column("score", row(score=None), row(status="error", score=None))
    assert all(math.isnan(score) for score in scores)


def test_scores_are_from_0_to_1_and_one_that_is_missing_among_others_is_0() -> None:
    assert column("score", row(score=1.5), row(score=-2), row(score=None), row(score=0.25)) == [1, 0, 0, 0.25]


@pytest.mark.parametrize("wrong", [True, "5", None, [5], math.inf, math.nan])
def test_what_is_no_number_is_not_known(wrong: object) -> None:
    assert math.isnan(column("completion_tokens", row(completion_tokens=wrong))[0])


def test_the_perplexity_of_an_answer_is_that_of_its_mean_log_probability() -> None:
    known = row(logprob_sum=-6.0, logprob_tokens=3)
    assert column("perplexity", known) == [pytest.approx(math.exp(2))]
    assert math.isnan(column("perplexity", row(logprob_sum=-6.0, logprob_tokens=0))[0])
    assert column("perplexity", row(logprob_sum=3.0, logprob_tokens=3)) == [1]  # no answer is surer than sure
    assert column("perplexity", row(logprob_sum=-1e9, logprob_tokens=1)) == [pytest.approx(math.exp(700))]


def test_a_standard_deviation_is_that_of_an_interval_of_95_percent() -> None:
    measured = row(energy_j=10.0, energy_low_j=8.04, energy_high_j=11.96, power_w=5.0)
    found = from_records([measured, row()])
    assert found.sds["energy_j"].tolist() == pytest.approx([1.0, 0], abs=1e-3)
    assert found.sds["prefill_energy_j"].tolist() == found.sds["decode_energy_j"].tolist()
    assert found.sds["power_w"].tolist() == pytest.approx([0.5, 0], abs=1e-3)
    nothing = from_records([row(energy_j=0.0, energy_low_j=-1.0, energy_high_j=1.0, power_w=0.0)])
    assert nothing.sds["power_w"].tolist() == [0]


def made() -> Queries:
    return from_records([row(query_id="b", subject="t"), row(query_id="a", subject=""), row(query_id="c", status="x")])


def test_rows_are_kept_by_a_mask_and_split_by_subject() -> None:
    found = made()
    assert (len(found), found.ok.tolist()) == (3, [True, True, False])
    some = found.where(np.array([True, False, True]))
    assert (some.texts["query_id"].tolist(), len(some)) == (["b", "c"], 2)
    assert some.sds["energy_j"].size == 2
    split = found.by_subject()
    assert {name: part.texts["query_id"].tolist() for name, part in split.items()} == {"s": ["c"], "t": ["b"]}
    assert list(split) == ["s", "t"]


def test_what_a_page_draws_is_half_as_large_and_the_same() -> None:
    drawn = made().drawn()
    assert set(drawn.numbers) == {*DRAWN, "one"}
    assert all(drawn.numbers[name].dtype == np.float32 for name in DRAWN)
    assert (len(drawn), drawn.ok.tolist(), drawn.texts["query_id"].tolist()) == (
        3,
        [True, True, False],
        ["b", "a", "c"],
    )
    assert drawn.numbers["one"].all()
    assert drawn.numbers["latency_s"].tolist() == [4, 4, 4]


def test_without_energy_joules_and_watts_are_not_known_and_the_rest_is() -> None:
    found = from_records([row(energy_j=10.0, energy_low_j=8.0, energy_high_j=12.0, power_w=5.0)]).without_energy()
    assert all(math.isnan(found.numbers[name][0]) for name in ("energy_j", "power_w", "decode_energy_j"))
    assert found.numbers["latency_s"].tolist() == [4]
    assert found.sds["energy_j"].tolist() == [0]
