"""Which figures the runs allow, and their files. Each answers one question."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.errors import MissingExtraError, UsageError
from ipw.metrics.derived import Derived
from ipw.printable import clean
from ipw.reports.charts.plot import Bars, Plot
from ipw.reports.figures.fonts import families, without_glyph
from ipw.reports.plots import energy, tokens
from ipw.reports.plots.accuracy import accuracy_energy, spot_of
from ipw.reports.plots.agents import by_turn, by_turn_of_conversations, rows_of, task_split
from ipw.reports.plots.decoding import masks
from ipw.reports.plots.load import energy_load, sweeps
from ipw.reports.plots.routing import consistency, consistency_plot, hits, routed
from ipw.reports.plots.training import looks, loss_lines, loss_plot, step_split
from ipw.reports.view import View
from ipw.runs.directory import RunDir
from ipw.runs.files import make_folder, replacing
from ipw.runs.recorded import Recorded

MM_PER_INCH = 25.4
STYLES: Mapping[str, Mapping[str, Any]] = {
    "paper": {"figure.figsize": (3.4, 2.3), "font.size": 8, "lines.markersize": 5, "lines.linewidth": 1.2,
              "font.family": "serif"},
    "slide": {"figure.figsize": (8.0, 4.5), "font.size": 16, "lines.markersize": 10, "lines.linewidth": 2.5},
    "web": {"figure.figsize": (7.2, 4.2), "font.size": 11, "lines.markersize": 7},
}  # fmt: skip
COMMON = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    "legend.frameon": False, "figure.constrained_layout.use": True, "svg.fonttype": "none", "pdf.fonttype": 42,
    "text.parse_math": False, "axes.axisbelow": True, "svg.hashsalt": "ipw",
}  # fmt: skip
FORMATS = ("svg", "pdf", "png")
LIGHT = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
"""No date in a file, so that the same runs give the same bytes."""
DOTS_PER_INCH = 300
Shown = Plot | Bars | None


def write_figures(
    views: Sequence[View], folder: Path, style: str, formats: Sequence[str] = FORMATS, width_mm: float | None = None
) -> list[Path]:
    """Write every figure that the runs allow into `folder`, `width_mm` wide where that is given.

    Raises UsageError for an unknown style or format.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("a figure", "figures") from None
    from ipw.reports.figures.drawn import draw

    if style not in STYLES:
        raise UsageError(f"there is no style {style!r}", f"one of {', '.join(STYLES)}")
    for unknown in set(formats) - set(FORMATS):
        raise UsageError(f"figures are not written as {unknown!r}", f"one of {', '.join(FORMATS)}")
    make_folder(folder, "choose another folder with --figures")
    written = []
    look = {**mpl.rcParamsDefault, **COMMON, **_sized(STYLES[style], width_mm), "backend": "agg"}
    look["font.family"] = families(STYLES[style].get("font.family", "sans-serif"))
    with mpl.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # `letters_missing` says so once
        for name, shown in figures_of(views):
            figure = draw(shown)
            for kind in formats:
                written.append(folder / f"{name}.{kind}")
                with replacing(written[-1], "choose another folder with --figures") as file:
                    figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=LIGHT[kind])
    return written


def letters_missing(views: Sequence[View], style: str) -> str | None:
    """Say which letters of the names no font of this machine has, where there are any."""
    unknown = without_glyph((view.name for view in views), families(STYLES[style].get("font.family", "sans-serif")))
    if not unknown:
        return None
    return f"no font here has {clean(unknown, 40)}: figures in PDF and PNG show boxes; install one, as Noto Sans CJK"


def in_order(views: Sequence[View], order: str | None) -> list[View]:
    """Put the runs named in `order` first, in its order; the others follow as they were given.

    Names stand by comma, and may hold commas themselves. Raises UsageError for a name that no run has.
    """
    known = sorted((view.name for view in views), key=len, reverse=True)
    names, rest = [], (order or "").strip(", ")
    while rest:
        heads = (each for each in known if rest.startswith(each) and rest[len(each) :].lstrip()[:1] in {"", ","})
        name = next(heads, None)
        if name is None:
            unknown = rest.partition(",")[0].strip()
            told = ", ".join(view.name for view in views)
            raise UsageError(f"--order names {unknown!r}, and no run is called so", told)
        names.append(name)
        rest = rest[len(name) :].strip(", ")
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    return sorted(views, key=lambda view: places.get(view.name, len(places)))


def _sized(style: Mapping[str, Any], width_mm: float | None) -> dict[str, Any]:
    """Set the width, and the height in proportion."""
    width, height = style["figure.figsize"]
    if width_mm is None:
        return dict(style)
    wanted = width_mm / MM_PER_INCH
    return {**style, "figure.figsize": (wanted, height * wanted / width)}


