"""The section of a page on masked diffusion models: methods side by side over the same questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.diffusion_pairs import Difference, difference, energy_error
from ipw.metrics.metric import number
from ipw.metrics.panel import align
from ipw.printable import clean
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import drawn, grid, origin, section, swatch
from ipw.reports.plots.decoding import masks
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING, interval_text, scale_for, value_text
from ipw.reports.view import View, workload_of
from ipw.runs.recorded import Recorded

FIGURES = (
    "forwards_per_answer", "tokens_per_forward", "computed_share", "energy_per_forward_j",
    "energy_per_committed_token_j", "energy_per_correct_j", "agreement",
)  # fmt: skip
LEAD = """Every method decodes the same questions, in turns, on the same model. No method is called lossless here: \
read the difference in accuracy with its interval, and how many answers are the same."""
PAPERS = """What the papers claim is tokens per second of large batches and long prompts, padding included, on one \
GPU; joules are of this run's batch and lengths."""


def diffusion(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """Tables and a chart of every data set that masked diffusion models were asked; nothing where none was."""
    found: dict[tuple[str, str], list[View]] = {}
    for view in views:
        if Recorded(view.manifest).kind == "diffusion":
            dataset = clean(workload_of(view).get("dataset") or "", 60)
            found.setdefault((str(Recorded(view.manifest).model.get("name")), dataset), []).append(view)
    parts = [part for (model, dataset), group in found.items() for part in _panel(model, dataset, group)]
    return (
        section("diffusion", "Decoding methods", *parts, tag("p", PAPERS, class_="note"), lead=LEAD) if parts else None
    )


def _panel(model: str, dataset: str, views: Sequence[View]) -> Iterator[Markup | None]:
    yield tag("h3", f"{clean(model, 60)}: {dataset}, {_geometry(views)}")
    yield _figures(views)
    yield _differences(views)
    yield _masks(views)


def _geometry(views: Sequence[View]) -> str:
    """Say how long the answers are, and how many were decoded together."""
    told = {
        f"answers of {number(p.get('answer_length')) or 0:.0f} tokens in blocks of "
        f"{number(p.get('block_length')) or 0:.0f}, {number(p.get('batch_size')) or 1:.0f} at a time"
        for p in map(workload_of, views)
    }
    return "; ".join(sorted(told))


def _figures(views: Sequence[View]) -> Markup:
    heads, columns = [tag("th", "Method", scope="col")], []
    for name in FIGURES:
        definition = DEFINITIONS[name]
        entries = [Derived(view.summary).metric(name) for view in views]
        scale = scale_for(definition.unit, [number(entry.get("value")) for entry in entries])
        estimated = any(view.estimated for view in views) and definition.is_energy
        heads.append(
            tag("th", definition.label, tag("small", scale.unit), tag("em", "estimated") if estimated else None,
                scope="col", title=definition.formula)
        )  # fmt: skip
        columns.append((name, scale, entries))
    rows = []
    for index, view in enumerate(views):
        cells = [
            tag("td", value_text(entries[index], scale),
                tag("small", text) if (text := interval_text(entries[index], scale)) else None,
                title=origin(name, entries[index]))
            for name, scale, entries in columns
        ]  # fmt: skip
        rows.append([tag("th", swatch(view), tag("bdi", _method(view)), scope="row"), *cells])
    return grid(heads, rows, "numbers")


def _method(view: View) -> str:
    return clean(workload_of(view).get("method") or view.name, 40)


def _differences(views: Sequence[View]) -> Markup | None:
    """Every method against the first, over the questions that both answered."""
    found = []
    for view in views[1:]:
        asked = align([views[0].queries, view.queries])
        first, second = (
            (asked.scores[k].astype(np.float64), asked.energy_j[k].astype(np.float64), energy_error(each.manifest))
            for k, each in enumerate((views[0], view))
        )
        if one := difference(first, second):
            found.append([tag("th", _method(view), scope="row"), *_told(one)])
    if not found:
        return None
    estimated = tag("em", "estimated") if any(view.estimated for view in views) else None
    joules = tag("th", "Joules, ratio", estimated, scope="col")
    heads = ["Method", "Questions", "Lost", "Won", "Accuracy, points", "p (McNemar)", joules]
    return join([tag("h4", f"Against {_method(views[0])}, question by question"), grid(heads, found, "numbers plain")])


def _told(one: Difference) -> list[str]:
    low, high = one.interval
    points = f"{100 * one.points:+.1f}"
    if low is not None and high is not None:
        points += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    ratio = MISSING
    if one.ratio is not None:
        low, high = one.ratio_interval
        ratio = f"{one.ratio:.3g}" + (f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None else "")
    return [f"{one.questions:,}", f"{one.lost:,}", f"{one.won:,}", points, f"{one.p:.2g}", ratio]


def _masks(views: Sequence[View]) -> Markup | None:
    shown = masks([(_method(view), view) for view in views])
    return join([tag("h4", shown.title), drawn(shown, f"{views[0].key}-masks")]) if shown else None
