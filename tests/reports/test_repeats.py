from __future__ import annotations

from typing import Any

import pytest

from ipw.reports.page.repeats import apart


def run(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    repetition: int,
    level: int | None = 4,
    series: str | None = "abcd",
    name: str = "energy_per_query_j",
) -> dict[str, Any]:
    return {
        "workload": {
            "kind": "lm",
            "parameters": {"concurrency": level},
            **({"series": {"id": series, "repetition": repetition}} if series else {}),
        },
        "metrics": {name: {"value": value, "low": low, "high": high, "unit": "J"}},
    }


def test_two_repetitions_whose_intervals_lie_far_apart_are_told_without_choosing_one() -> None:
    (told,) = apart([run(1.981, 1.2, 2.8, repetition=0), run(0.041, 0.02, 0.06, repetition=1)])
    assert told.startswith("repetitions do not agree, and their intervals lie apart: ")
    assert "energy per query 1.98 J in repetition 1, 0.041 J in repetition 2" in told


def test_one_of_several_that_is_far_outside_is_named_beside_the_others() -> None:
    values = [(1.0, 0.98, 1.02), (1.01, 0.99, 1.03), (2.5, 2.4, 2.6), (0.99, 0.97, 1.01)]
    (told,) = apart([run(*value, repetition=k) for k, value in enumerate(values)])
    assert told == "repetition 3 is far outside the others: energy per query 2.50 J, theirs 0.990 J to 1.010 J"


@pytest.mark.parametrize(
    "values",
    [
        [(1.0, 0.99, 1.01), (1.1, 1.09, 1.11)],  # apart, but not far
        [(1.0, 0.2, 1.8), (2.0, 1.0, 3.0)],  # far, but their intervals meet
        [(1.0, None, None), (9.0, None, None)],  # nobody knows how far apart
        [(1.0, 0.99, 1.01), (None, None, 5.0)],  # below resolution
        [(1.0, 0.99, 1.01)],
    ],
)
def test_what_may_well_agree_is_not_told(values: list[tuple[float | None, ...]]) -> None:
    assert apart([run(*value, repetition=k) for k, value in enumerate(values)]) == []


def test_levels_of_a_sweep_and_runs_of_no_series_are_no_repetitions() -> None:
    levels = [run(2.0, 1.9, 2.1, repetition=0, level=1), run(0.5, 0.4, 0.6, repetition=0, level=8)]
    alone = [run(2.0, 1.9, 2.1, repetition=0, series=None), run(0.5, 0.4, 0.6, repetition=0, series=None)]
    assert apart(levels) == apart(alone) == []


def test_a_level_of_a_sweep_is_named() -> None:
    runs = [run(1.0, 0.9, 1.1, repetition=k, level=level) for k in (0, 1) for level in (1, 8)]
    runs[3] = run(3.0, 2.9, 3.1, repetition=1, level=8)
    (told,) = apart(runs)
    assert told.endswith("(8 in flight)")


def test_where_no_query_has_joules_tokens_and_watts_are_compared() -> None:
    runs = [run(k + 1.0, k + 0.9, k + 1.1, repetition=k, name="mean_power_w") for k in (0, 1)]
    assert "power" in apart(runs)[0]


def test_damaged_summaries_are_passed_over() -> None:
    assert apart([{}, {"workload": 5, "metrics": None}, run(1.0, repetition=0)]) == []
