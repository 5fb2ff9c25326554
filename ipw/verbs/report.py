"""`ipw report RUN…`: the table in the terminal and the page on disk; tables and figures for others on request."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import INVALID, OK, UsageError
from ipw.pipeline import derive
from ipw.runs.directory import PAGE, RunDir
from ipw.studies.book import STUDY
from ipw.studies.chosen import Chosen, chosen
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import JSON, STRICT
from ipw.verbs.common.several import readable

SEVERAL = "comparison.html"
Summary = dict[str, Any]


def report(
    *,
    runs: Sequence[Path],
    recompute: bool,
    page: Path | None,
    table: str | None,
    figures: Path | None,
    style: str,
    width_mm: float | None,
    order: str | None,
    facts: Path | None,
    as_json: bool,
    strict: bool,
    **grid: Any,
) -> int:
    """Show stored runs, deriving what was never derived (or everything, with `recompute`).

    One that cannot be read is named and left out; the exit code says so.
    """
    from ipw.metrics.summary import called, stored_summary
    from ipw.printable import clean
    from ipw.reports.facts import NO_FACTS, read_facts, unmatched
    from ipw.reports.names import model_name
    from ipw.reports.page.page import write_page
    from ipw.verbs.common.terminal import console, output, say, show

    if figures is None and (order is not None or width_mm is not None):
        raise UsageError("--order and --width-mm are of figures, and none are asked for", "add --figures DIR")
    told = read_facts(facts) if facts else NO_FACTS
    told = dataclasses.replace(told, **{name: value for name, value in grid.items() if value is not None})

    def read(one: Chosen) -> tuple[RunDir, Summary]:
        run = one.open()
        return run, called(derive(run), run) if recompute or (stored := stored_summary(run)) is None else stored

    asked = chosen(runs)
    read_runs, code = readable(asked, read)
    opened, summaries = [run for run, _ in read_runs], [summary for _, summary in read_runs]
    target = page or _place(runs, opened)
    replaced = target.is_file() and len(opened) > 1 and not page
    write_page(opened, target, told)
    if figures:
        from ipw.reports.figures.written import in_order, letters_missing, not_drawn, write_figures
        from ipw.reports.view import load_views

        views = in_order(load_views(opened), order)
        for path in write_figures(views, figures, style, width_mm=width_mm):
            say(str(path), err=True)
        for why in filter(None, (not_drawn(views), letters_missing(views, style))):
            say(f"mind: {why}", err=True)
    if as_json:
        click.echo(json.dumps(summaries[0] if len(asked) == 1 else summaries))
    elif table:
        _write(_tables()[table](summaries))
    else:
        show(summaries, target, opened)
    if replaced and not (as_json or table):
        output().print("It replaces the one that was there; --page FILE writes another.", markup=False)
    if lost := unmatched(told, list(dict.fromkeys(map(model_name, summaries)))):
        out = console() if as_json or table else output()
        out.print(f"mind: {facts}: {clean(lost, 500)}", markup=False, soft_wrap=True)
    return code or (INVALID if strict and not all(summary["valid"] for summary in summaries) else OK)


def _place(given: Sequence[Path], opened: Sequence[RunDir]) -> Path:
    """Put the page of one run into it, that of a study into its folder, and that of others into the current folder."""
    if len(opened) == 1:
        return opened[0].path / PAGE
    return given[0] / PAGE if len(given) == 1 and (given[0] / STUDY).is_file() else Path(SEVERAL)


def _write(table: str | bytes) -> None:
    if isinstance(table, bytes) and sys.stdout.isatty():
        raise UsageError(
            "a Parquet file is nothing to read in a terminal", "put it in a file: … --table parquet > runs.parquet"
        )
    click.echo(table, nl=False)


def _tables() -> Mapping[str, Callable[[Sequence[Summary]], str | bytes]]:
    from ipw.reports.tables import latex, written
    from ipw.reports.tables import runs as tables

    return {
        "markdown": tables.markdown,
        "csv": written.as_csv,
        "latex": latex.as_latex,
        "json": written.as_json,
        "parquet": written.as_parquet,
    }


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="[NAME=]RUN...", type=click.Path(path_type=Path))
@click.option("--recompute", is_flag=True, help="Derive everything again from the raw data.")
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    help=f"Where the page goes; default: into the run or the study, of several runs {SEVERAL} here.",
)
@click.option(
    "--table",
    type=click.Choice(["markdown", "csv", "latex", "json", "parquet"]),
    help="Print the comparison on stdout.",
)
@click.option("--figures", type=click.Path(path_type=Path), help="Folder for figures as SVG, PDF and PNG.")
@click.option(
    "--style", type=click.Choice(["paper", "slide", "web"]), default="paper", show_default=True, help="Of figures."
)
@click.option("--width-mm", type=FloatRange(20, 1000), help="Of figures; default: as the style has it.")
@click.option("--order", help="Of runs in figures: names by comma, as tables show them; default: as given.")
@click.option("--facts", type=click.Path(path_type=Path), help="TOML file of prices, release dates, the grid's carbon.")
@click.option("--grid-intensity", "grid_g_co2e_per_kwh", type=FloatRange(0), help="Grams of CO2e per kWh.")
@click.option("--grid-source", help="Where that number comes from.")
@click.option("--electricity-price", "electricity_per_kwh", type=FloatRange(0), help="Price of a kWh.")
@click.option("--currency", help="Of that price.")
@JSON
@STRICT
def command(**options: Any) -> int:
    """Tables, charts and a page, for one run or several side by side.

    RUN may also be the folder of a study, or a folder of runs. NAME is what a run is called in what is made.
    """
    return report(**options)
