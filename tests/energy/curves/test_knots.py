"""Ticks of a counter that was watched closely for a while, and then only now and then."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.curve import counter_curve, energy_between
from ipw.energy.knots import ticks_of

MS = 1_000_000
PERIOD, READ_EVERY, WATTS = 20 * MS, 100 * MS, 200.0
WATCHED_MS = 1000


def reads(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """A millisecond around each tick for a second, then every 100 ms: moments, and the joules shown."""
    ticks = np.arange(0, WATCHED_MS, 20) * MS + 7 * MS
    close = np.sort(np.concatenate([ticks - MS // 2, ticks + MS // 2]))
    seldom = np.arange(close[-1] + READ_EVERY, int(seconds * 1e9), READ_EVERY)
    t = np.concatenate([close, seldom])
    return t, WATTS * ((t - 7 * MS) // PERIOD) * PERIOD / 1e9


def test_readings_go_on_to_count_when_ticks_are_no_longer_watched() -> None:
    t, joules = reads(4.0)
    at, value, _ = ticks_of(t, joules, np.zeros(t.size))
    assert at[-1] > t[-1] - READ_EVERY
    assert value[-1] == joules[-1]


def test_a_value_was_counted_within_the_last_period_however_long_nobody_had_looked() -> None:
    t, joules = reads(4.0)
    at, value, err = ticks_of(t, joules, np.zeros(t.size))
    truth = 7 * MS + np.rint(value / WATTS * 1e9)
    assert np.all(np.abs(at - truth) <= err + 1)
    assert err.max() <= PERIOD / 2


@pytest.mark.parametrize("end_s", [2.0, 3.5])
def test_constant_power_stays_constant_across_the_change(end_s: float) -> None:
    t, joules = reads(4.0)
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=True)
    energy, low, high = energy_between(curve, int(0.5e9), int(end_s * 1e9))
    truth = WATTS * (end_s - 0.5)
    assert low[0] <= truth <= high[0]
    assert energy[0] == pytest.approx(truth, rel=0.01)


def test_a_reset_is_a_gap_though_nobody_watched() -> None:
    t, joules = reads(4.0)
    late = t > 2_500 * MS
    joules[late] -= joules[late][0]
    curve = counter_curve(t, joules, np.zeros(t.size), np.zeros(t.size), ticks=True)
    assert curve.gap_reasons == ("reset",)
    (start, end) = curve.gaps_ns[0]
    assert start < 2_500 * MS < end + PERIOD
    assert end - start <= 2 * READ_EVERY
