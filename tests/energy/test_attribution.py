"""What attribution means, and what holds for any spans and any readings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from energy.scoring import left_over
from energy.simulator import IDLE_W, Sampler, World, closed_loop, one_at_a_time
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ipw.energy.attribution import Spans, attribute
from ipw.energy.curve import Curve, counter_curve

SECOND = 1_000_000_000
MS = 1_000_000


def spans(*rows: tuple[float, float, int, int, float], phases: tuple[str, ...] = ("a", "b")) -> Spans:
    """(start s, end s, phase, owner, work)."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    start, end = (table[:, :2] * 1e9).astype(np.int64).T
    phase, owner = table[:, 2:4].astype(np.int64).T
    return Spans(start, end, phase, phases, owner, table[:, 4])


def ticked(powers: list[float], piece_s: float = 1.0, period_s: float = 0.1) -> Curve:
    """Of power in pieces of equal length, with knots where they should be."""
    t = np.arange(0, round(len(powers) * piece_s / period_s) + 1) * round(period_s * 1e9)
    edges = np.arange(len(powers) + 1) * piece_s * 1e9
    energy = np.interp(t, edges, np.concatenate([[0.0], np.cumsum(powers)]) * piece_s)
    return Curve(t, energy, np.full(t.size, 1e5), 0.001)


def run(seed: int = 0, make=one_at_a_time, queries: int = 25) -> tuple[World, Curve]:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    world = make(rng, queries)
    return world, Sampler().curve(world, rng)


# --- what is charged -------------------------------------------------------------------------------------------------


def test_alone_a_span_is_charged_all_that_was_drawn_and_net_leaves_out_the_floor() -> None:
    curve = ticked([50.0] * 5 + [200.0] * 5 + [50.0] * 5)
    result = attribute(curve, spans((5, 10, 0, 0, 1)), window_ns=(0, 15 * SECOND), idle_ns=[[0, 4 * SECOND]])
    assert result.owners.energy_j[0] == pytest.approx(1000, rel=1e-3)
    assert result.owners.net_energy_j is not None
    assert result.owners.net_energy_j[0] == pytest.approx(750, rel=1e-3)
    assert result.idle_j == pytest.approx(500, rel=1e-3)
    assert result.idle_power_w == pytest.approx((50, 50, 50), rel=0.01)


def test_in_flight_the_floor_is_shared_equally_and_the_rest_by_work() -> None:
    curve = ticked([50.0] * 5 + [450.0] * 5 + [50.0] * 5)
    both = spans((5, 10, 0, 0, 30), (5, 10, 0, 1, 10))
    result = attribute(curve, both, window_ns=(0, 15 * SECOND), idle_ns=[[0, 4 * SECOND]])
    np.testing.assert_allclose(result.owners.energy_j, [125 + 1500, 125 + 500], rtol=2e-3)


def test_a_span_without_work_beside_others_costs_its_share_of_the_floor_and_alone_everything() -> None:
    curve = ticked([50.0] * 5 + [450.0] * 5 + [50.0] * 5)
    beside = spans((5, 10, 0, 0, 30), (5, 10, 0, 1, 0))
    result = attribute(curve, beside, window_ns=(0, 15 * SECOND), idle_ns=[[0, 4 * SECOND]])
    np.testing.assert_allclose(result.owners.energy_j, [2125, 125], rtol=2e-3)
    alone = attribute(curve, spans((5, 10, 0, 0, 0)), window_ns=(0, 15 * SECOND), idle_ns=[[0, 4 * SECOND]])
    assert alone.owners.energy_j[0] == pytest.approx(2250, rel=1e-3)


def test_levels_of_the_phases_are_found_with_intervals_that_hold_them() -> None:
    world, curve = run(queries=40)
    levels = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns).levels
    for phase, truth in (("prefill", 250.0), ("decode", 140.0)):
        value, low, high = levels[phase]
        assert value == pytest.approx(truth, rel=0.01)
        assert low <= truth <= high


def test_prefill_and_decode_of_a_query_add_up_to_the_query() -> None:
    world, curve = run()
    result = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
    together = np.bincount(world.spans.owner, result.spans.energy_j)
    np.testing.assert_allclose(together, result.owners.energy_j, rtol=1e-12)


