"""Several models over the same questions, as parts of a page: coverage, difficulty, routing to a cloud, years."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ipw.metrics.derived import Derived
from ipw.metrics.hybrid import Expense, Saving, route
from ipw.metrics.metric import number
from ipw.metrics.panel import Aligned, Duel, SolvedShare, align, coverage, difficulty, duel, gain
from ipw.printable import clean
from ipw.registry import answers_questions
from ipw.reports.charts.years import Release, over_years
from ipw.reports.facts import Facts
from ipw.reports.markup import Markup, join, tag
from ipw.reports.names import model_name
from ipw.reports.page.results import grid, reflowing, section, swatch
from ipw.reports.plots.accuracy import value_of
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING
from ipw.reports.view import View, workload_of
from ipw.runs.recorded import Recorded


class Panel(NamedTuple):
    """Language models that were asked the same questions."""

    dataset: str
    views: list[View]
    asked: Aligned


def studies(views: Sequence[View], _found: Sequence[Group], facts: Facts) -> Markup | None:
    """What the paper asks of several models on one data set; nothing where no two runs share a question."""
    parts = [part for panel in panels(views) for part in _panel(panel, facts)]
    lead = "Runs that were asked the same questions, compared question by question."
    return section("study", "The same questions", *parts, lead=lead) if parts else None


def panels(views: Sequence[View]) -> list[Panel]:
    """Group language-model runs by data set; those that share no question, or were not scored, make none."""
    members: dict[str, list[View]] = {}
    for view in views:
        scored = np.isfinite(view.queries.numbers["score"]).any()  # else nobody said what was right
        if answers_questions(Recorded(view.manifest).kind) and scored:
            members.setdefault(clean(workload_of(view).get("dataset") or "", 60), []).append(view)
    found = [Panel(name, group, align([v.queries for v in group])) for name, group in members.items() if len(group) > 1]
    return [panel for panel in found if panel.asked.query_ids]


def _panel(panel: Panel, facts: Facts) -> Iterator[Markup | None]:
    asked = panel.asked
    without = f"; {asked.left_out:,} that not every run was asked are left out" if asked.left_out else ""
    yield tag("h3", f"{panel.dataset}: {len(asked.query_ids):,} questions{without}")
    yield _solved(panel, facts)
    yield from _levels(panel, facts)
    yield from _routing(panel, facts)
    yield from _years(panel, facts)


def percent(part: float | SolvedShare | None) -> str:
    """Write a part of the whole, with its interval where it has one."""
    if part is None:
        return MISSING
    if isinstance(part, SolvedShare):
        low, high = part.interval
        between = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
        return f"{100 * part.value:.1f} %{between}"
    return f"{100 * part:.1f} %"


# --- who solves what ------------------------------------------------------------------------------------------------


def _solved(panel: Panel, facts: Facts) -> Markup:
    each, union, alone = coverage(panel.asked.solved)
    reference = _reference(panel, facts)
    duels = [duel(row, panel.asked.scores[reference]) for row in panel.asked.scores]
    rows = [
        [
            _named(view, "the others stand against this" if i == reference and len(panel.views) > 1 else None),
            percent(solves),
            f"{only:,}",
            *_duel(one, same=i == reference),
        ]
        for i, (view, solves, only, one) in enumerate(zip(panel.views, each, alone, duels, strict=True))
    ]
    rows.append([tag("th", "any of them (an oracle's choice)", scope="row"), percent(union), MISSING, *[MISSING] * 4])
    against = f"against {panel.views[reference].name}"
    heads = ["Run", "Solves", "Alone", f"Wins {against}", "Both right", "Both wrong", "Win or tie"]
    said = """Win or tie is the paper's figure: at least as good as the other. It counts questions that both have \
wrong; wins and both right alone are those that a local model can take over without loss."""
    return join([grid(heads, rows, "numbers plain"), tag("p", said, class_="note")])


def _duel(one: Duel, *, same: bool) -> list[str]:
    shares = (one.wins, one.both_right, one.both_wrong, one.win_tie)
    return [MISSING if same else percent(part) for part in shares]


