"""Where a query's joules and seconds go: with its tokens, and between prefill and decode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipw.metrics.derived import Derived
from ipw.reports.markup import Markup, tag
from ipw.reports.page.results import drawn, grid, origin, section, swatch
from ipw.reports.plots.energy import phase_means
from ipw.reports.plots.energy import phases as phase_bars
from ipw.reports.plots.tokens import against_tokens, clouds_of
from ipw.reports.ranking import Group
from ipw.reports.text import quantity
from ipw.reports.view import View

PER_TOKEN = ("prefill_energy_per_token_j", "decode_energy_per_token_j", "energy_per_output_token_j")


def tokens(views: Sequence[View], found: Sequence[Group]) -> Markup | None:
    """Energy, by group, and latency of every query against its output tokens."""
    charts = []
    for index, group in enumerate(found):
        clouds = clouds_of([views[row.position] for row in group.rows], "energy_j")
        charts.append(drawn(against_tokens(clouds, "J", "energy of a query"), f"tokens-energy{index}"))
    charts.append(drawn(against_tokens(clouds_of(views, "latency_s"), "s", "latency of a query"), "tokens-latency"))
    lead = "A point a query. Lines are least squares; their slope is what one more output token takes, with its 95 % \
interval."
    return section("tokens", "Energy and latency against tokens", *charts, lead=lead) if any(charts) else None


def phases(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Prefill and decode of a mean query, as bars and by token."""
    known = [view for view in views if phase_means(view)]
    if not known:
        return None
    heads = ["Run", "Prefill a prompt token", "Decode an output token", "All, an output token"]
    rows = []
    for view in known:
        metrics = Derived(view.summary).metrics
        cells = [_cell(name, metrics.get(name, {}), view) for name in PER_TOKEN]
        rows.append([tag("th", swatch(view), tag("bdi", view.name), scope="row"), *cells])
    lead = "Prefill is all up to the first token, decode the rest; their edge is the moment at which the client saw it."
    bars = drawn(phase_bars(known), "phases-chart")
    return section("phases", "Prefill and decode", bars, grid(heads, rows, "numbers plain"), lead=lead)


def _cell(name: str, metric: Mapping[str, Any], view: View) -> Markup:
    mark = " (estimated)" if view.estimated else ""
    return tag("td", quantity(metric) + mark if metric else "", title=origin(name, metric))
