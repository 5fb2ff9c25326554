"""The comparison as tables for a paper, in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ipw.registry import answers_questions
from ipw.reports.ranking import Group, Summary, groups
from ipw.reports.tables.by_method import by_method
from ipw.reports.tables.runs import columns, notes
from ipw.reports.text import MISSING, interval_text

PACKAGES = r"""% In the preamble: \usepackage{booktabs}
"""
WIDEST = 7
"""So many columns of numbers fit a page; more are made smaller."""
LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
    | {">": r"\textgreater{}", MISSING: "--", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{MICRO SIGN}": r"\textmu{}"}
    | {
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
        "\N{MIDDLE DOT}": r"\textperiodcentered{}",
    }
)


def as_latex(summaries: Sequence[Summary]) -> str:
    """Write one floating booktabs table a group, with caption and label, each value with its 95 % interval below."""
    found = groups(by_method(summaries))
    tables = (
        "\n".join(_table(group, f"{group.kind or 'runs'}{f'-{place}' if len(found) > 1 else ''}"))
        for place, group in enumerate(found, start=1)
    )
    return PACKAGES + "\n".join(tables)


def _table(group: Group, label: str) -> Iterator[str]:
    shown = columns(group)
    heads = ["Model" if answers_questions(group.kind) else "Run", *(c.label for c in shown)]
    units = ["", *(f"{c.unit}{', est.' if c.estimated else ''}" for c in shown)]
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{_escaped(_caption(group))}}}"
    yield rf"\label{{tab:ipw-{_escaped(label)}}}"
    yield r"\small" if len(shown) <= WIDEST else r"\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\begin{{tabular}}{{l{'r' * len(shown)}}}"
    yield r"\toprule"
    yield _row(heads)
    yield _row(units)
    yield r"\midrule"
    for row in group.rows:
        yield _row([row.marked, *(c.value(row) for c in shown)])
        ends = [interval_text(c.metric(row), c.scale) for c in shown]
        if any(ends):
            small = [rf"{{\scriptsize {_escaped(end)}}}" if end else "" for end in ends]
            yield " & ".join(["", *small]) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    for note in notes(group):
        yield rf"\par\smallskip{{\footnotesize {_escaped(note)}}}"
    yield r"\end{table}"
    yield ""


def _caption(group: Group) -> str:
    count = f"{len(group.rows)} runs" if len(group.rows) > 1 else "One run"
    kind = "estimated" if group.estimated else "measured"
    basis = f" Joules are {kind} (basis {group.basis})." if group.basis != MISSING and not group.source else ""
    source = f" Figures of {group.source}." if group.source else ""
    dataset = f" on {group.dataset}" if group.dataset else ""
    return f"{count}{dataset}.{basis}{source} Brackets hold 95 % intervals."


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return " ".join(text.translate(LATEX).split())