def test_a_step_between_ticks_is_placed_to_within_the_ticks_timing() -> None:
    start = 5.0 + 0.337
    edges = np.array([0, start, start + 4, 15]) * 1e9
    t = np.arange(0, 151) * 100 * MS
    energy = np.interp(t, edges, [0, start * 50, start * 50 + 4 * 250, start * 50 + 1000 + (11 - start) * 50])
    late_s = 0.001
    curve = Curve(t, energy, np.full(t.size, late_s * 1e9), 0.001)
    result = attribute(curve, spans((start, start + 4, 0, 0, 1)), window_ns=(0, 15 * SECOND), idle_ns=[[0, 4 * SECOND]])
    assert result.owners.energy_j[0] == pytest.approx(1000, abs=2 * 200 * late_s)


def test_without_idle_times_the_floor_comes_from_the_gaps_between_spans() -> None:
    world, curve = run()
    result = attribute(curve, world.spans, window_ns=world.window_ns)
    assert result.idle_power_w is not None
    assert result.idle_power_w[0] == pytest.approx(IDLE_W, rel=0.01)


def test_without_any_idle_time_net_energy_is_absent() -> None:
    curve = ticked([200.0, 300.0] * 5)
    busy = spans(*((k, k + 1, k % 2, k, 1) for k in range(10)))
    result = attribute(curve, busy, window_ns=(0, 10 * SECOND))
    assert result.idle_power_w is None
    assert result.owners.net_energy_j is None
    np.testing.assert_allclose(result.owners.energy_j, [200, 300] * 5, rtol=5e-3)


def test_the_gain_of_the_sensor_is_kept_apart() -> None:
    world, curve = run()
    wide = replace(curve, gain_rel=0.2)
    results = [attribute(c, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns) for c in (curve, wide)]
    np.testing.assert_array_equal(results[0].owners.high_j, results[1].owners.high_j)
    assert [result.gain_rel for result in results] == [0.05, 0.2]


# --- where little is known -------------------------------------------------------------------------------------------


def test_few_readings_fall_back_to_interpolation_and_say_so() -> None:
    curve = ticked([50.0, 200.0, 50.0])
    result = attribute(curve, spans((1.0, 1.2, 0, 0, 1), (1.2, 1.4, 1, 0, 1)), window_ns=(0, 3 * SECOND))
    assert result.rule.startswith("interpolation")
    assert "phases not told apart" in result.flags
    assert result.owners.energy_j[0] == pytest.approx(80)


def test_readings_that_never_move_tell_of_no_energy_and_of_no_levels() -> None:
    curve = replace(ticked([100.0] * 4), energy_j=np.zeros(41))
    result = attribute(curve, spans((0.5, 3.5, 0, 0, 1.0)), window_ns=(0, 4_000_000_000))
    assert result.rule == "interpolation between readings (readings tell of no energy)"
    assert (result.owners.energy_j.tolist(), result.measured_j) == ([0.0], 0.0)
    assert result.owners.high_j[0] >= 0.0 >= result.owners.low_j[0]


def test_phases_that_always_come_together_are_told_as_not_told_apart() -> None:
    rows = []
    for k in range(300):
        start = 1 + k * 0.01
        rows += [(start, start + 0.003, 0, k, 1), (start + 0.003, start + 0.006, 1, k, 1)]
    curve = ticked([50.0] + [140.0] * 3 + [50.0])
    result = attribute(curve, spans(*rows), window_ns=(0, 5 * SECOND), idle_ns=[[0, SECOND]])
    assert "not told apart" in result.rule
    assert result.owners.energy_j.mean() == pytest.approx(1.4 - 0.2, rel=0.15)
    half = (result.owners.high_j - result.owners.low_j) / 2
    assert np.median(half) < result.owners.energy_j.mean()


def test_energy_lost_to_a_reset_is_charged_to_nobody_and_the_rest_stays_right() -> None:
    world, _ = run(queries=40)
    rng = np.random.default_rng(0)
    t, value, status, half = Sampler().readings(Sampler().counter(world, rng), rng)
    moment = int(world.spans.start_ns[20])
    drop = value[np.searchsorted(t, moment)]
    value = np.where(t >= moment, value - drop, value)
    curve = counter_curve(t, value, status, half, ticks=True, resolution_j=0.001)
    assert curve.gap_reasons == ("reset",)
    result = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
    assert left_over(result) < 1e-9
    touched = np.zeros(40, bool)
    for start, end in curve.gaps_ns:
        hit = (world.spans.start_ns < end) & (world.spans.end_ns > start)
        touched[world.spans.owner[hit]] = True
    error = result.owners.energy_j / world.gross_j() - 1
    assert np.abs(error[~touched]).max() < 0.03
    assert np.all(error[touched] < 0)


