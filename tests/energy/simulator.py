"""Servers whose power is known, seen through a latched energy counter as the sampler sees it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipw.energy.attribution import Spans
from ipw.energy.curve import Curve, counter_curve

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

IDLE_W, PREFILL_W, DECODE_W = 70.0, 250.0, 140.0
"""Floor, and what one query adds to it in each phase."""
BATCH_PREFILL_W, BATCH_DECODE_W = 90.0, 35.0
"""What each query adds where eight are in flight."""
PREFILL_TOKENS_S, DECODE_TOKENS_S = 4000.0, 150.0
REST_S = 4.0
"""Idle time before and after."""


@dataclass(frozen=True)
class World:
    """Spans, power as steps, and what the server's books charge to each query above idle."""

    spans: Spans
    step_ns: Ints
    """Power is `power_w[i]` from `step_ns[i]` to `step_ns[i + 1]`."""
    power_w: Floats
    net_j: Floats
    idle_w: float
    window_ns: tuple[int, int]
    idle_ns: Ints

    def energy_at(self, t_ns: npt.ArrayLike) -> Floats:
        """Joules since the first step."""
        steps = np.concatenate([[0.0], np.cumsum(self.power_w * np.diff(self.step_ns) / 1e9)])
        values: Floats = np.interp(np.asarray(t_ns, np.float64), self.step_ns, steps)
        return values

    def gross_j(self) -> Floats:
        """Per query: its net energy and an equal share of the floor in each moment in flight."""
        t = np.unique(np.concatenate([self.spans.start_ns, self.spans.end_ns]))
        first, last = np.searchsorted(t, self.spans.start_ns), np.searchsorted(t, self.spans.end_ns)
        number = np.cumsum(np.bincount(first, minlength=t.size) - np.bincount(last, minlength=t.size))[:-1]
        each = np.diff(t) / 1e9 * self.idle_w / np.maximum(number, 1)
        running = np.concatenate([[0.0], np.cumsum(each)])
        return self.net_j + np.bincount(self.spans.owner, running[last] - running[first])


def one_at_a_time(
    rng: np.random.Generator,
    queries: int = 120,
    *,
    variation: float = 0.0,
    gap_s: float = 0.05,
    duration_s: tuple[float, float] = (0.15, 0.7),
) -> World:
    """Queries back to back or with small gaps; each phase's power varies from query to query by `variation`."""
    length = rng.uniform(*duration_s, queries)
    prefill = length * rng.uniform(0.1, 0.35, queries)
    gap = rng.uniform(0, gap_s, queries) * (rng.random(queries) < 0.6)
    start = REST_S + np.cumsum(gap + length) - length
    watts = np.array([[PREFILL_W], [DECODE_W]]) + IDLE_W
    watts = watts * np.maximum(1 + variation * rng.standard_normal((2, queries)), 0.3) - IDLE_W
    return _world(start, start + prefill, start + length, watts)


def closed_loop(
    rng: np.random.Generator,
    queries: int = 400,
    *,
    clients: int = 8,
    concave: bool = False,
    variation: float = 0.0,
) -> World:
    """Each client asks again as soon as it is answered."""
    prefill, decode = _lengths(rng, queries)
    free = [(REST_S + float(x), 0) for x in rng.uniform(0, 0.3, clients)]
    heapq.heapify(free)
    start = np.empty(queries)
    for query in range(queries):
        at, _ = heapq.heappop(free)
        start[query] = at
        heapq.heappush(free, (at + float(prefill[query] + decode[query] + rng.uniform(0, 0.01)), query + 1))
    return _batched(rng, start, prefill, decode, concave, variation)


def poisson(
    rng: np.random.Generator,
    queries: int = 400,
    *,
    in_flight: float = 8.0,
    concave: bool = False,
    variation: float = 0.0,
) -> World:
    """Arrivals at random, so many that `in_flight` are running on average."""
    prefill, decode = _lengths(rng, queries)
    rate = in_flight / float(np.mean(prefill + decode))
    start = REST_S + np.cumsum(rng.exponential(1 / rate, queries))
    return _batched(rng, start, prefill, decode, concave, variation)


def _lengths(rng: np.random.Generator, queries: int) -> tuple[Floats, Floats]:
    return (
        rng.integers(120, 800, queries) / PREFILL_TOKENS_S,
        rng.integers(30, 180, queries) / DECODE_TOKENS_S,
    )


def _batched(
    rng: np.random.Generator, start: Floats, prefill: Floats, decode: Floats, concave: bool, variation: float
) -> World:
    watts = np.array([[BATCH_PREFILL_W], [BATCH_DECODE_W]])
    watts = watts * np.maximum(1 + variation * rng.standard_normal((2, start.size)), 0.3)
    return _world(start, start + prefill, start + prefill + decode, watts, concave=concave)


