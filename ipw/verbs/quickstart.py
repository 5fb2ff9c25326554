"""`ipw quickstart`: both bundled models, one table, one page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ipw.errors import INTERRUPTED, OK
from ipw.pipeline import derive
from ipw.verbs.lm import measure_lm
from ipw.verbs.terminal import console, show
from ipw.workloads.lm.engines import BUNDLED
from ipw.workloads.lm.parameters import Parameters

IDLE_S = 3.0
PAGE_NAME = "quickstart.html"


def quickstart(*, sensors: str, out: Path, limit: int | None, as_json: bool) -> int:
    """Measure each bundled model over the bundled questions, and put them side by side."""
    from ipw.reports.page import write_page

    runs = []
    for model in BUNDLED:
        if not as_json:
            console().print(f"measuring {model} …")
        run, interrupted = measure_lm(Parameters(model=model, limit=limit, warmup=8), sensors, IDLE_S, out)
        if interrupted:
            return INTERRUPTED
        runs.append(run)
    summaries = [derive(run) for run in runs]
    page = out / PAGE_NAME
    write_page(runs, page)
    if as_json:
        click.echo(json.dumps({"page": str(page), "runs": [str(run.path) for run in runs], "summaries": summaries}))
    else:
        show(summaries, page)
    return OK
