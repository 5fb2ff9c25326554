"""Draws plots and bars through matplotlib: the same data as the page's charts, in the look of a paper."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

from ipw.reports.charts.axes import SERIES, Series, plain
from ipw.reports.charts.plot import AxisPlan, Bars, CurveLine, Plot, Point
from ipw.reports.charts.svg import FEW, LAYERS
from ipw.reports.text import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "cross": "P", "star": "*"}
LONGEST_NAME = 40
POINTS_PER_INCH = 72
LAST_PART = 0.75
"""Beyond this part of the axis words would run over its end."""
NAMES = 0.4
"""Part of the width that names of bars may take."""


def draw(shown: Plot | Bars) -> Figure:
    """Draw one chart in the sizes and fonts that matplotlib is set to."""
    return _bars(shown) if isinstance(shown, Bars) else _plot(shown)


def colour_of(colour: str) -> str:
    """Read the colour that a page shows where it has no style: `var(--s1,#0072b2)`."""
    return colour.rpartition(",")[2].rstrip(")") if colour.startswith("var(") else colour


def _plot(plot: Plot) -> Figure:
    figure, axes = _empty()
    _axis(axes, plot.x, "x")
    _axis(axes, plot.y, "y")
    clouds = [curve for curve in plot.curves if curve.look == "dots"]
    for layer in range(LAYERS):  # in turns, so that no cloud hides another
        for curve in clouds:
            _dots(axes, curve, layer)
    listed = [curve for curve in plot.curves if curve.listed]
    colours = Counter(curve.series[0] for curve in listed)
    for curve in plot.curves:
        if curve.look != "dots":
            _curve(axes, curve, marked=colours[curve.series[0]] > 1)
    for place, curve in enumerate(each for each in plot.curves if each.beside):
        _words_beside(axes, curve, above=place % 2 == 0)
    if plot.mark is not None:
        axes.axvline(plot.mark.x, color="0.4", linestyle=":", linewidth=1, zorder=1)
        axes.annotate(plot.mark.text, (plot.mark.x, 0), (4, 4), xycoords=("data", "axes fraction"),
                      textcoords="offset points")  # fmt: skip
    if plot.named_beside or len(listed) > 1:
        handles = [_handle(curve, marked=colours[curve.series[0]] > 1) for curve in listed]
        _legend(figure, [(curve.name, handle) for curve, handle in zip(listed, handles, strict=True)])
    return figure


def _bars(chart: Bars) -> Figure:
    figure, axes = _empty()
    width, height = figure.get_size_inches()
    font = float(_setting("font.size")) / POINTS_PER_INCH
    letters = int(NAMES * width / (0.55 * font))
    wrapped = [
        "\n".join(textwrap.wrap(shortened(bar.name, min(LONGEST_NAME, 2 * letters - 4)), letters)) for bar in chart.bars
    ]
    lines = len(wrapped) * (2.2 + max(name.count("\n") for name in wrapped))
    figure.set_size_inches(width, max(0.45 * height, font * (6 + lines)))
    _axis(axes, chart.x, "x", room=1 - min(NAMES, 0.55 * font * max(map(len, wrapped)) / width))
    colours = [colour_of(colour) for _, colour in chart.parts] or [colour_of(SERIES[0][0])]
    places = list(range(len(chart.bars)))
    done = [0.0] * len(chart.bars)
    handles = []
    for k, colour in enumerate(colours):
        lengths = [bar.parts[k] for bar in chart.bars]
        handles.append(axes.barh(places, lengths, left=done, color=colour, height=0.7))
        done = [start + length for start, length in zip(done, lengths, strict=True)]
    for place, bar in zip(places, chart.bars, strict=True):
        if bar.low is not None and bar.high is not None:
            axes.hlines(place, bar.low, bar.high, color="black", linewidth=1)
    axes.set_yticks(places, wrapped)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    if chart.parts:
        _legend(figure, [(name, handle) for (name, _), handle in zip(chart.parts, handles, strict=True)])
    return figure


def _empty() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure()
    return figure, figure.add_subplot()


def _axis(axes: Axes, plan: AxisPlan, which: str, room: float = 1.0) -> None:
    """Set title, reach and ticks as the page has them; fewer ticks where the figure is small."""
    inches = room * axes.figure.get_size_inches()[0 if which == "x" else 1]  # type: ignore[union-attr]
    font = float(_setting("font.size")) / POINTS_PER_INCH
    most = int(inches / (font * (6 if which == "x" else 3.5)))
    ticks = plan.between(0, 1).ticks(max(3, min(most, 8)))
    longest = int(inches * (1.0 if which == "x" else 0.75) / (0.55 * font))
    (axes.set_xlabel if which == "x" else axes.set_ylabel)("\n".join(textwrap.wrap(plan.title, max(longest, 12))))
    if plan.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(plan.low, plan.high)
    (axes.set_xticks if which == "x" else axes.set_yticks)(ticks, [plain(value) for value in ticks])
    axes.minorticks_off()


def _curve(axes: Axes, curve: CurveLine, *, marked: bool) -> None:
    """Draw a line or points; a line of many points has a few markers where another line has its colour."""
    look = _look(curve.series)
    colour, points = look["color"], curve.points
    few = len(points) <= FEW
    xs, ys = [p.x for p in points], [p.y for p in points]
    if few:
        for p in points:
            _whiskers(axes, p, colour)
    else:
        known = [(p.x, p.low, p.high) for p in points if p.low is not None and p.high is not None]
        if known:
            at, low, high = zip(*known, strict=True)
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    line = {"color": colour, "linestyle": "--" if curve.dashed else "-"}
    if marked and not few and curve.listed:
        line |= {"marker": look["marker"], "markevery": max(len(points) // 5, 1), "markerfacecolor": _face(curve)}
    if curve.look == "steps":
        axes.plot(xs, ys, **line, drawstyle="steps-post", zorder=1 if not curve.listed else 2)
    elif curve.look == "line" and (few and curve.listed):
        axes.plot(xs, ys, **line, marker=look["marker"], markerfacecolor=_face(curve), clip_on=False)
    elif curve.look == "line":
        axes.plot(xs, ys, **line)
    else:
        axes.plot(xs, ys, **look, linestyle="none", markerfacecolor=_face(curve), clip_on=False)


def _words_beside(axes: Axes, curve: CurveLine, *, above: bool) -> None:
    """Write what stands beside points: of one curve above them, of the next below; near the axis' end to the left."""
    from matplotlib.patheffects import withStroke

    low, high = axes.get_xlim()
    halo = [withStroke(linewidth=2, foreground=axes.get_facecolor())]
    for point, text in zip(curve.points, curve.beside, strict=False):
        x, sideways = (-4, "right") if point.x > low + LAST_PART * (high - low) else (4, "left")
        y, upwards = (4, "bottom") if above else (-4, "top")
        axes.annotate(text, (point.x, point.y), (x, y), textcoords="offset points", size="small", ha=sideways,
                      va=upwards, path_effects=halo)  # fmt: skip


