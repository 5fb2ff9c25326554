"""Joules of requests against their tokens, by how many were in flight, beside what the costs of steps give."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ipw.metrics.stats import Array
from ipw.reports.charged import Charged
from ipw.reports.charts.axes import SERIES
from ipw.reports.charts.plot import CurveLine, Plot, Point, plan
from ipw.reports.text import scale_for

MOST_GROUPS, MOST_POINTS = 3, 300
ALIKE = 1.2
"""Groups whose numbers in flight differ by less than this factor say the same."""


def by_in_flight(charged: Charged, *, estimated: bool = False) -> Plot:
    """Show a point a request, and for each group by number in flight the line that the costs give."""
    scale = scale_for("J", [float(np.median(charged.net_j))])
    masks = grouped(charged.in_flight)
    most = float(charged.tokens.max())
    curves: list[CurveLine] = []
    highest = [scale.factor * float(np.quantile(charged.net_j, 0.995))]
    for row, mine in enumerate(masks):
        count = float(np.median(charged.in_flight[mine]))
        begin, end = by_costs(charged, 0.0, count), by_costs(charged, most, count)
        highest.append(scale.factor * end)
        at = np.flatnonzero(mine)
        at = at[np.linspace(0, at.size - 1, min(at.size, MOST_POINTS // len(masks))).astype(np.int64)]
        points = zip(charged.tokens[at].tolist(), (scale.factor * charged.net_j[at]).tolist(), strict=True)
        each = (end - begin) / most
        small = scale_for("J", [each])
        mark = " (estimated)" if estimated else ""
        more = f"a token and its share of a step {small.factor * each:.3g} {small.unit}{mark}"
        name, series = f"about {count:.2g} in flight", SERIES[row]
        dots = [Point(x, y) for x, y in points]
        curves.append(CurveLine(name, dots, series, "dots", estimated=estimated, more=more))
        line = [Point(0.0, scale.factor * begin), Point(most, scale.factor * end)]
        curves.append(CurveLine(name, line, series, dashed=True, listed=False))
    return Plot(
        "Net energy of a request against its tokens, by how many were in flight",
        plan("output tokens", [0.0, most], zero=True),
        plan(f"net energy of a request, {scale.unit}{', estimated' if estimated else ''}", [0.0, *highest], zero=True),
        curves,
        "; ".join(f"{curve.name}: {curve.more}" for curve in curves if curve.more),
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
