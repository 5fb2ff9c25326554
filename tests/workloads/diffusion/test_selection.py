from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ipw.workloads.diffusion import select
from ipw.workloads.diffusion.selection import dream_counts, even_counts, softmax, surest

LOGITS = arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(2, 6)), elements=st.integers(-6, 6))


def _probability(of: float, others: int = 1) -> float:
    """The logit of the first token, against `others` of 0, that gives it this probability."""
    return float(np.log(of * others / (1 - of)))


def _line(*confidences: float) -> np.ndarray[Any, Any]:
    return np.array([[_probability(c), 0.0] for c in confidences])


def test_a_threshold_commits_what_reaches_it_and_else_the_surest() -> None:
    positions, tokens = select(_line(0.95, 0.6, 0.92), [True] * 3, threshold=0.9)
    assert positions.tolist() == [0, 2]
    assert tokens.tolist() == [0, 0]
    assert select(_line(0.7, 0.8, 0.6), [True] * 3, threshold=0.9)[0].tolist() == [1]


def test_a_relaxed_threshold_counts_near_a_sure_position_and_nowhere_else() -> None:
    logits = _line(0.8, 0.8, 0.95, 0.8, 0.8)
    assert select(logits, [True] * 5, threshold=0.9, relaxed=0.75, radius=1)[0].tolist() == [1, 2, 3]
    assert select(logits, [True] * 5, threshold=0.9, relaxed=0.75, radius=2)[0].tolist() == [0, 1, 2, 3, 4]
    unsure = _line(0.8, 0.8, 0.85, 0.8, 0.8)
    assert select(unsure, [True] * 5, threshold=0.9, relaxed=0.75, radius=4)[0].tolist() == [2]


def test_a_position_that_is_written_already_is_no_anchor() -> None:
    logits = _line(0.8, 0.95, 0.8)
    assert select(logits, [True, False, True], threshold=0.9, relaxed=0.75, radius=4)[0].tolist() == [0]


def test_of_equals_the_left_one_is_committed() -> None:
    assert select(np.zeros((4, 3)), [False, True, True, True], threshold=1.5)[0].tolist() == [1]


@given(LOGITS, st.data())
def test_every_rule_commits_something_and_only_what_is_masked(
    logits: np.ndarray[Any, Any], data: st.DataObject
) -> None:
    masked = np.array(data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits))))
    positions, tokens = select(logits, masked, threshold=0.9, relaxed=0.5, radius=2)
    assert masked[positions].all()
    assert bool(positions.size) == bool(masked.any())
    assert (tokens == logits[positions].argmax(1)).all()


@given(LOGITS, st.integers(0, 5), st.integers(0, 5))
def test_a_wider_radius_commits_at_least_as_much(logits: np.ndarray[Any, Any], one: int, other: int) -> None:
    near, far = sorted((one, other))
    masked = np.ones(len(logits), bool)
    plain = set(select(logits, masked, threshold=0.8)[0])
    narrow = set(select(logits, masked, threshold=0.8, relaxed=0.4, radius=near)[0])
    wide = set(select(logits, masked, threshold=0.8, relaxed=0.4, radius=far)[0])
    assert plain <= narrow <= wide


@given(LOGITS, st.integers(0, 5))
def test_equal_thresholds_or_no_radius_make_local_leap_the_threshold_rule(
    logits: np.ndarray[Any, Any], radius: int
) -> None:
    masked = np.ones(len(logits), bool)
    plain = select(logits, masked, threshold=0.7)[0].tolist()
    assert select(logits, masked, threshold=0.7, relaxed=0.7, radius=radius)[0].tolist() == plain
    assert select(logits, masked, threshold=0.7, relaxed=0.1, radius=0)[0].tolist() == plain


@given(LOGITS, st.randoms())
def test_names_of_tokens_do_not_change_which_positions_are_committed(logits: np.ndarray[Any, Any], rng: Any) -> None:
    order = list(range(logits.shape[1]))
    rng.shuffle(order)
    masked = np.ones(len(logits), bool)
    logits = logits * (1 + 1e-3 * np.arange(len(logits)))[:, None]  # rows of one kind are told apart
    # Sums of exponentials in another order may differ in the last place, so no two confidences may be as good as equal.
    assume(np.diff(np.sort(softmax(logits).max(1))).min(initial=1.0) > 1e-9)
    found = [
        select(x, masked, threshold=0.501, relaxed=0.301, radius=1)[0].tolist() for x in (logits, logits[:, order])
    ]
    assert found[0] == found[1]


@given(st.integers(1, 200), st.data())
def test_schedules_commit_every_mask(masks: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, masks))
    assert sum(even_counts(masks, steps)) == masks
    assert sum(dream_counts(masks, steps)) == masks
    assert min(even_counts(masks, steps)) >= 1


def test_dreams_first_step_of_as_many_as_masks_commits_nothing_and_its_last_two() -> None:
    assert dream_counts(16, 16) == [0, *[1] * 14, 2]


@pytest.mark.parametrize(("masks", "steps"), [(16, 4), (20, 7), (24, 12), (256, 256), (512, 128)])
def test_dreams_schedule_is_what_torch_computes(masks: int, steps: int) -> None:
    torch = pytest.importorskip("torch")
    t, left, counts = torch.linspace(1, 1e-3, steps + 1), masks, []
    for step in range(steps):
        share = 1 - t[step + 1] / t[step] if step < steps - 1 else torch.tensor(1.0)
        counts.append(int(torch.tensor(float(left)) * share))
        left -= counts[-1]
    assert dream_counts(masks, steps) == counts


def test_the_surest_come_first_and_equals_from_left_to_right() -> None:
    assert surest(np.array([0.2, 0.9, 0.5, 0.9, 0.5]), 3).tolist() == [1, 2, 3]