def figures_of(views: Sequence[View]) -> Iterator[tuple[str, Plot | Bars]]:
    """Yield the name of each file without its ending, and what it shows."""
    for name, prepare in FIGURES.items():
        shown = prepare(views)
        if shown is not None:
            yield name, shown
    for name, kind, prepare_one in OF_ONE_RUN:
        mine = [view for view in views if Recorded(view.manifest).kind == kind]
        for index, view in enumerate(mine, start=1):
            shown = prepare_one(view)
            if shown is not None:
                yield f"{name}-{index}" if len(mine) > 1 else name, shown


def not_drawn(views: Sequence[View]) -> str | None:
    """Say why figures with joules are missing, where they are."""
    bases = _bases(views)
    if len(bases) < 2:
        return None
    return f"joules of different bases ({', '.join(bases)}) share no axis: figures with joules are left out"


def _bases(views: Sequence[View]) -> list[str]:
    known = {str(view.manifest.get("basis")) for view in views if view.manifest.get("basis")}
    return sorted(known)


def _one_basis(prepare: Callable[[Sequence[View]], Shown]) -> Callable[[Sequence[View]], Shown]:
    return lambda views: prepare(views) if len(_bases(views)) < 2 else None


def _accuracy_energy(views: Sequence[View]) -> Shown:
    spots = (spot_of(view.name, Derived(view.summary).metrics, view) for view in views)
    return accuracy_energy([spot for spot in spots if spot is not None])


def _energy_method(views: Sequence[View]) -> Shown:
    """Joules of an answer by decoding method."""
    decoded = [view for view in views if Recorded(view.manifest).kind == "diffusion"]
    return energy.per_answer(decoded, "energy_per_query_j", "energy per answer")


def _energy_turn(views: Sequence[View]) -> Shown:
    """Joules of a request by its turn: of agents, or else of conversations of a data set."""
    agents = [view for view in views if Recorded(view.manifest).kind == "agent"]
    found = by_turn([(view, rows_of(view, "costs")) for view in agents])
    return found or by_turn_of_conversations(views)


def _masks(views: Sequence[View]) -> Shown:
    return masks([(view.name, view) for view in views])


def _consistency(views: Sequence[View]) -> Shown:
    found = ((view, consistency(routed(RunDir(Path(view.path))).srp, view.name)) for view in views if _routes(view))
    return consistency_plot([curve._replace(series=view.series) for view, curve in found if curve is not None])


def _routes(view: View) -> bool:
    return Recorded(view.manifest).kind == "routing"


def _hits(view: View) -> Shown:
    return hits(routed(RunDir(Path(view.path))).cache, Derived(view.summary).metrics, corrected=True)


def _loss(which: str, title: str, x: str) -> Callable[[View], Shown]:
    def prepare(view: View) -> Shown:
        series = looks(list(Derived(view.summary).by_method))
        mark = ", estimated" if view.estimated and which == "joules" else ""
        return loss_plot(loss_lines(RunDir(Path(view.path)))[which], series, title, x + mark)

    return prepare


def _steps(view: View) -> Shown:
    return step_split(Derived(view.summary).by_method, estimated=view.estimated)


def _task_split(view: View) -> Shown:
    return task_split(rows_of(view, "tasks"), estimated=view.estimated)


FIGURES: Mapping[str, Callable[[Sequence[View]], Shown]] = {
    "accuracy-energy": _one_basis(_accuracy_energy),
    "energy-load": _one_basis(lambda views: energy_load(sweeps(views))),
    "energy-phases": _one_basis(energy.phases),
    "energy-method": _one_basis(_energy_method),
    "energy-turn": _one_basis(_energy_turn),
    "energy-tokens": _one_basis(
        lambda views: tokens.against_tokens(tokens.clouds_of(views, "energy_j"), "J", "energy of a query")
    ),
    "latency-tokens": lambda views: tokens.against_tokens(
        tokens.clouds_of(views, "latency_s"), "s", "latency of a query"
    ),
    "latency": lambda views: tokens.distribution(tokens.samples_of(views, "latency_s"), "latency"),
    "power": _one_basis(energy.power),
    "routing-consistency": _consistency,
    "masks": _masks,
}
"""Of all runs together, by the name of the file."""
OF_ONE_RUN: Sequence[tuple[str, str, Callable[[View], Shown]]] = (
    ("routing-cache", "routing", _hits),
    ("training-loss-energy", "train", _loss("joules", "Loss against energy", "energy of the steps, J")),
    ("training-loss-steps", "train", _loss("steps", "Loss against steps", "steps")),
    ("training-energy-method", "train", _steps),
    ("task-energy", "agent", _task_split),
)
"""Of each run of a workload by itself."""