def test_energy_counted_across_an_outage_is_unattributed() -> None:
    world, _ = run(queries=40)
    rng = np.random.default_rng(0)
    t, value, status, half = Sampler().readings(Sampler().counter(world, rng), rng)
    moment = int(world.spans.start_ns[20])
    status = np.where((t >= moment) & (t < moment + 2 * SECOND), 4, 0)
    curve = counter_curve(t, value, status, half, ticks=True, resolution_j=0.001)
    result = attribute(curve, world.spans, window_ns=world.window_ns, idle_ns=world.idle_ns)
    (start, end), *_ = curve.gaps_ns
    assert result.unattributed_j == pytest.approx(float(world.energy_at(end) - world.energy_at(start)), rel=0.02)
    assert left_over(result) < 1e-9
    whole = float(world.energy_at(world.window_ns[1]) - world.energy_at(world.window_ns[0]))
    assert result.measured_j == pytest.approx(whole, rel=1e-3)


def test_spans_beyond_the_readings_are_flagged_and_charged_only_what_was_read() -> None:
    curve = ticked([100.0] * 5)
    beyond = spans((4, 7, 0, 0, 1), (8, 9, 0, 1, 1), (1, 3, 0, 2, 1))
    result = attribute(curve, beyond, window_ns=(0, 10 * SECOND))
    assert "2 spans reach beyond the readings" in result.flags
    np.testing.assert_allclose(result.owners.energy_j, [100, 0, 200], atol=1)


def test_no_readings_give_zeros_and_say_why() -> None:
    empty = counter_curve([], [], [], [], ticks=True)
    result = attribute(empty, spans((0, 1, 0, 0, 1)), window_ns=(0, SECOND))
    assert result.measured_j == 0
    assert result.flags == ("no readings",)


