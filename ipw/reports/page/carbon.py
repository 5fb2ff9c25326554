"""Electricity, its price and its carbon: from measured joules and from what the user says of the grid."""

from __future__ import annotations

from collections.abc import Sequence

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.reports.facts import JOULES_PER_KWH, Facts
from ipw.reports.markup import Markup, tag
from ipw.reports.page.results import grid, section, swatch
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING
from ipw.reports.view import View

PER = 1_000_000
"""Queries for which price and carbon are told: one alone costs too little to read."""


def carbon(views: Sequence[View], _found: Sequence[Group], facts: Facts) -> Markup | None:
    """KWh, price and CO₂e of each run and of a million of its queries; nothing where the user said nothing."""
    if facts.grid_g_co2e_per_kwh is None and facts.electricity_per_kwh is None:
        return None
    rows = []
    for view in views:
        metrics = Derived(view.summary).metrics
        total, each = (number(metrics.get(n, {}).get("value")) for n in ("energy_j", "energy_per_query_j"))
        mark = tag("small", "estimated") if view.estimated else None
        name = tag("th", swatch(view), tag("bdi", view.name), mark, scope="row")
        rows.append([name, *_told(total, facts), *_told(None if each is None else each * PER, facts)])
    money = facts.currency or "price"
    heads = ["Run", "kWh", money, "g CO₂e", "kWh a million queries", f"{money} a million", "g CO₂e a million"]
    said = []
    if facts.grid_g_co2e_per_kwh is not None:
        source = facts.grid_source or "no source was given"
        said.append(f"Carbon: {facts.grid_g_co2e_per_kwh:g} g CO₂e/kWh, as the user says ({source}).")
    if facts.electricity_per_kwh is not None:
        said.append(
            f"Electricity: {facts.electricity_per_kwh:g} {facts.currency}/kWh, as the user says.".replace(" /", "/")
        )
    said.append("Of the devices in the basis alone: no cooling, no power supply, no making of the hardware.")
    return section("carbon", "Electricity, cost and carbon", grid(heads, rows, "numbers plain"), lead=" ".join(said))


def _told(energy_j: float | None, facts: Facts) -> list[str]:
    if energy_j is None:
        return [MISSING] * 3
    amounts = (energy_j / JOULES_PER_KWH, facts.cost(energy_j), facts.carbon_g(energy_j))
    return [MISSING if amount is None else f"{amount:.4g}" for amount in amounts]
