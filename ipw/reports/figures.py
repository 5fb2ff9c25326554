"""Figures for papers, slides and the web through matplotlib, one function a figure.

Each takes the runs as a page shows them and returns a matplotlib figure, or `None` where the runs hold nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ipw.errors import UsageError
from ipw.metrics.derived import Derived
from ipw.reports.charts.queries import Spot, pareto_front
from ipw.reports.page.diffusion import masks_left
from ipw.reports.page.results import value_of
from ipw.reports.page.view import View
from ipw.reports.text import scale_for, shortened
from ipw.runs.directory import RunDir
from ipw.runs.files import make_folder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "P", "*")
STYLES: Mapping[str, Mapping[str, Any]] = {
    "paper": {"figure.figsize": (3.4, 2.4), "font.size": 8, "lines.markersize": 5, "font.family": "serif"},
    "slide": {"figure.figsize": (8.0, 4.5), "font.size": 16, "lines.markersize": 10, "lines.linewidth": 2.5},
    "web": {"figure.figsize": (7.2, 4.2), "font.size": 11, "lines.markersize": 7},
}
COMMON = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    "legend.frameon": False, "figure.constrained_layout.use": True, "svg.fonttype": "none", "pdf.fonttype": 42,
    "text.parse_math": False, "axes.axisbelow": True, "svg.hashsalt": "ipw",
}  # fmt: skip
FORMATS = ("svg", "pdf", "png")
LIGHT = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
"""No date in a file, so that the same runs give the same bytes."""
DOTS_PER_INCH = 200


def write_figures(views: Sequence[View], folder: Path, style: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every figure that the runs allow into `folder`. Raises UsageError for an unknown style or format."""
    import matplotlib as mpl

    if style not in STYLES:
        raise UsageError(f"there is no style {style!r}", f"one of {', '.join(STYLES)}")
    for unknown in set(formats) - set(FORMATS):
        raise UsageError(f"figures are not written as {unknown!r}", f"one of {', '.join(FORMATS)}")
    make_folder(folder, "choose another folder with --figures")
    written = []
    with mpl.rc_context({**mpl.rcParamsDefault, **COMMON, **STYLES[style], "backend": "agg"}):
        for name, draw in FIGURES.items():
            figure = draw(views)
            for kind in formats if figure is not None else ():
                assert figure is not None
                written.append(folder / f"{name}.{kind}")
                with replacing(written[-1], "choose another folder with --figures") as file:
                    figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=LIGHT[kind])
    return written


def accuracy_energy(views: Sequence[View]) -> Figure | None:
    """Accuracy against energy per query with 95 % intervals; the Pareto front of what was measured, dashed."""
    spots = []
    for view in views:
        metrics = Derived(view.summary).metrics
        energy, accuracy = (value_of(metrics.get(name)) for name in ("energy_per_query_j", "accuracy"))
        if energy and accuracy and energy.value > 0:
            spots.append(Spot(view.name, energy, accuracy, view.series, view.estimated, view.valid))
    if not spots or len({str(view.manifest.get("basis")) for view in views}) > 1:
        return None  # joules of different bases do not share an axis
    scale = scale_for("J", [s.energy_j.value for s in spots])
    figure, axes = _figure(f"energy per query, {scale.unit}{_estimated(views)}", "accuracy, %")
    for i, s in enumerate(spots):
        x, y = (np.array(v) * f for v, f in ((s.energy_j, scale.factor), (s.accuracy, 100.0)))
        axes.errorbar(
            x[0], y[0], xerr=_sides(x), yerr=_sides(y), **_look(i), linestyle="none", elinewidth=1,
            markerfacecolor="none" if s.estimated else None, label=shortened(s.name, 40),
        )  # fmt: skip
    front = pareto_front(spots)
    if len(front) > 1:
        x, y = np.array([(s.energy_j.value * scale.factor, s.accuracy.value * 100) for s in front]).T
        axes.step(x, y, where="post", color="0.5", linestyle="--", linewidth=1, zorder=1)
    energies = [s.energy_j.value for s in spots]
    axes.set_xscale("log" if max(energies) > 10 * min(energies) else "linear")
    axes.legend()
    return figure


def energy_tokens(views: Sequence[View]) -> Figure | None:
    """Energy of each query against its output tokens, with a straight line through each run."""
    return _against_tokens(views, "energy_j", "J", f"energy of a query{_estimated(views)}")


