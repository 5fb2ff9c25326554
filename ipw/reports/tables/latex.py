"""The comparison as tables for a paper, in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ipw.printable import clean
from ipw.registry import answers_questions
from ipw.reports.ranking import Group, Row, Summary, groups
from ipw.reports.tables.by_method import by_method
from ipw.reports.tables.runs import Column, columns, notes
from ipw.reports.tables.tex import breakable, escaped, unknown_letters
from ipw.reports.text import MISSING, interval_text

PACKAGES = r"""% In the preamble: \usepackage{booktabs,graphicx}
"""
OTHER_LETTERS = r"""% pdflatex has no letters for: {}
% Use xelatex or lualatex, with \usepackage{{fontspec}} and \setmainfont{{…}} of a font that has them.
"""
WIDEST = 7
"""So many columns of numbers fit a page; more are made smaller."""
LONGEST_NAME, NAME_WIDTH = 28, "4.2cm"
"""Longer names have lines of this width."""
FITTING = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""A table that is wider than the page's text is made smaller; others stay as they are."""


def as_latex(summaries: Sequence[Summary]) -> str:
    """Write one floating booktabs table a group, with caption and label, each value with its 95 % interval below.

    What stands behind a name elsewhere (`n 80`, `interrupted`) stands below it. The first lines say which packages the
    tables need, and which letters pdflatex does not have.
    """
    found = groups(by_method(summaries))
    tables = [
        "\n".join(_table(group, f"{group.kind or 'runs'}{f'-{place}' if len(found) > 1 else ''}"))
        for place, group in enumerate(found, start=1)
    ]
    told = [text for group in found for row in group.rows for text in (row.name, group.dataset, *row.told)]
    unknown = unknown_letters([*told, *(note for group in found for note in notes(group))])
    return PACKAGES + (OTHER_LETTERS.format(clean(unknown)) if unknown else "") + "\n".join(tables)


def _table(group: Group, label: str) -> Iterator[str]:
    shown = columns(group)
    heads = ["Model" if answers_questions(group.kind) else "Run", *(c.label for c in shown)]
    units = ["", *(f"{c.unit}{', est.' if c.estimated else ''}" for c in shown)]
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{escaped(_caption(group))}}}"
    yield rf"\label{{tab:ipw-{_key(label)}}}"
    yield r"\medskip"
    yield r"\small" if len(shown) <= WIDEST else r"\footnotesize\setlength{\tabcolsep}{3pt}"
    yield FITTING
    yield rf"\begin{{tabular}}{{l{'r' * len(shown)}}}"
    yield r"\toprule"
    yield _row(map(escaped, heads))
    yield _row(map(escaped, units))
    yield r"\midrule"
    for row in group.rows:
        yield from _lines(row, shown)
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\par\medskip"
    yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
    yield "\\par\n".join(map(breakable, notes(group)))
    yield r"\end{minipage}"
    yield r"\end{table}"
    yield ""


def _lines(row: Row, shown: Sequence[Column]) -> Iterator[str]:
    """Two lines: the name and the values; what sets the row apart, and the intervals."""
    name = escaped(row.name)
    if len(row.name) > LONGEST_NAME:
        name = rf"\parbox[t]{{{NAME_WIDTH}}}{{\raggedright {breakable(row.name)}\strut}}"
    yield _row([name, *(escaped(c.value(row)) for c in shown)])
    below = [", ".join(row.told), *(interval_text(c.metric(row), c.scale) for c in shown)]
    if any(below):
        yield _row(rf"{{\scriptsize {escaped(text)}}}" if text else "" for text in below)


def _caption(group: Group) -> str:
    count = f"{len(group.rows)} runs" if len(group.rows) > 1 else "One run"
    kind = "estimated from load" if group.estimated else f"measured (basis {group.basis})"
    basis = f" Joules are {kind}." if group.basis != MISSING and not group.source else ""
    source = f" Figures of {group.source}." if group.source else ""
    kind = "" if group.kind in {"lm", ""} else f" of {group.kind}"
    dataset = f" on {group.dataset}" if group.dataset else ""
    return f"{count}{kind}{dataset}.{basis}{source} Brackets hold 95 % intervals."


def _key(label: str) -> str:
    """Make a label of letters, digits and hyphens: all else is not sure to work in one."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in label)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
