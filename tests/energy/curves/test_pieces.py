"""A window in pieces: the same joules as in one."""

from __future__ import annotations

import numpy as np
import pytest
from energy.simulator import Sampler, closed_loop, disturbed

from ipw.energy import pieces
from ipw.energy.attribution import attribute
from ipw.energy.curve import Curve
from ipw.energy.division import Share


def test_pieces_lose_no_joule_and_charge_each_query_much_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    world = closed_loop(rng, 200)
    curve = Sampler().curve(world, rng)
    window = int(world.spans.start_ns.min()), int(world.spans.end_ns.max())
    whole = attribute(curve, world.spans, window_ns=window)
    monkeypatch.setattr(pieces, "EVENTS", 400)
    parts = attribute(curve, world.spans, window_ns=window)
    assert len(list(pieces.pieces(curve, world.spans, window))) >= 3
    assert parts.measured_j == pytest.approx(whole.measured_j, rel=1e-4)
    assert parts.owners.energy_j.sum() + parts.idle_j + parts.unattributed_j == pytest.approx(parts.measured_j)
    assert parts.spans.energy_j.sum() == pytest.approx(parts.owners.energy_j.sum())
    difference = np.abs(parts.owners.energy_j - whole.owners.energy_j)
    assert np.median(difference / whole.owners.energy_j) < 0.05
    assert np.all(parts.owners.low_j <= parts.owners.energy_j)
    assert np.all(parts.owners.energy_j <= parts.owners.high_j)


@pytest.mark.parametrize("part", [(0.0, 0.3), (0.4, 0.6), (0.9, 1.0), (0.5, 0.5)])
def test_of_a_window_in_the_middle_only_its_own_pieces_count(
    monkeypatch: pytest.MonkeyPatch, part: tuple[float, float]
) -> None:
    rng = np.random.default_rng(4)
    world = closed_loop(rng, 100)
    curve = Sampler().curve(world, rng)
    first, last = int(curve.t_ns[0]), int(curve.t_ns[-1])
    window = first + int(part[0] * (last - first)), first + int(part[1] * (last - first))
    whole = attribute(curve, world.spans, window_ns=window)
    monkeypatch.setattr(pieces, "EVENTS", 150)
    parts = attribute(curve, world.spans, window_ns=window)
    assert parts.measured_j == pytest.approx(whole.measured_j, rel=1e-2, abs=1e-9)
    outside = (world.spans.end_ns <= window[0]) | (world.spans.start_ns >= window[1])
    assert not parts.spans.energy_j[outside].any()


@pytest.mark.parametrize("of_window", [(0.0, 1.0), (0.2, 0.7)])
def test_a_piece_has_every_span_that_touches_it_or_its_margins_and_knows_which_touch_only_a_margin(
    monkeypatch: pytest.MonkeyPatch, of_window: tuple[float, float]
) -> None:
    rng = np.random.default_rng(5)
    world = closed_loop(rng, 60)
    curve, spans = Sampler().curve(world, rng), world.spans
    first, last = int(curve.t_ns[0]), int(curve.t_ns[-1])
    window = first + int(of_window[0] * (last - first)), first + int(of_window[1] * (last - first))
    monkeypatch.setattr(pieces, "EVENTS", 100)
    monkeypatch.setattr(pieces, "MARGIN", 3)
    made = list(pieces.pieces(curve, spans, window))
    assert len(made) >= 3
    assert (made[0].window_ns[0], made[-1].window_ns[1]) == window
    assert [piece.window_ns[1] for piece in made[:-1]] == [piece.window_ns[0] for piece in made[1:]]
    for piece in made:
        (start, end), t = piece.window_ns, piece.curve.t_ns
        before, behind = t[0] == first, t[-1] == last
        assert before or t[3] <= start
        assert behind or t[-4] >= end
        touching = [
            k
            for k in range(spans.owner.size)
            if (before or spans.end_ns[k] > t[0]) and (behind or spans.start_ns[k] < t[-1])
        ]
        assert piece.span.tolist() == touching
        assert piece.owner.tolist() == sorted(set(spans.owner[touching].tolist()))
        np.testing.assert_array_equal(piece.owner[piece.spans.owner], spans.owner[touching])
        np.testing.assert_array_equal(piece.spans.start_ns, spans.start_ns[touching])
        inner = (spans.end_ns[touching] > start) & (spans.start_ns[touching] < end)
        clear = (spans.end_ns[touching] > first) & (spans.start_ns[touching] < last)
        np.testing.assert_array_equal(piece.inside[clear], inner[clear])
        of_inside = set(spans.owner[piece.span[piece.inside]].tolist())
        assert piece.owner[piece.owner_inside].tolist() == sorted(of_inside)


