"""Time cut at every event: who is in flight where, against a look at each span and each moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.energy.arrays import Ints
from ipw.energy.curve import Curve
from ipw.energy.segments import segments
from ipw.energy.timeline import Spans, timeline

ROWS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 8), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=8
)


def made(rows: list[tuple[int, int, int, int]]) -> Spans:
    """(start, length, phase, owner)."""
    start, length, phase, owner = (np.array(column) for column in zip(*rows, strict=True))
    return Spans(start, start + length, phase, ("a", "b"), owner, np.ones(start.size))


def read(*t: int, gaps: Ints | None = None) -> Curve:
    moments = np.array(t)
    found = np.zeros((0, 2), np.int64) if gaps is None else gaps
    energy = np.asarray(moments * 2.0, np.float64)
    return Curve(moments, energy, np.zeros(moments.size), 0.0, found, ("lost",) * len(found), np.ones(len(found), bool))


@given(ROWS)
def test_a_segment_counts_the_spans_that_cover_it_and_those_that_ended_where_it_starts(
    rows: list[tuple[int, int, int, int]],
) -> None:
    spans = made(rows)
    line = timeline(read(0, 10, 30), spans, [np.array([5, 7])])
    edges = {0, 10, 30, 5, 7, *spans.start_ns.tolist(), *spans.end_ns.tolist()}
    assert line.t_ns.tolist() == sorted(edges)
    np.testing.assert_array_equal(line.seconds, np.diff(line.t_ns) / 1e9)
    for phase in (0, 1):
        mine = [
            (s, e, o)
            for s, e, p, o in zip(spans.start_ns, spans.end_ns, spans.phase, spans.owner, strict=True)
            if p == phase
        ]
        for j, (a, b) in enumerate(zip(line.t_ns[:-1], line.t_ns[1:], strict=True)):
            assert line.counts[phase, j] == sum(s <= a and b <= e for s, e, _ in mine)
            if not any(s == e for s, e, _ in mine):  # whether an empty one splits another is nobody's business
                over = sum(e == a and not any(s2 == e and o2 == o for s2, _, o2 in mine) for _, e, o in mine)
                split = sum(e == a for _, e, _ in mine) - over
                assert over <= line.leaving[phase, j] <= over + split


def test_a_span_that_goes_on_under_another_name_was_only_split_and_does_not_leave() -> None:
    spans = made([(0, 10, 0, 0), (10, 5, 0, 0), (0, 10, 0, 1), (10, 5, 1, 1), (0, 10, 1, 2), (11, 4, 1, 2)])
    line = timeline(read(0, 10, 20), spans)
    at = int(np.searchsorted(line.t_ns, 10))
    assert line.leaving[:, at].tolist() == [1, 1]  # owner 1 leaves its phase, owner 2 pauses, owner 0 goes on
    number, ends = spans.stretches()
    assert number[0] == number[1]
    assert len(set(number.tolist())) == 5
    assert ends.tolist() == [False, True, True, True, True, True]


@pytest.mark.parametrize(
    ("intervals", "inside"),
    [
        ([[0, 10], [10, 20]], [True, True, False]),
        ([[0, 20], [10, 20]], [True, True, False]),
        ([[10, 20], [10, 20]], [False, True, False]),
        ([[0, 10], [20, 30]], [True, False, True]),
        ([[10, 10]], [False, False, False]),
    ],
)
def test_a_segment_lies_within_intervals_that_touch_or_overlap_as_within_one(
    intervals: list[list[int]], inside: list[bool]
) -> None:
    line = timeline(read(0, 10, 20, 30), made([(0, 30, 0, 0)]))
    assert line.within(np.array(intervals)).tolist() == inside


def test_sums_over_a_span_are_those_of_its_segments() -> None:
    spans = made([(0, 20, 0, 0), (10, 20, 0, 1), (20, 0, 0, 2)])
    line = timeline(read(0, 10, 20, 30), spans)
    assert line.over_spans(np.array([1.0, 10.0, 100.0])).tolist() == [11, 110, 0]
    assert line.in_flight(np.array([3, 5, 7])).tolist() == [3, 8, 5]
    assert line.in_flight(np.array([5]), np.array([False, True, False])).tolist() == [0, 5, 5]


def test_work_goes_at_the_rate_of_its_phase_times_its_own_over_the_usual_and_none_without_work() -> None:
    start, second = np.zeros(4, np.int64), 1_000_000_000
    end = np.array([1, 2, 4, 1]) * second
    spans = Spans(start, end, np.array([0, 0, 1, 1]), ("a", "b"), np.arange(4), np.array([10.0, 40.0, 8.0, 0.0]))
    usual = 50 / 3
    np.testing.assert_allclose(spans.relative_rates(), [10 / usual, 20 / usual, 1, 0])


def test_segments_are_those_between_the_first_and_the_last_knot_and_a_gap_tells_nothing() -> None:
    spans = made([(5, 20, 0, 0), (25, 10, 1, 1), (40, 5, 1, 2)])
    curve = read(10, 20, 30, 50, gaps=np.array([[30, 50]]))
    line = timeline(curve, spans, [curve.gaps_ns.ravel()])
    seg = segments(curve, spans, line)
    assert seg.t_ns.tolist() == [10, 20, 25, 30, 35, 40, 45, 50]
    assert seg.first == 1
    assert seg.present.tolist() == [[1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0, 1]]
    assert seg.leaving.tolist() == [[0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1, 0]]
    assert seg.kind.tolist() == [2, 2, 1, 2, 2, 1, 2]
    assert seg.knots.tolist() == [0, 1, 3, 7]
    assert seg.lost.tolist() == [False, False, False, True, True, True, True]
    assert (seg.usable.tolist(), seg.tick_j.tolist()) == ([True, True, False], [20, 20, 0])
    np.testing.assert_allclose(seg.seconds * 1e9, [10, 5, 5, 0, 0, 0, 0])
    assert seg.number.tolist() == [1, 1, 1, 1, 0, 1, 0]
    assert seg.quiet.tolist() == [False] * 4 + [True, False, True]
    assert seg.ticks(np.arange(7.0)).tolist() == [0, 3, 18]
    assert seg.running(np.ones(7)).tolist() == list(range(8))
