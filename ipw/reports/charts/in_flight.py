"""Joules of requests against their tokens, by how many were in flight, beside what the costs of steps give."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ipw.metrics.stats import Array
from ipw.reports.charts.axes import SERIES, axis_over, figure, frame, label, marker, polyline
from ipw.reports.charts.queries import LEFT, RIGHT, WIDTH
from ipw.reports.charts.tokens import BOTTOM, MOST_POINTS, TOP
from ipw.reports.markup import Markup, tag
from ipw.reports.text import scale_for

MOST_GROUPS = 3
ALIKE = 1.2
"""Groups whose numbers in flight differ by less than this factor say the same."""


class Charged(NamedTuple):
    """Requests of one run, in arrays of one length, and what their engine's steps cost."""

    tokens: Array
    """Of the answers."""
    net_j: Array
    in_flight: Array
    """How many were, on average while each was."""
    prompt: float
    """Tokens that a usual request computed before its first."""
    step_j: float
    token_j: float
    prompt_token_j: float


def by_in_flight(charged: Charged, key: str, *, estimated: bool = False) -> Markup:
    """Draw a point a request, and for each group by number in flight the line that the costs give."""
    scale = scale_for("J", [float(np.median(charged.net_j))])
    groups = grouped(charged.in_flight)
    most = float(charged.tokens.max())
    lines = [(float(np.median(charged.in_flight[mine])), mine) for mine in groups]
    ends = [by_costs(charged, most, count) for count, _ in lines]
    x = axis_over([0.0, most], LEFT, RIGHT, zero=True)
    highest = [scale.factor * end for end in (float(np.quantile(charged.net_j, 0.995)), *ends)]
    y = axis_over([0.0, *highest], BOTTOM, TOP, zero=True)
    title = f"net energy of a request{' (estimated)' if estimated else ''}"
    parts: list[Markup] = [frame(x, y, "output tokens", f"{title}, {scale.unit}")]
    words = []
    for row, ((count, mine), end) in enumerate(zip(lines, ends, strict=True)):
        series = SERIES[row]
        at = np.flatnonzero(mine)
        at = at[np.linspace(0, at.size - 1, min(at.size, MOST_POINTS // len(lines))).astype(np.int64)]
        points = zip(charged.tokens[at].tolist(), (scale.factor * charged.net_j[at]).tolist(), strict=True)
        dots = Markup("".join(f"M{x.at(a):.1f},{y.at(b):.1f}h0" for a, b in points))
        parts.append(tag("path", d=dots, stroke=series[0], stroke_width=4, stroke_linecap="round", opacity=0.4))
        begin = by_costs(charged, 0.0, count)
        drawn = [(x.at(t), y.at(scale.factor * j)) for t, j in ((0.0, begin), (most, end))]
        parts.append(polyline(drawn, series[0], 2, "6 4"))
        each = (end - begin) / most
        small = scale_for("J", [each])
        words.append(
            f"about {count:.2g} in flight: a token and its share of a step {small.factor * each:.3g} {small.unit}"
        )
        base = BOTTOM + 64 + 20 * row
        parts += [marker(LEFT + 6, base - 4, series, hollow=estimated, size=5)]
        parts += [label(LEFT + 20, base, words[-1], fill="currentColor")]
    height = int(BOTTOM) + 58 + 20 * len(lines)
    return figure(
        WIDTH, height, f"{title} against its tokens, by how many were in flight", "; ".join(words), parts, key
    )


def by_costs(charged: Charged, tokens: float, in_flight: float) -> float:
    """Joules of a request with so many tokens and a usual prompt, whose steps it shared with so many."""
    return charged.prompt * charged.prompt_token_j + tokens * (charged.token_j + charged.step_j / max(in_flight, 1.0))


def grouped(in_flight: Array) -> list[Array]:
    """Part requests by how many were in flight, into as many groups as differ: a mask each, the fewest first."""
    for count in range(MOST_GROUPS, 1, -1):
        edges = np.quantile(in_flight, np.arange(1, count) / count)
        of = np.searchsorted(edges, in_flight, "right")
        masks = [of == group for group in range(count)]
        if not all(mask.any() for mask in masks):
            continue
        middles = [float(np.median(in_flight[mask])) for mask in masks]
        if all(more >= ALIKE * less for less, more in pairwise(middles)):
            return masks
    return [np.ones(in_flight.size, np.bool_)]


def mean_in_flight(start_s: Array, end_s: Array) -> Array:
    """How many requests were in flight on average between the start and the end of each; 1 where it took no time."""
    begun, ended = np.sort(start_s), np.sort(end_s)

    def passed(at: Array) -> Array:
        return _seconds(at, begun) - _seconds(at, ended)

    lasted = end_s - start_s
    mean: Array = np.divide(passed(end_s) - passed(start_s), lasted, out=np.ones(lasted.size), where=lasted > 0)
    return mean


def _seconds(at: Array, moments: Array) -> Array:
    """Seconds gone by at each time since each moment before it, added up."""
    count = np.searchsorted(moments, at, "right")
    total: Array = count * at - np.concatenate([[0.0], np.cumsum(moments)])[count]
    return total