def _whiskers(axes: Axes, p: Point, colour: str) -> None:
    for ends, draw_line in (((p.low, p.high), axes.vlines), ((p.left, p.right), axes.hlines)):
        low, high = ends
        if low is not None and high is not None:
            draw_line(p.x if draw_line == axes.vlines else p.y, low, high, color=colour, linewidth=1)


def _dots(axes: Axes, curve: CurveLine, layer: int) -> None:
    mine = curve.points[layer::LAYERS]
    size = (0.6 * float(_setting("lines.markersize"))) ** 2
    look = _look(curve.series)
    axes.scatter([p.x for p in mine], [p.y for p in mine], s=size, alpha=0.5, linewidths=0, color=look["color"],
                 marker=look["marker"], rasterized=len(curve.points) > 2000)  # fmt: skip


def _handle(curve: CurveLine, *, marked: bool) -> Any:
    from matplotlib.lines import Line2D

    look = _look(curve.series)
    if curve.look in {"spots", "dots"}:
        return Line2D([], [], **look, linestyle="none", markerfacecolor=_face(curve))
    few = len(curve.points) <= FEW
    seen = curve.look != "steps" if few else marked
    point = {"marker": look["marker"], "markerfacecolor": _face(curve)} if seen else {}
    return Line2D([], [], color=look["color"], linestyle="--" if curve.dashed else "-", **point)


def _legend(figure: Figure, entries: Sequence[tuple[str, Any]]) -> None:
    """Set names above the axes, where they cover nothing, and make the figure taller by as much."""
    names = [shortened(name, LONGEST_NAME) for name, _ in entries]
    width, height = figure.get_size_inches()
    font = float(_setting("font.size")) / POINTS_PER_INCH
    each = font * (0.55 * max(map(len, names)) + 4)
    columns = max(1, min(len(names), int(width / each)))
    rows = -(-len(names) // columns)
    figure.set_size_inches(width, height + font * 1.5 * rows)
    handles = [handle for _, handle in entries]
    order = [k for column in range(columns) for k in range(column, len(names), columns)]  # it is filled by columns
    figure.legend([handles[k] for k in order], [names[k] for k in order], loc="outside upper left", ncols=columns,
                  borderpad=0.1, columnspacing=1.2, handlelength=1.6)  # fmt: skip


def _look(series: Series) -> dict[str, Any]:
    colour, shape = series
    return {"color": colour_of("#777777" if "muted" in colour else colour), "marker": MARKERS[shape]}


def _face(curve: CurveLine) -> str:
    return "white" if curve.estimated or (curve.dashed and curve.look == "line") else colour_of(curve.series[0])


def _setting(name: str) -> Any:
    import matplotlib as mpl

    return mpl.rcParams[name]
