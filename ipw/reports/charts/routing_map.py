"""Which experts each token of a text uses, as a map."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ipw.printable import clean
from ipw.reports.charts.axes import MUTED, SERIES, figure, label
from ipw.reports.markup import Markup, tag

MAP_WIDTH = 1120
"""Wider than other charts: text needs room. On a phone it is moved sideways."""


def routing_map(
    pieces: Sequence[str], chosen: Sequence[Sequence[int]], num_experts: int, title: str, key: str
) -> Markup:
    """Which experts (rows) each token of a text (columns) uses; darker where the router ranks them higher."""
    left, top, most = 46.0, 20.0, 110.0
    wide = (MAP_WIDTH - left - 10) / max(len(pieces), 1)
    tall = min(14.0, 420 / num_experts)
    bottom = top + tall * num_experts
    parts: list[Markup] = [
        tag("rect", x=left, y=top, width=MAP_WIDTH - left - 10, height=bottom - top, fill="none", stroke=MUTED)
    ]
    for column, experts in enumerate(chosen):
        for rank, expert in enumerate(experts):
            shade = 1 - 0.6 * rank / max(len(experts) - 1, 1)
            parts.append(
                tag(
                    "rect",
                    x=round(left + column * wide, 2),
                    y=round(top + expert * tall, 2),
                    width=round(wide, 2),
                    height=round(tall, 2),
                    fill=SERIES[0][0],
                    opacity=round(shade, 2),
                )
            )
    step = max(1, math.ceil(num_experts / 16))
    parts += [label(left - 6, top + e * tall + tall / 2 + 4, str(e), "end") for e in range(0, num_experts, step)]
    parts.append(label(0, top - 6, "expert"))
    for column, piece in enumerate(pieces):
        at_x, at_y = round(left + (column + 0.5) * wide + 4, 1), round(bottom + 8, 1)
        text = clean(piece, 14).strip() or "␣"
        parts.append(tag("text", text, transform=f"rotate(90 {at_x - 8} {at_y})", x=at_x - 8, y=at_y, font_size=11))
    told = f"{len(pieces)} tokens; experts of each: " + "; ".join(
        f"{clean(piece, 14)}: {', '.join(map(str, experts))}"
        for piece, experts in zip(pieces[:40], chosen, strict=False)
    )
    return figure(MAP_WIDTH, int(bottom + most), title, told, parts, key)