def test_no_spans_leave_everything_idle() -> None:
    curve = ticked([100.0] * 5)
    empty = np.zeros(0, np.int64)
    none = Spans(empty, empty, empty, (), empty, np.zeros(0), owners=2)
    result = attribute(curve, none, window_ns=(SECOND, 3 * SECOND))
    assert result.idle_j == result.measured_j == pytest.approx(200)
    assert result.owners.energy_j.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([(2, 1, 0, 0, 1)], "before it starts"),
        ([(0, 1, 2, 0, 1)], "phase"),
        ([(0, 1, 0, -1, 1)], "owners"),
        ([(0, 1, 0, 0, -1)], "work"),
        ([(0, 1, 0, 0, np.nan)], "work"),
    ],
)
def test_spans_that_cannot_be_are_refused(rows: list[tuple[float, float, int, int, float]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        spans(*rows)


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Spans(np.array([np.nan]), np.array([1]), np.array([0]), ("a",), np.array([0]), np.array([1.0]))
    with pytest.raises(ValueError, match="one length"):
        Spans(np.array([0, 1]), np.array([1]), np.array([0]), ("a",), np.array([0]), np.array([1.0]))
    curve = ticked([100.0] * 5)
    with pytest.raises(ValueError, match="window"):
        attribute(curve, spans(), window_ns=(5, 4))
    with pytest.raises(ValueError, match="idle interval"):
        attribute(curve, spans(), window_ns=(0, 4), idle_ns=[[3, 2]])


# --- what holds always -----------------------------------------------------------------------------------------------

POWERS = st.lists(st.floats(0, 700), min_size=2, max_size=12)
ROWS = st.lists(
    st.tuples(st.floats(-1, 13), st.floats(0, 3), st.integers(0, 1), st.integers(0, 3), st.floats(0, 1e6)), max_size=12
)
many = settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
few = settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""Each example attributes whole runs."""


def any_spans(rows: list[tuple[float, float, int, int, float]]) -> Spans:
    return spans(*((start, start + length, phase, owner, work) for start, length, phase, owner, work in rows))


@many
@given(POWERS, ROWS, st.floats(-1, 12), st.floats(0, 14))
def test_nothing_is_lost_or_made_and_nothing_is_nan(
    powers: list[float], rows: list[tuple[float, float, int, int, float]], start: float, length: float
) -> None:
    window = (int(start * 1e9), int((start + length) * 1e9))
    result = attribute(ticked(powers), any_spans(rows), window_ns=window)
    divided = float(result.owners.energy_j.sum()) + result.idle_j + result.unattributed_j
    assert divided == pytest.approx(result.measured_j, rel=1e-9, abs=1e-9)
    for share in (result.spans, result.owners):
        assert np.all(np.isfinite(share.energy_j))
        assert np.all((share.low_j <= share.energy_j) & (share.energy_j <= share.high_j) & np.isfinite(share.high_j))
        assert share.net_energy_j is None or np.all(np.isfinite(share.net_energy_j))


@many
@given(st.floats(1, 700), ROWS)
def test_a_constant_power_is_divided_exactly(power: float, rows: list[tuple[float, float, int, int, float]]) -> None:
    one_each = [(start, length, phase, owner, 1.0) for owner, (start, length, phase, *_) in enumerate(rows)]
    apart = [(2 * k / 12 + 1, min(length, 1 / 12), p, k, 1.0) for k, (_, length, p, *_) in enumerate(one_each)]
    result = attribute(ticked([power] * 12), any_spans(apart), window_ns=(0, 12 * SECOND))
    np.testing.assert_allclose(
        result.spans.energy_j, [power * int(row[1] * 1e9) / 1e9 for row in apart], rtol=1e-6, atol=power * 1e-8
    )


@few
@given(st.integers(0, 3), st.floats(0.05, 0.95))
def test_energy_is_additive_over_adjacent_windows(seed: int, at: float) -> None:
    world, curve = run(seed, queries=10)
    start, end = world.window_ns
    middle = int(start + at * (end - start))
    whole, left, right = (
        attribute(curve, world.spans, window_ns=window, idle_ns=world.idle_ns)
        for window in ((start, end), (start, middle), (middle, end))
    )
    np.testing.assert_allclose(left.owners.energy_j + right.owners.energy_j, whole.owners.energy_j, rtol=1e-6)
    assert left.measured_j + right.measured_j == pytest.approx(whole.measured_j, rel=1e-6)


@few
@given(st.integers(0, 3), st.floats(0.1, 0.9), st.sampled_from([one_at_a_time, closed_loop]))
def test_splitting_a_span_changes_nothing(seed: int, at: float, make) -> None:  # type: ignore[no-untyped-def]
    world, curve = run(seed, make, queries=10)
    old = world.spans
    which = 13
    middle = int(old.start_ns[which] + at * (old.end_ns[which] - old.start_ns[which]))
    part = (middle - old.start_ns[which]) / (old.end_ns[which] - old.start_ns[which])
    end, work = old.end_ns.copy(), old.work.copy()
    end[which], work[which] = middle, old.work[which] * part
    split = Spans(
        np.append(old.start_ns, middle),
        np.append(end, old.end_ns[which]),
        np.append(old.phase, old.phase[which]),
        old.phases,
        np.append(old.owner, old.owner[which]),
        np.append(work, old.work[which] * (1 - part)),
    )
    before, after = (attribute(curve, s, window_ns=world.window_ns, idle_ns=world.idle_ns) for s in (old, split))
    np.testing.assert_allclose(after.owners.energy_j, before.owners.energy_j, rtol=1e-5)
    np.testing.assert_allclose(after.owners.high_j, before.owners.high_j, rtol=1e-3)


@few
@given(st.randoms(use_true_random=False))
def test_the_order_of_spans_does_not_matter(random) -> None:  # type: ignore[no-untyped-def]
    world, curve = run(1, closed_loop, queries=10)
    order = list(range(20))
    random.shuffle(order)
    s = world.spans
    mixed = Spans(s.start_ns[order], s.end_ns[order], s.phase[order], s.phases, s.owner[order], s.work[order], s.owners)
    before, after = (attribute(curve, x, window_ns=world.window_ns, idle_ns=world.idle_ns) for x in (s, mixed))
    np.testing.assert_allclose(after.owners.energy_j, before.owners.energy_j, rtol=1e-9)
    np.testing.assert_allclose(after.spans.energy_j, before.spans.energy_j[order], rtol=1e-9)
