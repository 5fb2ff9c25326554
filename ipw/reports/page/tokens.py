"""Where a query's joules and seconds go: with its tokens, and between prefill and decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipw.metrics.derived import Derived
from ipw.reports.charts.axes import Axis, axis_over, figure, label, legend, line, plain
from ipw.reports.charts.queries import LEFT, RIGHT, WIDTH
from ipw.reports.charts.tokens import Cloud, against_tokens
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import chart, grid, origin, section, swatch
from ipw.reports.page.view import View
from ipw.reports.ranking import Group
from ipw.reports.text import quantity, scale_for, shortened

PREFILL, DECODE = "var(--s2,#d55e00)", "var(--s5,#56b4e9)"
PER_TOKEN = ("prefill_energy_per_token_j", "decode_energy_per_token_j", "energy_per_output_token_j")


def tokens(views: Sequence[View], found: Sequence[Group]) -> Markup | None:
    """Energy, by group, and latency of every query against its output tokens."""
    charts = []
    for index, group in enumerate(found):
        clouds = _clouds([views[row.position] for row in group.rows], "energy_j")
        if clouds:
            title = "energy of a query, estimated" if group.estimated else "energy of a query"
            charts.append(chart(against_tokens(clouds, "J", title, "output tokens", f"tokens-energy{index}")))
    clouds = _clouds(views, "latency_s")
    if clouds:
        charts.append(chart(against_tokens(clouds, "s", "latency of a query", "output tokens", "tokens-latency")))
    lead = "A point a query. Lines are least squares; their slope is what one more output token takes, with its 95 % \
interval."
    return section("tokens", "Energy and latency against tokens", *charts, lead=lead) if charts else None


def phases(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Prefill and decode of a mean query, as bars and by token."""
    parts = [(view, _means(view)) for view in views]
    known = [(view, means) for view, means in parts if means]
    if not known:
        return None
    heads = ["Run", "Prefill a prompt token", "Decode an output token", "All, an output token"]
    rows = []
    for view, _ in known:
        metrics = Derived(view.summary).metrics
        cells = [_cell(name, metrics.get(name, {}), view) for name in PER_TOKEN]
        rows.append([tag("th", swatch(view), tag("bdi", view.name), scope="row"), *cells])
    bars = chart(_bars(known))
    lead = "Prefill is all up to the first token, decode the rest; their edge is the moment at which the client saw it."
    return section("phases", "Prefill and decode", bars, grid(heads, rows, "numbers plain"), lead=lead)


def _clouds(views: Sequence[View], column: str) -> list[Cloud]:
    clouds = []
    for view in views:
        counts, values = (view.queries.numbers[name] for name in ("completion_tokens", column))
        kept = view.queries.ok & np.isfinite(counts) & np.isfinite(values) & (values > 0)
        if kept.sum() > 2:
            clouds.append(Cloud(view.name, counts[kept], values[kept], view.series, view.estimated))
    return clouds


def _means(view: View) -> tuple[float, float] | None:
    columns = [view.queries.numbers[name] for name in ("prefill_energy_j", "decode_energy_j")]
    known = np.isfinite(columns[0]) & np.isfinite(columns[1])
    return (float(columns[0][known].mean()), float(columns[1][known].mean())) if known.any() else None


def _cell(name: str, metric: Mapping[str, Any], view: View) -> Markup:
    mark = " (estimated)" if view.estimated else ""
    return tag("td", quantity(metric) + mark if metric else "", title=origin(name, metric))


def _bars(known: Sequence[tuple[View, tuple[float, float]]]) -> Markup:
    """Draw one bar a run, prefill and decode end to end; estimates are pale."""
    name_px, row_px, top = 190, 30.0, 10.0
    scale = scale_for("J", [sum(means) for _, means in known])
    x: Axis = axis_over([0.0, *(scale.factor * sum(means) for _, means in known)], name_px, RIGHT, zero=True)
    bottom = top + row_px * len(known)
    mark = " (pale: estimated)" if any(view.estimated for view, _ in known) else ""
    parts: list[Markup] = []
    for value in x.ticks(8):
        parts += [line(x.at(value), top, x.at(value), bottom), label(x.at(value), bottom + 17, plain(value), "middle")]
    for row, (view, (prefill, decode)) in enumerate(known):
        y, opacity = top + row_px * row + 6, 0.45 if view.estimated else None
        edge, end = x.at(scale.factor * prefill), x.at(scale.factor * (prefill + decode))
        parts.append(label(name_px - 12, y + 13, shortened(view.name, 24), "end", "currentColor"))
        for left, right, colour in ((x.start_px, edge, PREFILL), (edge, end, DECODE)):
            width = round(max(right - left, 0.0), 2)
            parts.append(tag("rect", x=left, y=y, width=width, height=18, fill=colour, opacity=opacity))
    swatches, height = legend(
        [
            (tag("rect", x=0, y=-6, width=12, height=12, fill=c), n)
            for c, n in ((PREFILL, "prefill"), (DECODE, "decode"))
        ],
        LEFT,
        bottom + 62,
        RIGHT - LEFT,
    )
    parts.append(
        label((x.start_px + x.end_px) / 2, bottom + 37, f"mean energy of a query, {scale.unit}{mark}", "middle")
    )
    told = "; ".join(f"{v.name}: prefill {p:.3g} J, decode {d:.3g} J" for v, (p, d) in known[:20])
    return figure(WIDTH, int(bottom + 58 + height), "Prefill and decode", told, [join(parts), swatches], "phases-chart")
