"""Several models over the same questions: the paper's analyses, and where they must refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ipw.metrics.hybrid import Expense, Saving, route
from ipw.metrics.panel import align, coverage, difficulty, duel, gain
from ipw.runs.queries import Queries, from_records

SOLVED = st.tuples(st.integers(1, 5), st.integers(1, 30)).flatmap(lambda shape: arrays(np.bool_, shape))


def asked(**scores: float) -> Queries:
    return from_records([{"query_id": key, "score": score, "status": "ok"} for key, score in scores.items()])


def test_runs_are_put_side_by_side_by_question_and_what_not_all_were_asked_is_counted() -> None:
    aligned = align([asked(a=1.0, b=0.0, c=1.0), asked(c=0.0, a=1.0, z=1.0)])
    assert aligned.query_ids == ["a", "c"]
    assert aligned.scores.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert aligned.left_out == 2


def test_a_question_that_was_asked_twice_counts_with_its_mean() -> None:
    rows = [{"query_id": "a", "score": score, "status": "ok"} for score in (1.0, 0.0)]
    assert align([from_records(rows), from_records(rows[:1])]).scores.tolist() == [[0.5], [1.0]]


@given(SOLVED)
def test_the_union_solves_at_least_what_the_best_solves_and_at_most_all_together(solved: np.ndarray) -> None:
    each, union, alone = coverage(solved)
    assert union.value >= max(share.value for share in each) - 1e-12
    assert union.value <= sum(share.value for share in each) + 1e-12
    assert sum(alone) <= union.questions


@given(arrays(np.float64, st.tuples(st.just(2), st.integers(1, 30)), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_wins_ties_and_losses_are_all_there_is_and_turn_round_with_the_sides(scores: np.ndarray) -> None:
    one, other = duel(scores[0], scores[1]), duel(scores[1], scores[0])
    assert one.wins.value + one.ties.value + one.losses.value == pytest.approx(1)
    assert one.wins == other.losses
    assert one.ties == other.ties
    assert one.both_right.questions + one.both_wrong.questions == one.ties.questions


def test_two_models_of_accuracy_a_half_may_win_or_tie_on_three_quarters() -> None:
    one = duel(np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert [part.value for part in (one.wins, one.both_right, one.both_wrong, one.losses)] == [0.25] * 4
    assert one.win_tie == 0.75, "as the paper counts, wrong against wrong too"
    assert one.wins.value + one.both_right.value == 0.5, "what a local model takes over without loss"


def test_difficulty_is_the_smallest_model_that_solves_a_question() -> None:
    solved = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]], np.bool_)
    assert difficulty(solved, [4e9, 8e9, 20e9]).tolist() == [0, 1, 2, 3]
    assert difficulty(solved[::-1], [20e9, 8e9, 4e9]).tolist() == [0, 1, 2, 3]
    assert difficulty(solved, [4e9, 4e9, 20e9]).tolist() == [0, 0, 1, 2]


def test_a_gain_is_the_product_of_its_parts() -> None:
    found = gain((0.232, 292.9), (0.713, 170.6))
    assert found is not None
    assert found.total == pytest.approx(5.28, rel=0.01)  # the paper's 5.3, from 3.1 and 1.7
    assert found.total == found.model * found.hardware


@pytest.mark.parametrize("bad", [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_a_gain_over_nothing_is_none(bad: tuple[float, float]) -> None:
    assert gain(bad, (0.5, 10.0)) is None
    assert gain((0.5, 10.0), bad) is None


# --- routing between local models and a cloud -----------------------------------------------------------------------

LOCAL = Expense(np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), np.full(4, 10.0))
RIGHT = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], np.bool_)
CLOUD = np.array([1.0, 1.0, 1.0, 0.0])


def routed(false_local: float = 0.0, false_cloud: float = 0.0, energy: Expense | None = LOCAL) -> Saving:
    return route(
        RIGHT, CLOUD, LOCAL.local, energy=energy, cost=None, compute=None,
        false_local=false_local, false_cloud=false_cloud,
    )  # fmt: skip


def test_a_perfect_router_takes_the_cheapest_model_that_is_right_and_else_the_cloud() -> None:
    saving = routed()
    assert saving.energy == pytest.approx(1 - (1 + 2 + 10 + 10) / 40)
    assert (saving.local, saving.accuracy, saving.quality_lost) == (0.5, 0.75, 0.0)


@given(st.floats(0, 1))
def test_a_router_that_errs_to_the_cloud_alone_saves_its_accuracy_times_the_oracle_and_loses_nothing(a: float) -> None:
    assert routed(false_cloud=1 - a).energy == pytest.approx(a * (routed().energy or 0), abs=1e-12)
    assert routed(false_cloud=1 - a).quality_lost == pytest.approx(0, abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 1))
def test_questions_that_stay_local_wrongly_save_joules_and_lose_answers(false_local: float, false_cloud: float) -> None:
    saving = routed(false_local, false_cloud)
    assert saving.quality_lost == pytest.approx(false_local * 0.25, abs=1e-12)  # one of two unsolved ones was right
    assert (saving.energy or 0) >= (routed(0.0, false_cloud).energy or 0) - 1e-12


def test_what_cannot_be_told_is_absent() -> None:
    unknown = Expense(np.full((2, 4), np.nan), np.full(4, 10.0))
    assert routed(energy=unknown).energy is None
    assert routed(energy=None).energy is None
    assert routed().cost is None


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_part_of_one(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        routed(false_local=rate)
