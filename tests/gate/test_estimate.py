"""The estimate of a session, against the formulas of its docstring worked out for balanced and for uneven starts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipw.gate.pairs import ASSUMED_START_SD, Indices, estimate, without_spikes
from ipw.metrics.distributions import f_survival
from ipw.metrics.stats import Array

START_SD = 0.01
TAU2 = 2 * START_SD**2
TRUSTED_AS = 8
"""Degrees of freedom of a calibration: it is trusted as one from nine starts."""


def session(*starts: list[float]) -> tuple[Array, Indices]:
    return np.concatenate([np.array(each) for each in starts]), np.repeat(np.arange(len(starts)), [*map(len, starts)])


def test_of_one_start_the_mean_is_as_wide_as_its_pairs_and_the_calibration_make_it() -> None:
    ratios, start = session([0.01, 0.02, 0.03, 0.06])
    found = estimate(ratios, start, START_SD)
    own = float(ratios.var(ddof=1)) / 4
    assert found.mean == pytest.approx(0.03)
    assert found.standard_error == pytest.approx(math.sqrt(TAU2 + own))
    assert found.df == pytest.approx((TAU2 + own) ** 2 / (own**2 / 3 + TAU2**2 / TRUSTED_AS))


@pytest.mark.parametrize("apart", [0.001, 0.02, 0.03])
def test_starts_of_one_size_are_pooled_with_what_calibration_expects_and_never_below_it(apart: float) -> None:
    own = np.array([-0.003, 0.0, 0.001, 0.002])
    ratios, start = session(*[(0.05 + at * apart + own).tolist() for at in (-1, 0, 1)])
    found = estimate(ratios, start, START_SD)
    of_pairs = float(own.var(ddof=1)) / 4
    of_start = TAU2 + of_pairs
    df = (of_start / 3) ** 2 / ((of_pairs / 3) ** 2 / 9 + (TAU2 / 3) ** 2 / TRUSTED_AS)
    spread = 2 * apart**2 / of_start
    assert spread / 2 < 2 or apart == 0.03  # the first two lie as calibrated, the third a little wider
    assert f_survival(spread / 2, 2, df) > 0.01
    assert found.mean == pytest.approx(0.05)
    assert found.standard_error == pytest.approx(math.sqrt(of_start / 3 * max(1.0, (df + spread) / (df + 2))))
    assert found.df == pytest.approx(df + 2)


def test_starts_that_contradict_the_calibration_stand_alone_with_their_few_degrees_of_freedom() -> None:
    own = np.array([-0.003, 0.0, 0.001, 0.002])
    ratios, start = session(*[(0.05 + at * 0.2 + own).tolist() for at in (-1, 0, 1)])
    found = estimate(ratios, start, START_SD)
    assert found.df == 2
    assert found.standard_error == pytest.approx(0.2 / math.sqrt(3))


@pytest.mark.parametrize(("chance", "alone"), [(0.012, False), (0.008, True)])
def test_a_calibration_is_set_aside_where_it_would_allow_such_starts_once_in_a_hundred(
    chance: float, *, alone: bool
) -> None:
    own = np.array([-0.003, 0.0, 0.001, 0.002])
    of_pairs = float(own.var(ddof=1)) / 4
    of_start = TAU2 + of_pairs
    df = (of_start / 3) ** 2 / ((of_pairs / 3) ** 2 / 9 + (TAU2 / 3) ** 2 / TRUSTED_AS)
    low, high = 0.0, 1.0
    for _ in range(60):  # how far apart they lie, for that chance
        apart = (low + high) / 2
        low, high = (apart, high) if f_survival(apart**2 / of_start, 2, df) > chance else (low, apart)
    ratios, start = session(*[(at * apart + own).tolist() for at in (-1, 0, 1)])
    assert (estimate(ratios, start, START_SD).df == 2) == alone


def test_uneven_starts_weigh_by_how_well_each_is_known() -> None:
    ratios, start = session([0.01, 0.03, 0.02], [0.04, 0.05, 0.06, 0.05, 0.04, 0.06])
    found = estimate(ratios, start, START_SD)
    of_pair = (0.0002 + 0.0004) / 7
    weights = np.array([1 / (TAU2 + of_pair / 3), 1 / (TAU2 + of_pair / 6)])
    expected = 1 / weights.sum()
    of_pairs = float((weights**2 * [of_pair / 3, of_pair / 6]).sum()) * expected**2
    df = expected**2 / (of_pairs**2 / 7 + (expected - of_pairs) ** 2 / TRUSTED_AS)
    mean = float((weights * [0.02, 0.05]).sum()) * expected
    spread = float((weights * (np.array([0.02, 0.05]) - mean) ** 2).sum())
    assert found.mean == pytest.approx(mean)
    assert found.df == pytest.approx(df + 1)
    assert found.standard_error == pytest.approx(math.sqrt(expected * max(1.0, (df + spread) / (df + 1))))


def test_as_many_pairs_within_starts_as_lie_between_them_are_enough_to_tell_a_pairs_noise() -> None:
    two = estimate(*session([0.0, 0.02], [0.03]), 0.001)
    assert two.df != 1  # one difference within, one between
    one = estimate(*session([0.0, 0.02], [0.03], [0.05]), 0.001)
    assert one.df == 2  # one within, two between: the starts alone
    assert one.mean == pytest.approx((0.01 + 0.03 + 0.05) / 3)
    assert one.standard_error == pytest.approx(math.sqrt(float(np.var([0.01, 0.03, 0.05], ddof=1)) / 3))


def test_a_pair_a_start_is_never_known_better_than_the_starts_allow() -> None:
    close = estimate(*session([0.02], [0.0200001], [0.0199999], [0.02]), START_SD)
    assert close.standard_error == pytest.approx(math.sqrt(TAU2 / 4))
    assert close.df == 3


# --- pairs that were held up -----------------------------------------------------------------------------------------


def tolists(arrays: list[Array]) -> list[list[float]]:
    return [each.tolist() for each in arrays]


def test_a_pair_at_the_reach_is_kept_and_one_beyond_it_is_pulled_back_to_the_farthest_kept() -> None:
    # the floor of the scale is 0.25, so the reach is exactly 1
    at_reach = [np.array([0.0, 0.0, 0.0, 1.0])]
    assert tolists(without_spikes(at_reach, 0.25)[0]) == [[0.0, 0.0, 0.0, 1.0]]
    beyond = [np.array([0.0] * 6 + [1.0, 1.25, -1.5])]
    kept, tamed = without_spikes(beyond, 0.25)
    assert tolists(kept) == [[0.0] * 6 + [1.0]]
    assert tolists(tamed) == [[0.0] * 6 + [1.0, 1.0, 0.0]]


def test_the_scale_is_the_median_distance_as_a_normal_spread_without_the_distance_that_is_none() -> None:
    # distances 0, 1, 1, 2, far: without the median's own, the median distance is 1.5, so the reach is 4 x 1.4826 x 1.5
    reach = 4 * 1.4826 * 1.5
    for far, spikes in ((reach - 0.01, 0), (reach + 0.01, 1)):
        kept, _ = without_spikes([np.array([0.0, 1.0, -1.0, -2.0, far])], 0.0)
        assert kept[0].size == 5 - spikes


def test_a_start_of_which_no_pair_is_near_the_others_is_left_out_of_the_mean_and_stays_in_the_spread() -> None:
    torn = np.array([0.0, 0.0, 1.0, 1.0])
    calm = [np.array([0.5, 0.5 + each, 0.5 - each, 0.5]) for each in (0.001, 0.002, 0.001, 0.002)]
    kept, tamed = without_spikes([torn, *calm], 0.001)
    assert tolists(kept) == tolists(calm)
    assert tolists(tamed) == tolists([torn, *calm])


def test_where_a_start_has_two_pairs_all_are_looked_at_together_and_an_odd_start_of_one_goes() -> None:
    members = [np.array([0.0, 0.001]), np.array([0.5]), np.array([-0.001, 0.0, 0.001])]
    kept, tamed = without_spikes(members, 0.001)
    assert tolists(kept) == [[0.0, 0.001], [-0.001, 0.0, 0.001]]
    assert tolists(tamed) == [[0.0, 0.001], [0.001], [-0.001, 0.0, 0.001]]


def test_half_a_percent_is_assumed_between_starts_that_were_never_calibrated() -> None:
    assert ASSUMED_START_SD == 0.005