def latency_tokens(views: Sequence[View]) -> Figure | None:
    """Latency of each query against its output tokens, with a straight line through each run."""
    return _against_tokens(views, "latency_s", "s", "latency")


def latency(views: Sequence[View]) -> Figure | None:
    """Cumulative distribution of latency, one line a run."""
    samples = [(i, view, _times(view)) for i, view in enumerate(views)]
    samples = [(i, view, times) for i, view, times in samples if len(times)]
    if not samples:
        return None
    scale = scale_for("s", [float(np.median(times)) for _, _, times in samples])
    figure, axes = _figure(f"latency, {scale.unit}", "part of the queries, %")
    for i, view, times in samples:
        axes.ecdf(times * scale.factor, color=_look(i)["color"], label=shortened(view.name, 40))
    axes.set_yticks(np.linspace(0, 1, 6), [f"{x:.0f}" for x in np.linspace(0, 100, 6)])
    axes.legend()
    return figure


def power(views: Sequence[View]) -> Figure | None:
    """Power over the run, from the start of the measured window, one line a run."""
    drawn = [(i, view, view.timeline) for i, view in enumerate(views) if view.timeline is not None]
    if not drawn:
        return None
    scale = scale_for("W", [float(np.nanmax(t.mean_w)) for _, _, t in drawn if np.isfinite(t.mean_w).any()])
    figure, axes = _figure("seconds from the start of the measured window", f"power, {scale.unit}{_estimated(views)}")
    for i, view, data in drawn:
        axes.stairs(data.mean_w * scale.factor, data.edges_s, color=_look(i)["color"], label=shortened(view.name, 40),
                    baseline=None)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def masks(views: Sequence[View]) -> Figure | None:
    """Masks left by step of masked diffusion models, one line a run."""
    found = [(i, view, masks_left(RunDir(Path(view.path)))) for i, view in enumerate(views)]
    drawn = [(i, view, points) for i, view, points in found if points]
    if not drawn:
        return None
    figure, axes = _figure("forward passes", "masks left, mean of all answers")
    for i, view, points in drawn:
        steps, left = zip(*points, strict=True)
        axes.plot(steps, left, color=_look(i)["color"], label=shortened(view.name, 40))
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


FIGURES: Mapping[str, Callable[[Sequence[View]], Any]] = {
    "accuracy-energy": accuracy_energy,
    "energy-tokens": energy_tokens,
    "latency-tokens": latency_tokens,
    "latency": latency,
    "power": power,
    "masks": masks,
}
"""By the name of the file."""


def _against_tokens(views: Sequence[View], column: str, unit: str, title: str) -> Figure | None:
    clouds = []
    for i, view in enumerate(views):
        tokens, values = (view.queries.numbers[name] for name in ("completion_tokens", column))
        known = view.queries.ok & np.isfinite(tokens) & np.isfinite(values)
        if known.sum() > 1:
            clouds.append((i, view, tokens[known], values[known]))
    if not clouds:
        return None
    scale = scale_for(unit, [float(np.median(values)) for *_, values in clouds])
    figure, axes = _figure("output tokens", f"{title}, {scale.unit}")
    for i, view, tokens, values in clouds:
        look = _look(i)
        axes.scatter(tokens, values * scale.factor, s=8, alpha=0.4, linewidths=0, rasterized=len(tokens) > 2000,
                     color=look["color"], marker=look["marker"], label=shortened(view.name, 40))  # fmt: skip
        if np.ptp(tokens) > 0:
            ends = np.array([tokens.min(), tokens.max()])
            slope, offset = np.polyfit(tokens, values * scale.factor, 1)
            axes.plot(ends, offset + slope * ends, color=look["color"], linewidth=1)
    axes.legend()
    return figure


def _figure(x_title: str, y_title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    return figure, axes


def _look(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def _sides(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([[value[0] - value[1]], [value[2] - value[0]]]).clip(0)


def _estimated(views: Sequence[View]) -> str:
    return ", estimated" if any(view.estimated for view in views) else ""


def _times(view: View) -> np.ndarray[Any, Any]:
    times = view.queries.numbers["latency_s"][view.queries.ok]
    return np.asarray(times[np.isfinite(times)])
