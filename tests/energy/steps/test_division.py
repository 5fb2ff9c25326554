"""What each span gets of what was drawn, against a sum over segments and spans, and a change of each coefficient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from ipw.energy.curve import Curve
from ipw.energy.division import Drawn, divide, placed
from ipw.energy.model import PowerModel, interpolated
from ipw.energy.segments import segments
from ipw.energy.timeline import Spans, Timeline, timeline

SECOND = 1_000_000_000
Floats = npt.NDArray[np.float64]
ROWS = [(0, 4, 0, 20.0), (1, 3, 1, 6.0), (2, 7, 1, 40.0), (5, 6, 0, 3.0), (8, 9, 0, 7.0), (2, 3, 0, 0.0)]


def scene(levels_w: tuple[float, float]) -> tuple[Spans, Timeline, Drawn, PowerModel]:
    """Six spans of two phases over ten seconds, of which the window has eight, and the model two coefficients more."""
    start, end, phase, work = (np.array(column) for column in zip(*ROWS, strict=True))
    spans = Spans(start * SECOND, end * SECOND, phase, ("a", "b"), np.arange(len(ROWS)), work)
    t = np.arange(11) * SECOND
    curve = Curve(t, np.asarray(100 * t / 1e9, np.float64), np.zeros(11), 0.0)
    line = timeline(curve, spans)
    seg = segments(curve, spans, line)
    rng = np.random.default_rng(0)
    part = slice(seg.first, seg.first + seg.seconds.size)
    window = np.arange(line.t_ns.size - 1) < 8
    floor = 10 * window
    drawn = Drawn(line, part, (floor + 90 * rng.random(window.size)) * window, floor.astype(np.float64), window)
    made = replace(
        interpolated(curve, seg),
        levels_w=np.array(levels_w),
        level_at=slice(1, 3),
        sensitivity=np.cumsum(rng.random((4, line.t_ns.size)), axis=1),
    )
    return spans, line, drawn, made


def by_sum(spans: Spans, line: Timeline, above: Floats, levels_w: Floats) -> Floats:
    """Above the floor: in each segment by level of the phase times work per second over the usual."""
    weight = spans.relative_rates() * levels_w[spans.phase]
    found = np.zeros(spans.owner.size)
    for j, joules in enumerate(above):
        here = (line.first <= j) & (j < line.last)
        if here.sum() == 1:
            found[here] += joules
        elif here.any():
            found[here] += joules * weight[here] / weight[here].sum()
    return found


def test_the_floor_is_shared_equally_and_the_rest_by_level_and_work() -> None:
    spans, line, drawn, model = scene((200.0, 50.0))
    found = divide(drawn, spans, model)
    net = by_sum(spans, line, drawn.energy_j - drawn.floor_j, model.levels_w)
    number = line.counts.sum(0)
    floor = np.array([np.sum(drawn.floor_j[a:b] / number[a:b]) for a, b in zip(line.first, line.last, strict=True)])
    np.testing.assert_allclose(found.net_j, net, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.gross_j, net + floor, rtol=1e-4, atol=1e-3)


def test_where_no_level_is_known_work_alone_divides() -> None:
    spans, line, drawn, model = scene((0.0, 0.0))
    net = by_sum(spans, line, drawn.energy_j - drawn.floor_j, np.ones(2))
    np.testing.assert_allclose(divide(drawn, spans, model).net_j, net, rtol=1e-4, atol=1e-3)


def test_of_its_time_a_span_knows_what_went_to_those_beside_it() -> None:
    spans, line, drawn, model = scene((200.0, 50.0))
    own = by_sum(spans, line, line.seconds, model.levels_w)
    np.testing.assert_allclose(divide(drawn, spans, model).beside_s, spans.seconds - own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coefficient", range(4))
def test_a_row_is_by_how_much_each_span_changes_with_a_coefficient_through_the_weights_too(coefficient: int) -> None:
    spans, line, drawn, model = scene((200.0, 50.0))
    found = divide(drawn, spans, model).rows[coefficient]
    more = np.diff(model.sensitivity[coefficient]) * drawn.window

    def changed(by: float) -> Floats:
        levels = model.levels_w.copy()
        if coefficient in {1, 2}:
            levels[coefficient - 1] += by
        return by_sum(spans, line, drawn.energy_j - drawn.floor_j + by * more, levels)

    np.testing.assert_allclose(found, (changed(1e-3) - changed(-1e-3)) / 2e-3, rtol=1e-3, atol=1e-4)


def test_values_between_the_knots_are_placed_on_the_whole_timeline() -> None:
    _, line, _, _ = scene((1.0, 1.0))
    put = placed(line, slice(2, 5), np.array([1.0, 2.0, 3.0]))
    assert put.tolist() == [0, 0, 1, 2, 3, 0, 0, 0, 0, 0]