def _reference(panel: Panel, facts: Facts) -> int:
    """Choose the cloud model, or the run that solves most."""
    clouds = [i for i, view in enumerate(panel.views) if facts.of(_model(view)).cloud]
    return clouds[0] if clouds else int(panel.asked.scores.mean(axis=1).argmax())


# --- difficulty -----------------------------------------------------------------------------------------------------


def _levels(panel: Panel, facts: Facts) -> Iterator[Markup | None]:
    sizes = [_parameters(view, facts) for view in panel.views]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or len(set(known)) < 2:
        return
    solved = panel.asked.solved
    level = difficulty(solved, known)
    steps = np.unique(known).tolist()
    rows = []
    for number_, name in enumerate([f"by {_of_size(panel, known, size)}" for size in steps] + ["by none"]):
        mine = level == number_
        accuracy = [percent(float(row[mine].mean())) if mine.any() else MISSING for row in solved]
        rows.append([name, percent(float(mine.mean())), *accuracy])
    yield tag("h4", "Difficulty: the smallest model that solves a question")
    yield grid(["First solved", "Questions", *(view.name for view in panel.views)], rows, "numbers plain")


def _of_size(panel: Panel, sizes: Sequence[float], size: float) -> str:
    """Name the models of one size."""
    names = [model_name(view.summary) for view, own in zip(panel.views, sizes, strict=True) if own == size]
    return f"{' or '.join(dict.fromkeys(names))} ({_size(size)} parameters)"


def _size(parameters: float) -> str:
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if parameters >= factor:
            return f"{parameters / factor:.3g} {unit}"
    return f"{parameters:.0f}"


def _parameters(view: View, facts: Facts, *, active: bool = False) -> float | None:
    model = Recorded(view.manifest).model
    told = facts.of(_model(view)).parameters
    counted = number(model.get("active_parameters")) if active else None
    return counted or told or number(model.get("parameters"))


# --- routing --------------------------------------------------------------------------------------------------------


def _routing(panel: Panel, facts: Facts) -> Iterator[Markup | None]:
    cloud = [i for i, view in enumerate(panel.views) if facts.of(_model(view)).cloud]
    local = [i for i in range(len(panel.views)) if i not in cloud]
    if len(cloud) != 1 or not local:
        return
    energy, why = _energy(panel, local, cloud[0])
    cost, compute = _cost(panel, facts, local, cloud[0]), _compute(panel, facts, local, cloud[0])
    order = next((each.local for each in (energy, cost, compute) if each), panel.asked.completion_tokens[local])
    rates = {"perfect router": (0.0, 0.0), "80 % right, errs to the cloud": (0.0, 0.2), "60 %": (0.0, 0.4)}
    if facts.false_local or facts.false_cloud:
        told = f"keeps {percent(facts.false_local)} wrongly, sends {percent(facts.false_cloud)} needlessly"
        rates[told] = (facts.false_local, facts.false_cloud)
    rows = []
    for name, (false_local, false_cloud) in rates.items():
        saving = route(
            panel.asked.solved[local], panel.asked.scores[cloud[0]], np.nan_to_num(order, nan=np.inf),
            energy=energy, cost=cost, compute=compute, false_local=false_local, false_cloud=false_cloud,
        )  # fmt: skip
        rows.append([name, *_saving(saving)])
    mark = " (estimated)" if energy and panel.views[cloud[0]].estimated else ""
    heads = ["Router", f"Energy saved{mark}", "Cost saved", "Compute saved", "Local", "Accuracy", "Accuracy lost"]
    yield tag("h4", f"Local models with {panel.views[cloud[0]].name} behind them")
    yield grid(heads, rows, "numbers plain")
    yield tag("p", f"Against sending every question to {panel.views[cloud[0]].name}. {why}".strip(), class_="note")


def _saving(saving: Saving) -> list[str]:
    saved = [percent(part) for part in (saving.energy, saving.cost, saving.compute, saving.local, saving.accuracy)]
    return [*saved, f"{100 * saving.quality_lost:.1f} points"]


