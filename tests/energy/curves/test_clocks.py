from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.clocks import MOST_DRIFT, ahead_at

MS = 1e6


def exchanges(
    rng: np.random.Generator, seconds: float, ahead_ms: float, drift: float, every_s: float = 0.25
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over a wire of 20 ms with 10 ms of jitter each way: middles, how far ahead, half round trips."""
    sent = np.arange(0, seconds, every_s) * 1e9
    there, back = (rng.uniform(10, 30, sent.size) * MS for _ in range(2))
    told = sent + there + ahead_ms * MS + drift * (sent + there)
    middle = sent + (there + back) / 2
    return middle.astype(np.int64), told - middle, (there + back) / 2


@given(
    st.integers(0, 2**32 - 1),
    st.floats(2, 300),
    st.floats(-1e6, 1e6),
    st.floats(-MOST_DRIFT, MOST_DRIFT),
    st.floats(-5, 400),
)
def test_the_truth_lies_within_the_error_wherever_it_is_asked(
    seed: int, seconds: float, ahead_ms: float, drift: float, at_s: float
) -> None:
    told = exchanges(np.random.default_rng(seed), seconds, ahead_ms, drift)
    at = np.array([at_s, 0.0, seconds / 2]) * 1e9
    found = ahead_at(at.astype(np.int64), *told)
    assert np.all(np.abs(found.ahead_ns - ahead_ms * MS - drift * at) <= found.error_ns + 10)


@pytest.mark.parametrize("drift", [0.0, 100e-6, -300e-6])
@pytest.mark.parametrize("seconds", [5, 60, 600])
def test_many_exchanges_tell_the_clock_far_better_than_each_of_them(seconds: float, drift: float) -> None:
    told = exchanges(np.random.default_rng(0), seconds, 5.0, drift)
    at = np.linspace(0, seconds, 500) * 1e9
    found = ahead_at(at.astype(np.int64), *told)
    errors = np.abs(found.ahead_ns - 5.0 * MS - drift * at)
    assert errors.mean() < 0.6 * MS
    assert np.all(errors <= found.error_ns)
    assert found.error_ns.max() < 14 * MS  # half of the shortest way there and back is 10


def test_a_wire_that_is_slower_one_way_is_within_the_error_though_nobody_can_tell() -> None:
    sent = np.arange(0, 20, 0.25) * 1e9
    told = sent + 30 * MS  # 30 ms there, 2 ms back, the clocks agree
    middle, half = sent + 16 * MS, np.full(sent.size, 16 * MS)
    found = ahead_at(np.array([10 * 10**9]), middle.astype(np.int64), told - middle, half)
    assert found.ahead_ns[0] == pytest.approx(14 * MS, abs=0.1 * MS)
    assert found.error_ns[0] >= 14 * MS


def test_a_clock_that_was_set_makes_the_error_as_large_as_the_step() -> None:
    t = np.arange(0, 10, 0.25) * 1e9
    ahead = np.where(t < 5e9, 0.0, 40 * MS)
    found = ahead_at(np.array([5 * 10**9]), t.astype(np.int64), ahead, np.full(t.size, 0.1 * MS))
    assert 15 * MS < found.error_ns[0] < 45 * MS


def test_one_exchange_tells_less_the_further_away_it_is() -> None:
    found = ahead_at(np.array([0, 10**10, 10**11]), np.array([0]), np.array([1e6]), np.array([5e5]))
    assert found.ahead_ns.tolist() == [1e6] * 3
    assert np.all(np.diff(found.error_ns) > 0)
    assert found.error_ns[0] == 5e5


def test_the_order_in_which_exchanges_are_told_does_not_matter() -> None:
    told = exchanges(np.random.default_rng(1), 30, 3.0, 1e-5)
    shuffled = np.random.default_rng(2).permutation(told[0].size)
    at = np.arange(0, 30, 1) * 10**9
    assert np.array_equal(ahead_at(at, *told).ahead_ns, ahead_at(at, *(x[shuffled] for x in told)).ahead_ns)
