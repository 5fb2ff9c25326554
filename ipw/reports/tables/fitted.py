"""Tables that fit a terminal of any width, and never break inside a word.

Names stand beside their figures where there is room, else above them; then columns are left out, the least important
first; at last each figure has a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

INDENT = 2


def fitted(
    heads: Sequence[Text],
    rows: Sequence[Sequence[Text]],
    width: int,
    *,
    drop: Sequence[int] = (),
    left: Sequence[int] = (),
    gap: int = 2,
) -> list[Text]:
    """Lay out a table as lines of at most `width` columns, as far as its words allow.

    The first column holds names. `drop` lists the columns that may be left out, the first one first; `left` those that
    are flush left. Cells may have several lines.
    """
    shown = list(range(len(heads)))
    for gone in (None, *drop):
        shown = [column for column in shown if column != gone]
        widths = [_width([heads[c], *(row[c] for row in rows)]) for c in shown]
        others = sum(widths[1:]) + gap * (len(shown) - 1)
        if widths[0] + others <= width:
            return [*_beside(heads, rows, shown, widths, left, gap), *_left_out(heads, shown)]
        if others - gap + INDENT <= width:
            return [*_above(heads, rows, shown, widths, left, gap), *_left_out(heads, shown)]
    return _each_alone(heads, rows)


def _left_out(heads: Sequence[Text], shown: Sequence[int]) -> list[Text]:
    """Say which columns are not there, in words that a line may be broken between."""
    gone = [" ".join(head.plain.split("\n")[:2]) for column, head in enumerate(heads) if column not in shown]
    return [Text(f"Left out at this width: {', '.join(gone)}.", style="dim")] if gone else []


def _beside(
    heads: Sequence[Text], rows: Sequence[Sequence[Text]], shown: Sequence[int], widths: Sequence[int],
    left: Sequence[int], gap: int,
) -> list[Text]:  # fmt: skip
    flush = [place for place, column in enumerate(shown) if column in left or place == 0]

    def block(cells: Sequence[Text], *, bottom: bool = False) -> list[Text]:
        return _joined([_lines(cells[c]) for c in shown], widths, flush, gap, bottom=bottom)

    rule = Text("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (sum(widths) + gap * (len(widths) - 1)), style="dim")
    return [*block(_bold(heads), bottom=True), rule, *(line for row in rows for line in block(row))]


def _above(
    heads: Sequence[Text], rows: Sequence[Sequence[Text]], shown: Sequence[int], widths: Sequence[int],
    left: Sequence[int], gap: int,
) -> list[Text]:  # fmt: skip
    columns, sizes = list(shown[1:]), list(widths[1:])
    flush = [place for place, column in enumerate(columns) if column in left]

    def block(cells: Sequence[Text], *, bottom: bool = False) -> list[Text]:
        lines = _joined([_lines(cells[c]) for c in columns], sizes, flush, gap, bottom=bottom)
        return [Text(" " * INDENT) + line for line in lines]

    rule = Text("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (sum(sizes) + gap * (len(sizes) - 1) + INDENT), style="dim")
    found = [*block(_bold(heads), bottom=True), rule]
    for row in rows:
        found += [*_lines(row[0]), *block(row)]
    return found


def _each_alone(heads: Sequence[Text], rows: Sequence[Sequence[Text]]) -> list[Text]:
    found = []
    for row in rows:
        found += _lines(row[0])
        for head, cell in zip(heads[1:], row[1:], strict=True):
            words = {line.plain.casefold(): line.plain for line in reversed(_lines(head)) if line.plain}
            named = " ".join(reversed(words.values()))  # the unit of a count may be its name again
            values = Text(" ").join(line for line in _lines(cell) if line.plain)
            found.append(Text(" " * INDENT) + Text(f"{named}: ", style="bold") + values)
    return found


def _bold(heads: Sequence[Text]) -> list[Text]:
    return [Text("", style="bold") + head for head in heads]


def _joined(
    cells: Sequence[Sequence[Text]], widths: Sequence[int], flush: Sequence[int], gap: int, *, bottom: bool
) -> list[Text]:
    """Put cells of several lines beside one another; heads stand on their last line."""
    most = max(len(lines) for lines in cells)
    if bottom:
        cells = [[Text()] * (most - len(lines)) + list(lines) for lines in cells]
    found = []
    for lines in zip_longest(*cells, fillvalue=Text()):
        line = Text()
        for place, (part, size) in enumerate(zip(lines, widths, strict=True)):
            space = Text(" " * max(size - cell_len(part.plain), 0))
            line += Text(" " * gap if place else "") + (part + space if place in flush else space + part)
        line.rstrip()
        found.append(line)
    return found


def _lines(cell: Text) -> list[Text]:
    return list(cell.split("\n", allow_blank=True)) if cell.plain else [Text()]


def _width(cells: Sequence[Text]) -> int:
    return max((cell_len(line.plain) for cell in cells for line in _lines(cell)), default=0)
