"""Makes the measurements of run files: once, or again and again on a server that stays up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ipw.errors import INTERRUPTED, IpwError, UsageError
from ipw.pipeline import derive
from ipw.processes import KEYS, environment, python
from ipw.registry import Workload, load, workload, workloads
from ipw.runs.directory import RunDir
from ipw.runs.resume.outages import outage_error
from ipw.studies.runfile import Cell
from ipw.workloads.base import NOBODY, Audience

CHILD = "ipw.verbs.common.one_cell"
"""The program that measures one cell in a process of its own."""


class Ready(NamedTuple):
    """A cell whose server, where it has one, is up."""

    measure: Callable[[Path], RunDir]
    """Measure once, into a new run directory below a folder, and derive the summary."""
    fresh: bool
    """Whether ipw started the process that does the work, so that another `ready` is another start."""
    each: bool
    """Whether every measurement is a process of its own."""


def run_cell(cell: Cell, out: Path, audience: Audience = NOBODY) -> RunDir:
    """Measure one cell in this process. Raises IpwError; KeyboardInterrupt leaves what had finished, derived."""
    return _derived(*load(entry_of(cell).measure)(cell.options, out=out, audience=audience))


@contextmanager
def ready(cell: Cell, audience: Audience = NOBODY) -> Iterator[Ready]:
    """Bring a cell to where it can be measured many times, on a server that stays up where the workload has one.

    Else every measurement has a process of its own; a command is one already.
    """
    entry = entry_of(cell)
    if not entry.stays_up:
        measure = run_in_child if entry.works else run_cell
        yield Ready(lambda out: measure(cell, out), fresh=True, each=True)
        return
    with load(entry.stays_up)(cell.options, audience=audience) as server:
        yield Ready(lambda out: _derived(*server.measure(out)), fresh=server.ours, each=False)


def entry_of(cell: Cell) -> Workload:
    """Give the entry of the cell's workload. Raises UsageError where it is of a package that is not here."""
    entry = workload(cell.workload)
    if entry is None:
        raise UsageError(f"{cell.name}: there is no workload {cell.workload!r}", f"one of {', '.join(workloads())}")
    return entry


def _derived(run: RunDir, interrupted: bool) -> RunDir:
    derive(run)
    if interrupted:
        raise KeyboardInterrupt
    if error := outage_error(run):
        raise error
    return run


def run_in_child(cell: Cell, out: Path) -> RunDir:
    """Measure one cell in a process of its own. Raises IpwError with the child's own words and exit code."""
    command = python(CHILD, str(out))
    given = json.dumps(asdict(cell))  # on its standard input: other users of this machine can read command lines
    child = subprocess.run(
        command, env=environment(keys=KEYS), input=given, stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        told = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        told = {"error": f"its process ended with exit code {child.returncode}", "hint": None, "exit_code": 5}
    if told.get("exit_code") == INTERRUPTED:
        raise KeyboardInterrupt
    if "error" in told:
        error = UsageError if told["exit_code"] == UsageError.exit_code else IpwError
        raise error(f"{cell.name}: {told['error']}", told["hint"])
    return RunDir.open(Path(told["run"]))