def _energy(panel: Panel, local: Sequence[int], cloud: int) -> tuple[Expense | None, str]:
    """Joules of both sides, where they mean the same; else the reason why they do not."""
    bases = {str(panel.views[i].manifest.get("basis")) for i in (*local, cloud)}
    if len(bases) > 1:
        return None, f"No energy is compared: the joules have different bases ({', '.join(sorted(bases))})."
    if len({panel.views[i].estimated for i in (*local, cloud)}) > 1:
        return None, "No energy is compared: some joules are measured and some estimated."
    joules = panel.asked.energy_j
    if not np.isfinite(joules[[*local, cloud]]).all():
        return None, "No energy is compared: some joules are not known."
    return Expense(joules[local], joules[cloud]), "Joules are estimated." if panel.views[cloud].estimated else ""


def _cost(panel: Panel, facts: Facts, local: Sequence[int], cloud: int) -> Expense | None:
    prices = [facts.of(_model(view)).price_per_million_tokens for view in panel.views]
    if any(price is None for price in prices):
        return None
    per = np.array(prices)[:, :, np.newaxis] / 1e6
    each = per[:, 0] * panel.asked.prompt_tokens + per[:, 1] * panel.asked.completion_tokens
    return Expense(each[local], each[cloud])


def _compute(panel: Panel, facts: Facts, local: Sequence[int], cloud: int) -> Expense | None:
    """Two operations a token for each active parameter."""
    active = [_parameters(view, facts, active=True) for view in panel.views]
    if any(each is None for each in active):
        return None
    tokens = panel.asked.prompt_tokens + panel.asked.completion_tokens
    each = 2 * np.array(active, np.float64)[:, np.newaxis] * tokens
    return Expense(each[local], each[cloud])


# --- years ----------------------------------------------------------------------------------------------------------


def _years(panel: Panel, facts: Facts) -> Iterator[Markup | None]:
    dated = sorted(
        ((released, view) for view in panel.views if (released := facts.of(_model(view)).released)),
        key=lambda pair: pair[0],
    )
    if len(dated) < 2:
        return
    rows = []
    for (_, before), (released, view) in pairwise(dated):
        cells: list[object] = [tag("th", swatch(view), tag("bdi", view.name), scope="row"), str(released), before.name]
        for expense in ("mean_query_power_w", "energy_per_query_j"):
            cells += _gain(before, view, expense)
        rows.append(cells)
    mark = " (estimated)" if any(view.estimated for _, view in dated) else ""
    heads = [
        "Run",
        "Released",
        "Against",
        f"Per watt{mark}",
        "model",
        "hardware",
        f"Per joule{mark}",
        "model",
        "hardware",
    ]
    yield tag("h4", "Gains from release to release: in all, by better answers, by less power or energy")
    yield grid(heads, rows, "numbers plain")
    metrics = [Derived(view.summary).metric("accuracy_per_watt") for _, view in dated]
    releases = [
        Release(view.name, released, value, view.series, view.estimated)
        for (released, view), metric in zip(dated, metrics, strict=True)
        if (value := value_of(metric)) and value.value > 0
    ]
    if releases and len({str(view.manifest.get("basis")) for _, view in dated}) == 1:
        yield reflowing(partial(over_years, releases), f"years-{dated[0][1].key}")


def _gain(before: View, after: View, expense: str) -> list[str]:
    if before.manifest.get("basis") != after.manifest.get("basis") or before.estimated != after.estimated:
        return [MISSING] * 3
    pairs = [tuple(_value(view, name) for name in ("accuracy", expense)) for view in (before, after)]
    found = gain(*((a or 0.0, b or 0.0) for a, b in pairs))
    return [MISSING] * 3 if found is None else [f"\N{MULTIPLICATION SIGN}{factor:.3g}" for factor in found]


def _value(view: View, name: str) -> float | None:
    return number(Derived(view.summary).metric(name).get("value"))


def _named(view: View, more: str | None = None) -> Markup:
    return tag("th", swatch(view), tag("bdi", view.name), tag("small", more) if more else None, scope="row")


def _model(view: View) -> str:
    return model_name(view.summary)
