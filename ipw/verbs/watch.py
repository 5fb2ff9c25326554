"""`ipw watch`: a running run in the terminal, as a reader of its directory, at any time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ipw.errors import OK, UsageError
from ipw.printable import clean
from ipw.reports.names import plain_name
from ipw.runs.directory import MANIFEST, RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.live.journal import LiveJournal, Standing
from ipw.runs.live.power import LivePower
from ipw.runs.readings import READINGS, is_estimate
from ipw.runs.recorded import Recorded
from ipw.studies.book import STUDY, read_study
from ipw.verbs.common.options import JSON, RUNS
from ipw.verbs.common.terminal import output

REDRAW_S = 0.5
PATIENCE_S = 10.0
"""For a run to begin: its model is loaded first."""
Watched = tuple[
    Callable[[], dict[str, Any]], Callable[[dict[str, Any]], RenderableType], Callable[[dict[str, Any]], bool]
]
"""How to look at something, how to draw what was seen, and whether it goes on."""


def watch(*, path: Path, once: bool, as_json: bool) -> int:
    """Show power by channel, temperature, throughput and accuracy until the run has ended, or once.

    Of a study: its cells, until none waits or runs.
    """
    if not once and not as_json:
        _await(path)
    look, draw, goes_on = _of_study(path) if (path / STUDY).is_file() else _of_run(path)
    if as_json:
        click.echo(json.dumps(look()))
    elif once:
        output().print(draw(look()))
    else:
        with Live(console=output(), refresh_per_second=4) as live:
            while True:
                snapshot = look()
                live.update(draw(snapshot))
                if not goes_on(snapshot):
                    break
                time.sleep(REDRAW_S)
    return OK


def _of_run(path: Path) -> Watched:
    return Watcher(running(path)).snapshot, drawn, lambda snapshot: snapshot["status"] == "running"


def _of_study(path: Path) -> Watched:
    from ipw.verbs.common.study_table import drawn as drawn_study

    def goes_on(state: dict[str, Any]) -> bool:
        return any(cell["status"] in {"waiting", "running"} for cell in state["cells"])

    return (
        lambda: read_study(path),
        lambda state: drawn_study(str(state.get("name")), state["cells"], output().width),
        goes_on,
    )


def running(path: Path) -> RunDir:
    """Open the run at `path`, or the newest running one in that folder. Raises UsageError where there is none."""
    if (path / MANIFEST).is_file():
        return RunDir.open(path)
    found = [each for each in sorted(path.glob(f"*/{MANIFEST}"), reverse=True) if _status(each) == "running"]
    if not found:
        raise UsageError(f"nothing is running in {path}", "ipw list runs")
    return RunDir.open(found[0].parent)


def _await(path: Path) -> None:
    """Give a run that is started at this moment the time to begin."""
    if any((path / name).is_file() for name in (STUDY, MANIFEST)):
        return
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and not any(_status(each) == "running" for each in path.glob(f"*/{MANIFEST}")):
        time.sleep(REDRAW_S)


def _status(manifest: Path) -> str | None:
    try:
        return RunDir(manifest.parent).manifest().get("status")
    except UsageError:
        return None


class Watcher:
    """Follows one run directory."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        sensors = [c for c in run.manifest().get("sensors", []) if "index" in c]
        self._names = {c["index"]: str(c["name"]) for c in sensors}
        self._gauges = {c["index"]: c.get("unit") or "" for c in sensors if c.get("kind") == "gauge"}
        self._power = LivePower(run.path / READINGS, sensors)
        self._journal = LiveJournal(run.path / JOURNAL)

    def snapshot(self) -> dict[str, Any]:
        """Everything as of now; what is not known is `None` or left out."""
        manifest = self._run.manifest()
        values = self._power.watts()
        standing: Standing = self._journal.standing()
        return {
            "run": str(self._run),
            "name": plain_name(manifest),
            "status": manifest.get("status"),
            "basis": manifest.get("basis"),
            "estimated": is_estimate(manifest.get("method")),
            "power_w": {self._names[i]: watts for i, watts in values.items() if i not in self._gauges},
            "gauges": {
                self._names[i]: {"value": values[i], "unit": unit} for i, unit in self._gauges.items() if i in values
            },
            **standing._asdict(),
            **_ahead(manifest, standing),
        }


def _ahead(manifest: Mapping[str, Any], standing: Standing) -> dict[str, Any]:
    """Say of how many units the run is, and how long the others may take; `None` where that is not known."""
    planned = Recorded(manifest).dataset.get("questions")
    per_s = standing.units_per_s
    left_s = (planned - standing.done) / per_s if planned and per_s and planned >= standing.done else None
    return {"of": planned, "left_s": left_s}


def drawn(snapshot: dict[str, Any]) -> Group:
    """Lay a snapshot out for people."""
    head = Text(f"{clean(snapshot['name'])} · {clean(snapshot['run'])} · {clean(snapshot['status'])}", style="bold")
    mark = " (estimated)" if snapshot["estimated"] else ""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, watts in snapshot["power_w"].items():
        table.add_row(Text(clean(name, 60)), f"{watts:.1f} W{mark}")
    for name, gauge in snapshot["gauges"].items():
        table.add_row(Text(clean(name, 60)), Text(f"{gauge['value']:.6g} {clean(gauge['unit'], 10)}"))
    facts = {
        "phase": snapshot["phase"] and clean(snapshot["phase"], 40),
        "finished": _finished(snapshot),
        "failed": snapshot["errors"] or None,
        "accuracy": _formatted(snapshot["accuracy"], "{:.1%}"),
        "loss": _formatted(snapshot["loss"], "{:.4g}"),
        "finished a second": _formatted(snapshot["units_per_s"], "{:.3g}"),
        "tokens a second": _formatted(snapshot["tokens_per_s"], "{:.4g}"),
    }
    for name, fact in facts.items():
        if fact is not None:
            table.add_row(name, Text(str(fact)))
    return Group(head, table)


def _finished(snapshot: dict[str, Any]) -> str | None:
    if not snapshot["done"]:
        return None
    of = f" of {snapshot['of']:,}" if snapshot["of"] else ""
    left_s = snapshot["left_s"]
    left = f", about {left_s:.0f} s left" if left_s and snapshot["status"] == "running" else ""
    return f"{snapshot['done']:,}{of}{left}"


def _formatted(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


@click.command("watch")
@click.argument("path", type=click.Path(path_type=Path), default=RUNS)
@click.option("--once", is_flag=True, help="Show where it is, and end.")
@JSON
def command(**options: Any) -> int:
    """Live power, throughput and accuracy of a run: PATH is a run, or a folder of runs (the newest one running)."""
    return watch(**options)