def _world(start: Floats, first_token: Floats, end: Floats, watts: Floats, *, concave: bool = False) -> World:
    """`watts[phase, query]` above idle when alone; with `concave` their sum saturates and is shared in proportion."""
    n = start.size
    a, b, c = ((x * 1e9).astype(np.int64) for x in (start, first_token, end))
    starts, ends = np.concatenate([a, b]), np.concatenate([b, c])
    phase = np.repeat([0, 1], n)
    seconds = (ends - starts) / 1e9
    work = np.maximum(1.0, np.rint(seconds * np.array([PREFILL_TOKENS_S, DECODE_TOKENS_S])[phase]))
    spans = Spans(starts, ends, phase, ("prefill", "decode"), np.tile(np.arange(n), 2), work)
    stop = int(c.max())
    t = np.unique(np.concatenate([starts, ends, [0, stop + int(REST_S * 1e9)]]))
    i, j = np.searchsorted(t, starts), np.searchsorted(t, ends)
    own = watts.ravel()
    load = np.cumsum(np.bincount(i, own, t.size) - np.bincount(j, own, t.size))[:-1]
    load[load < 1e-6] = 0.0
    above = 600.0 * (1 - np.exp(-load / 600.0)) if concave else load
    running = np.concatenate(
        [[0.0], np.cumsum(np.diff(t) / 1e9 * np.divide(above, load, out=np.zeros(load.size), where=load > 0))]
    )
    net = np.bincount(spans.owner, own * (running[j] - running[i])).astype(np.float64)
    first = int(a.min())
    idle = np.array([[500_000_000, first - 500_000_000], [stop + 500_000_000, stop + int((REST_S - 1) * 1e9)]])
    return World(spans, t, IDLE_W + above, net, IDLE_W, (first - 1_000_000_000, stop + 1_000_000_000), idle)


def disturbed(
    world: World, rng: np.random.Generator, *, flicker: float = 0.0, drift: float = 0.0, late_s: float = 0.0
) -> World:
    """The same server less tidy: power flickers (correlated over 20 ms) and drifts, and edges are told late.

    `flicker` and `drift` are fractions of power; `late_s` is the mean of the client's exponential delay. The books
    follow what was really drawn between the edges as told (one query at a time).
    """
    stop = int(world.step_ns[-1])
    t = np.unique(np.concatenate([world.step_ns, np.arange(0, stop, 10_000_000)]))
    power = world.power_w[np.searchsorted(world.step_ns, t[:-1], "right") - 1]
    noise = np.empty(t.size - 1)
    noise[0] = rng.standard_normal()
    for k in range(1, noise.size):
        keep = float(np.exp(-(t[k] - t[k - 1]) / 20e6))
        noise[k] = keep * noise[k - 1] + np.sqrt(1 - keep**2) * rng.standard_normal()
    factor = np.maximum(1 + flicker * noise + drift * (t[:-1] / stop - 0.5), 0.0)
    messy = replace(world, step_ns=t, power_w=power * factor)
    edges = np.unique(np.concatenate([world.spans.start_ns, world.spans.end_ns]))
    told = np.maximum.accumulate(edges + (rng.exponential(1.0, edges.size) * late_s * 1e9).astype(np.int64))
    start, end = (told[np.searchsorted(edges, x)] for x in (world.spans.start_ns, world.spans.end_ns))
    drawn = messy.energy_at(end) - messy.energy_at(start)
    net = np.bincount(world.spans.owner, drawn - world.idle_w * (end - start) / 1e9).astype(np.float64)
    return replace(messy, net_j=net, spans=replace(world.spans, start_ns=start, end_ns=end))


@dataclass(frozen=True)
class Counter:
    """An energy counter that holds its value between ticks."""

    tick_ns: Ints
    value_j: Floats

    def at(self, t_ns: npt.ArrayLike) -> Floats:
        """What it shows."""
        shown = np.searchsorted(self.tick_ns, np.asarray(t_ns), "right") - 1
        values: Floats = np.where(shown >= 0, self.value_j[shown], 0.0)
        return values


@dataclass(frozen=True)
class Sampler:
    """A latched counter and the program that watches it."""

    period_s: float = 0.1
    jitter_s: float = 0.0005
    """Standard deviation of each update's period."""
    bracket_s: float = 0.002
    """Between the last read of the old value and the first of the new one."""
    missed: float = 0.01
    """Fraction of ticks that nobody watched."""
    resolution_j: float = 0.001
    gain: float = 1.0

    def counter(self, world: World, rng: np.random.Generator) -> Counter:
        """The counter of a world, of unknown phase."""
        stop = world.step_ns[-1] / 1e9
        periods = self.period_s * 1.003 + self.jitter_s * rng.standard_normal(int(stop / self.period_s))
        ticks = rng.uniform(0, self.period_s) + np.cumsum(periods)
        tick_ns = (ticks[ticks < stop] * 1e9).astype(np.int64)
        value = np.floor(self.gain * world.energy_at(tick_ns) / self.resolution_j) * self.resolution_j
        return Counter(tick_ns, value)

    def readings(self, counter: Counter, rng: np.random.Generator) -> tuple[Ints, Floats, Ints, Ints]:
        """Moments, joules, status and half-widths, as `power.bin` holds them: a pair of reads about each tick."""
        bracket_ns = self.bracket_s * 1e9
        before = rng.uniform(0, bracket_ns, counter.tick_ns.size)
        watched = rng.random(counter.tick_ns.size) >= self.missed
        first = (counter.tick_ns - before)[watched].astype(np.int64)
        t = np.unique(np.concatenate([first, first + int(bracket_ns)]))
        return t, counter.at(t), np.zeros(t.size, np.int64), np.full(t.size, 20_000)

    def curve(self, world: World, rng: np.random.Generator) -> Curve:
        """What ipw makes of the readings."""
        return self.curve_of(self.counter(world, rng), rng)

    def curve_of(self, counter: Counter, rng: np.random.Generator) -> Curve:
        """The same, of a given counter."""
        return counter_curve(*self.readings(counter, rng), ticks=True, resolution_j=self.resolution_j)


FAST = replace(Sampler(), period_s=0.02)
