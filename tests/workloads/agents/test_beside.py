"""What goes on beside requests is cut to what lies outside them, and never counted twice."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from ipw.attribution.beside import Beside, _outside, _overlap, joined
from ipw.attribution.outside import outside
from ipw.energy.timeline import Spans
from ipw.workloads.agents.gaps import between

INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda x: (x[0], x[0] + x[1])), max_size=12)


def spans_of(intervals: list[tuple[int, int]]) -> Spans:
    times = np.array(intervals, np.int64).reshape(-1, 2)
    count = len(intervals)
    zeros = np.zeros(count, np.int64)
    return Spans(times[:, 0], times[:, 1], zeros, ("query",), np.arange(count), np.ones(count), count)


def beside_of(intervals: list[tuple[int, int]]) -> Beside:
    times = np.array(intervals, np.int64).reshape(-1, 2)
    count = len(intervals)
    return Beside(times[:, 0], times[:, 1], np.zeros(count, np.int64), ("tool",), np.arange(count), count)


def moments(intervals: list[tuple[int, int]]) -> set[int]:
    return {t for start, end in intervals for t in range(start, end)}


@example([(5, 5)], [(0, 10)])
@given(INTERVALS, INTERVALS)
def test_what_is_left_of_an_activity_is_its_time_without_any_request(
    requests: list[tuple[int, int]], tools: list[tuple[int, int]]
) -> None:
    left = _outside(beside_of(tools), spans_of(requests))
    pieces = list(zip(left.owner.tolist(), left.start_ns.tolist(), left.end_ns.tolist(), strict=True))
    for number, tool in enumerate(tools):
        mine = [(start, end) for owner, start, end in pieces if owner == number]
        assert moments(mine) == moments([tool]) - moments(requests)
        assert sum(end - start for start, end in mine) == len(moments(mine))
    overlapping = bool(moments(tools) & moments(requests))
    assert _overlap(beside_of(tools), spans_of(requests)) == overlapping
    for scope in ("gpu", "package"):
        found = joined(spans_of(requests), None, beside_of(tools), scope).spans
        assert found.owners == len(requests) + len(tools)
        assert found.start_ns[: len(requests)].tolist() == [start for start, _ in requests]


@given(INTERVALS, INTERVALS)
def test_pieces_outside_and_stretches_between_are_told_moment_by_moment(
    busy: list[tuple[int, int]], waits: list[tuple[int, int]]
) -> None:
    of_waits, of_busy = (np.array(some, np.int64).reshape(-1, 2).T for some in (waits, busy))
    pieces = [each.tolist() for each in outside(*of_waits, *of_busy)]
    for number, wait in enumerate(waits):
        mine = [(start, end) for owner, start, end in zip(*pieces, strict=True) if owner == number]
        assert moments(mine) == moments([wait]) - moments(busy)
    if busy:
        whole = (min(start for start, _ in busy), max(end for _, end in busy))
        assert moments(between(busy)) == moments([whole]) - moments(busy)