def test_idle_power_is_the_mean_over_time_of_what_it_is_in_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    world = disturbed(closed_loop(rng, 60), rng, drift=0.6)
    curve = Sampler().curve(world, rng)
    window = int(curve.t_ns[0]), int(curve.t_ns[-1])  # with the time of rest, whose pieces are long
    whole = attribute(curve, world.spans, window_ns=window, idle_ns=world.idle_ns)
    monkeypatch.setattr(pieces, "EVENTS", 40)
    parts = attribute(curve, world.spans, window_ns=window, idle_ns=world.idle_ns)
    assert whole.idle_power_w is not None
    assert parts.idle_power_w is not None
    assert parts.idle_power_w[0] == pytest.approx(whole.idle_power_w[0], rel=2e-3)
    lengths = np.diff([piece.window_ns for piece in pieces.pieces(curve, world.spans, window)])
    assert lengths.max() > 3 * lengths.min()


def test_a_window_that_begins_or_ends_at_a_cut_has_no_piece_of_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    world = closed_loop(rng, 60)
    curve, spans = Sampler().curve(world, rng), world.spans
    monkeypatch.setattr(pieces, "EVENTS", 100)
    whole = list(pieces.pieces(curve, spans, (int(curve.t_ns[0]), int(curve.t_ns[-1]))))
    first, last = whole[1].window_ns[0], whole[-2].window_ns[1]
    found = [piece.window_ns for piece in pieces.pieces(curve, spans, (first, last))]
    assert found == [piece.window_ns for piece in whole[1:-1]]


def test_a_part_of_a_curve_starts_at_no_energy_and_has_the_gaps_that_lie_in_it() -> None:
    t = np.arange(8, dtype=np.int64) * 10
    gaps = np.array([[0, 10], [20, 30], [50, 60], [60, 70]])
    reasons, lost = ("a", "b", "c", "d"), np.array([True, False, True, False])
    curve = Curve(t, np.arange(8.0) ** 2, np.arange(8.0), 0.0, gaps, reasons, lost)
    part = pieces._part(curve, 2, 6)
    np.testing.assert_array_equal(part.t_ns, [20, 30, 40, 50, 60])
    np.testing.assert_array_equal(part.energy_j, [0, 5, 12, 21, 32])
    np.testing.assert_array_equal(part.t_err_ns, [2, 3, 4, 5, 6])
    assert (part.gaps_ns.tolist(), part.gap_reasons) == ([[20, 30], [50, 60]], ("b", "c"))
    assert part.gap_lost.tolist() == [False, True]


def test_shares_add_up_and_the_margins_of_a_span_that_only_touches_a_margin_are_left_out() -> None:
    total = pieces.Collected(3)
    share = Share(np.array([5.0, 7.0]), np.array([4.0, 6.5]), np.array([8.0, 7.25]), np.array([3.0, 1.0]))
    total.add(share, np.array([0, 2]), np.array([True, False]))
    total.add(share, np.array([2, 1]), np.array([True, True]))
    found = total.share()
    np.testing.assert_allclose(found.energy_j, [5, 7, 12])
    np.testing.assert_allclose(found.low_j, [4, 6.5, 11])
    np.testing.assert_allclose(found.high_j, [8, 7.25, 15])
    assert found.net_energy_j is not None
    np.testing.assert_allclose(found.net_energy_j, [3, 1, 4])
    total.add(Share(share.energy_j, share.low_j, share.high_j, None), np.array([0, 1]), np.array([True, True]))
    assert total.share().net_energy_j is None  # of one part nobody knows it
