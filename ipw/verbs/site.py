"""`ipw site RUNS… --out DIR`: a static site of many runs, to publish."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.metrics.summary import called, stored_summary
from ipw.pipeline import derive
from ipw.reports.site.write import write_site
from ipw.runs.directory import RunDir
from ipw.studies.chosen import Chosen, chosen
from ipw.verbs.common.options import JSON
from ipw.verbs.common.several import readable
from ipw.verbs.common.terminal import say


def site(*, runs: Sequence[Path], out: Path, title: str | None, as_json: bool) -> int:
    """Add runs to a site, deriving what was never derived. One that cannot be read is named and left out."""

    def read(one: Chosen) -> tuple[RunDir, dict[str, Any]]:
        run = one.open()
        stored = stored_summary(run)
        return run, called(derive(run), run) if stored is None else stored

    found, code = readable(chosen(runs), read)
    added = write_site(found, out, title)
    if as_json:
        click.echo(json.dumps({"index": str(out / "index.html"), **added._asdict()}))
        return code
    say(f"site: {out / 'index.html'}")
    say(f"{added.runs} runs: {added.new} new, {added.changed} changed, {added.unchanged} as they were")
    return code


@click.command("site")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the site.")
@click.option("--title", help="Title of the index; kept for the next time.")
@JSON
def command(**options: Any) -> int:
    """A static site of many runs: an index with ranking and filters, a page a run, the figures as data.

    RUN may also be the folder of a study, or a folder of runs. Runs are added to what the site holds.
    """
    return site(**options)
