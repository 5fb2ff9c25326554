"""Ticks of many kinds, and processes that are held up: what a follower reads and counts is as it was.

The figures are those of today. Whoever changes when it reads writes them anew, and looks at what became better by it.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pytest

from ipw.profilers.sampler.ticks import MS, TickFollower

SECOND = 1_000 * MS


@dataclass
class World:
    """Ticks, and when a process that reads them wakes."""

    ticks: Sequence[int]
    until_ns: int
    late_us: float = 100.0
    stalls: tuple[tuple[float, float], ...] = ()
    """Second of the world, and for how many it is held up then."""
    stride: int = 1
    costly: bool = False
    poll_ms: int = 100
    told: Callable[[TickFollower, int, int], None] | None = None
    """What somebody tells the follower after a read: its number and its moment."""


def spaced(*parts: tuple[int, float, float]) -> list[int]:
    """Ticks in parts of so many, each so many ms after the one before, but for up to so many ms of jitter."""
    draw = random.Random(3)
    gaps = (period + draw.uniform(-jitter, jitter) for count, period, jitter in parts for _ in range(count))
    return [int(at * MS) for at in accumulate(gaps, initial=37.3)]


def without(ticks: Sequence[int], *left_out: int) -> list[int]:
    return [tick for number, tick in enumerate(ticks) if number not in left_out]


def asked_for(follower: TickFollower, number: int, now_ns: int) -> None:
    """As those do who take turns: early reads, and a tick to be watched, at odd moments."""
    if number % 60 == 20:
        follower.read_before_ticks((number % 7 + 1) * 9 * MS)
    if number % 90 == 30:
        follower.watch_at(now_ns + (number % 11) * 37 * MS)
    if number % 170 == 100:
        follower.watch_now(now_ns)
    if number % 250 == 200:
        follower.stride = 4 + number % 13


WORLDS = {
    "steady": World(spaced((400, 100, 0)), 30 * SECOND),
    "steady, watched seldom": World(spaced((900, 50, 0)), 40 * SECOND, stride=12),
    "steady, as told": World(spaced((900, 100, 0.2)), 80 * SECOND, stride=12, told=asked_for),
    "quick, as told": World(spaced((3000, 20, 0.3)), 50 * SECOND, 40.0, stride=8, told=asked_for),
    "jittering": World(spaced((400, 100, 3)), 35 * SECOND, stride=6),
    "jittering by far": World(spaced((1500, 40, 9)), 45 * SECOND, stride=3),
    "wandering": World([int(t * 1.0002) for t in spaced((700, 60, 1))], 40 * SECOND, 300.0, stride=10),
    "woken late": World(spaced((700, 60, 0)), 40 * SECOND, 5000.0, stride=4),
    "woken late by far": World(spaced((700, 100, 0)), 60 * SECOND, 30000.0),
    "held up": World(
        spaced((900, 50, 0)), 40 * SECOND, stalls=((0.1, 0.2), (5, 0.03), (8, 0.06), (12, 0.4), (20, 5)), stride=4
    ),
    "held up at first": World(spaced((700, 100, 0)), 60 * SECOND, stalls=((0.05, 0.3), (0.6, 0.08), (1.1, 2))),
    "one gap of five differs": World(spaced((1, 100, 0), (1, 171, 0), (500, 100, 0)), 40 * SECOND),
    "one gap of five differs, a short one": World(spaced((3, 100, 0), (1, 41, 0), (500, 100, 0)), 40 * SECOND),
    "gaps that differ": World(spaced((1, 100, 0), (1, 171, 0), (1, 60, 0), (1, 140, 0), (400, 80, 0)), 30 * SECOND),
    "ticks are left out": World(
        without(spaced((900, 50, 0)), 100, 200, 201, 300, 301, 302, *range(400, 420)), 40 * SECOND
    ),
    "a new period": World(spaced((70, 100, 0), (300, 35, 0), (100, 140, 0)), 30 * SECOND, stride=5),
    "a new phase": World(
        spaced((70, 100, 0), (1, 155, 0), (70, 100, 0), (1, 30, 0), (90, 100, 0)), 22 * SECOND, stride=5
    ),
    "too quick": World(spaced((9000, 4.4, 0)), 35 * SECOND),
    "barely quick": World(spaced((6000, 5.6, 0)), 30 * SECOND, 20.0),
    "too slow": World(spaced((30, 2500, 0)), 60 * SECOND),
    "too slow for long": World(spaced((900, 2500, 0)), 2200 * SECOND, poll_ms=1000),
    "now and then": World(spaced((80, 100, 0), (1, 9000, 0), (80, 100, 0), (1, 3000, 0), (9, 100, 0)), 40 * SECOND),
    "no ticks": World([], 30 * SECOND, poll_ms=250),
    "costly": World(spaced((900, 100, 0.1)), 80 * SECOND, 2000.0, stride=16, costly=True),
    "costly, as told": World(spaced((900, 100, 0.1)), 80 * SECOND, 900.0, stride=16, costly=True, told=asked_for),
    "costly and held up": World(
        spaced((900, 50, 0)), 40 * SECOND, stalls=((9, 0.06), (12, 0.4), (20, 5)), stride=9, costly=True
    ),
}  # fmt: skip
Figures = tuple[int, float, int, int, int, float]


def reads(world: World, kind: type[TickFollower]) -> Iterator[tuple[int, int, TickFollower]]:
    """Number and moment of each read, and the follower after it."""
    follower = kind(0, world.poll_ms * MS, costly=world.costly)
    follower.stride = world.stride
    draw, stalls, now, count, number = random.Random(1), list(world.stalls), 0, 0, 0
    while True:
        # a read that may wait comes up to its patience late, one with slack up to that early
        early = int(follower.slack_ns * 0.8) if number % 5 == 0 else 0
        late = int(follower.patience_ns * 0.9) if number % 7 == 0 else 0
        now = max(follower.due_ns - early, now) + late + 5_000 + int(draw.expovariate(1 / (1e3 * world.late_us)))
        if stalls and now > stalls[0][0] * SECOND:
            now += int(stalls.pop(0)[1] * SECOND)
        if now >= world.until_ns:
            return
        before, count = count, bisect_right(world.ticks, now)
        follower.observe(now, count != before)
        if world.told:
            world.told(follower, number, now)
        yield number, now, follower
        number += 1


def figures(world: World, kind: type[TickFollower] = TickFollower) -> Figures:
    """Reads, the sum of their moments and plans in ms, each weighing one to seven times; ticks that were seen, watched
    and missed; and half of what lay around a watched one, in ms."""
    told = 0.0
    for number, now, follower in reads(world, kind):
        phase_ns = follower.phase_ns(now) or 0.0
        about = now + phase_ns + follower.slack_ns + follower.patience_ns + follower.watched_ns
        told += (1 + number % 7) * (about / MS + 50 * follower.resting)
    return number + 1, told, follower.ticks, follower.watched, follower.missed, follower.bracket_ns / MS


KNOWN: dict[str, Figures] = {
    "steady": (802, 87371569.874715, 300, 297, 0, 0.652461034),
    "steady, watched seldom": (911, 134180953.297212, 798, 40, 1, 0.965134812),
    "steady, as told": (981, 284184880.229303, 798, 56, 4, 1.179150589),
    "quick, as told": (2873, 563963529.784204, 2489, 198, 8, 0.986835376),
    "jittering": (779, 104285551.744871, 347, 119, 4, 1.517237639),
    "jittering by far": (2503, 298426084.432405, 416, 301, 56, 1.519507161),
    "wandering": (935, 141805635.182580, 661, 73, 6, 1.609351438),
    "woken late": (917, 141267936.154151, 627, 117, 37, 5.062440859),
    "woken late by far": (773, 156146159.431217, 215, 42, 99, 14.058782536),
    "held up": (901, 129512064.673191, 687, 93, 111, 0.672778645),
    "held up at first": (1650, 352113865.830239, 579, 569, 21, 0.695867576),
    "one gap of five differs": (1175, 157317357.940065, 389, 381, 0, 0.660390723),
    "one gap of five differs, a short one": (1137, 158084994.232259, 390, 381, 3, 0.671575631),
    "gaps that differ": (1098, 110585110.660524, 360, 352, 0, 0.641823994),
    "ticks are left out": (2525, 394875018.000321, 774, 764, 10, 0.828932188),
    "a new period": (759, 73069588.601192, 452, 55, 4, 0.823233436),
    "a new phase": (527, 38354910.164719, 218, 32, 6, 0.948297000),
    "too quick": (442, 48323522.069428, 30, 0, 0, 0.000000000),
    "barely quick": (13395, 1607065103.366683, 5351, 5348, 0, 0.538718124),
    "too slow": (4871, 359096711.624184, 1, 0, 0, 0.000000000),
    "too slow for long": (11679, 26966499619.153713, 1, 0, 0, 0.000000000),
    "now and then": (2373, 320124457.258400, 170, 161, 9, 0.706272366),
    "no ticks": (842, 9648796.650701, 0, 0, 0, 0.000000000),
    "costly": (234, 52831545.715847, 127, 62, 6, 2.621843677),
    "costly, as told": (214, 43038805.259259, 123, 62, 2, 1.731281129),
    "costly and held up": (321, 40238360.425417, 164, 81, 112, 1.198243648),
}


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_read_and_counted_is_as_it_was(name: str) -> None:
    assert figures(WORLDS[name]) == pytest.approx(KNOWN[name], rel=1e-8)
