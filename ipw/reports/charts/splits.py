"""Charts of training steps, each a pure function from numbers to one SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ipw.reports.charts.axes import SERIES, axis_over, figure, label, legend, line, plain
from ipw.reports.markup import Markup, tag

WIDTH, LEFT, RIGHT = 760, 150, 740
ROW_PX = 26.0


class Split(NamedTuple):
    """One bar and the lengths of its parts."""

    name: str
    parts: Sequence[float]


def splits(shown: Sequence[Split], names: Sequence[str], title: str, x_title: str, key: str) -> Markup:
    """Bars from 0, one below the other, each of parts in the colours of the legend above."""
    swatches = [(tag("rect", y=-9, width=12, height=12, fill=SERIES[k][0]), name) for k, name in enumerate(names)]
    above, height = legend(swatches, LEFT, 14, RIGHT - LEFT)
    top = 14 + height
    bottom = top + ROW_PX * len(shown)
    x = axis_over([sum(bar.parts) for bar in shown], LEFT, RIGHT, zero=True)
    parts: list[Markup] = [above]
    for value in x.ticks(8):
        at = x.at(value)
        parts += [line(at, top, at, bottom), label(at, bottom + 17, plain(value), "middle")]
    parts.append(label((LEFT + RIGHT) / 2, bottom + 37, x_title, "middle"))
    for row, bar in enumerate(shown):
        y = top + ROW_PX * row + ROW_PX / 2
        parts.append(label(LEFT - 10, y + 4, bar.name, "end", "currentColor"))
        done = 0.0
        for k, length in enumerate(bar.parts):
            start, end = x.at(done), x.at(done + length)
            done += length
            if end > start:
                parts.append(tag("rect", x=start, y=y - 8, width=round(end - start, 2), height=16, fill=SERIES[k][0]))
    told = "; ".join(
        f"{bar.name}: " + ", ".join(f"{name} {part:.3g}" for name, part in zip(names, bar.parts, strict=True))
        for bar in shown
    )
    return figure(WIDTH, int(bottom) + 48, title, told, parts, key)
