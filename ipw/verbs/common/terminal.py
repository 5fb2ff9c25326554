"""What people see. The answer goes to standard output; progress and what is said on the way go to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NoReturn

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ipw.printable import printable
from ipw.runs.directory import RunDir

RESUME = "ipw resume"
UNBROKEN = 10_000
"""Columns where nobody looks at a terminal: a line that goes into a file or a pipe is found and copied whole."""


class _Printable(Console):
    """What comes from a model, a server or a run steers nothing, wherever it stands in what is printed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class _Output(_Printable):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the command line, as for any other text: `ipw list runs | head` is no failure."""
        raise BrokenPipeError


def output() -> Console:
    """Make the console for the answer, where people are to read it: standard output.

    With `--json` or `--table` the machine's answer stands there alone, and nothing is printed here.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that the terminal lacks ends no report
    out = _Output(highlight=False)
    return out if out.is_terminal else _Output(highlight=False, width=UNBROKEN)


def console() -> Console:
    """Make the console for progress, and for what people are told beside an answer: standard error."""
    return _Printable(stderr=True, highlight=False)


def say(text: str, *, err: bool = False) -> None:
    """Print plain lines for people."""
    click.echo(printable(text), err=err)


def show(
    summaries: Sequence[dict[str, Any]], page: Path, runs: Sequence[RunDir] = (), out: Console | None = None
) -> None:
    """Print what must be known first, the ranking table, what is not valid, and where the page is.

    `runs` are those of the `summaries`, for the command that goes on with one. Without `out` it is the answer.
    """
    from ipw.metrics.validity.questions import TOLD_FIRST
    from ipw.reports.names import row_names
    from ipw.reports.tables.minds import minds
    from ipw.reports.tables.runs import terminal

    out = out or output()
    names = row_names(summaries) if len(summaries) > 1 else [""]
    for index, (name, summary) in enumerate(zip(names, summaries, strict=True)):
        for line in _first(summary, runs[index] if runs else None):
            whole = RESUME in line  # a command is copied
            out.print(f"{name}: {line}" if name else line, markup=False, soft_wrap=whole, style="bold yellow")
    terminal(summaries, out)
    for told in minds(summaries, row_names(summaries), TOLD_FIRST):
        out.print(told, markup=False)
    out.print(f"report: {page.resolve()}", markup=False, soft_wrap=True)


def _first(summary: Mapping[str, Any], run: RunDir | None) -> list[str]:
    """What must be known before any number: where a run stopped, and that its questions have no answers."""
    from ipw.metrics.accounting import questions_of
    from ipw.metrics.accounting_text import unfinished
    from ipw.metrics.derived import Derived
    from ipw.metrics.validity.questions import TOLD_FIRST
    from ipw.reports.tables.minds import judgement

    checks = [check for check in summary["validity"] if check["check"] in TOLD_FIRST]
    checks = [check for check in checks if not check["ok"]]
    found = [f"{judgement(check)}: {check['detail']}" for check in checks]
    stopped, told = unfinished(summary), questions_of(summary)
    ours = Derived(summary).parameters.get("by") != "gateway"  # else it is a program that asks, and not we
    resume = f"{RESUME} {quote(str(run))}" if run is not None and told is not None and ours else None
    if stopped:
        found.append(f"{stopped}: {resume}" if resume else stopped)
    elif checks and resume and told and told.failed_on_the_way:
        found.append(f"{told.failed_on_the_way:,} of these can be asked again: {resume}")
    return found
