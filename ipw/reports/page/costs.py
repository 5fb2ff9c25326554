"""What a step and a token cost, and what that makes of requests, where joules were divided by steps."""

from __future__ import annotations

from collections.abc import Sequence

from ipw.metrics.derived import objects
from ipw.printable import clean
from ipw.reports.markup import Markup, tag
from ipw.reports.page.results import drawn, grid, section, swatch
from ipw.reports.plots.in_flight import by_in_flight
from ipw.reports.ranking import Group
from ipw.reports.text import quantity
from ipw.reports.view import View
from ipw.runs.recorded import Recorded, part_of

LEAD = """A point a request: its joules above idle against the tokens of its answer. All who are in a step of the \
engine share what the step costs, so that a token costs the less the more are in flight. Lines are what the costs give \
for a request with a usual prompt, if each turn yields one token and power nears no limit. In the table, a token is \
one that is computed: drafted ones count, be they accepted or not."""
MOST_COSTS = 8


def costs(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Net joules of requests against their tokens, and what the engine's steps and tokens cost."""
    shown = [view for view in views if view.charged is not None]
    if not shown:
        return None
    parts: list[Markup] = []
    rows = []
    for view in shown:
        assert view.charged is not None
        name = tag("bdi", view.name)
        attribution = Recorded(view.manifest).attribution
        engine = part_of(attribution, "engine")
        parts += [tag("h3", swatch(view), name)] if len(shown) > 1 else []
        one = drawn(by_in_flight(view.charged, estimated=view.estimated), f"costs-{view.key}")
        parts += [one] if one else []
        seen = f"{clean(engine.get('kind'), 30)}, by when chunks of text came: {clean(engine.get('why'), 300)}."
        parts.append(tag("p", f"Engine: {seen}", class_="note"))
        mark = " (estimated)" if view.estimated else ""
        for cost, value in list(objects(attribution, "costs").items())[:MOST_COSTS]:
            run = tag("th", swatch(view), name, scope="row")
            rows.append([run, f"a {clean(cost, 30)}", quantity({**value, "unit": "J"}) + mark])
    table = grid(["Run", "Cost above idle", "Joules"], rows, "numbers plain")
    return section("costs", "Joules of requests in flight together", *parts, table, lead=LEAD)
