"""Makes the measurements of run files: once, or again and again on a server that stays up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import INTERRUPTED, IpwError, UsageError
from ipw.pipeline import derive
from ipw.processes import KEYS, environment, python
from ipw.runs.directory import RunDir
from ipw.runs.outages import outage_error
from ipw.studies.runfile import Cell
from ipw.workloads.base import NOBODY, Audience

CHILD = "ipw.verbs.one_cell"
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
    if cell.workload == "lm":
        with _served(cell, audience) as server:
            return server.measure(out)
    return _derived(*WORKLOADS[cell.workload](cell, out, audience))


def ready(cell: Cell, audience: Audience = NOBODY) -> AbstractContextManager[Ready]:
    """Bring a cell to where it can be measured many times: a language model's server stays up in between."""
    return _served(cell, audience) if cell.workload == "lm" else _each(cell)


@contextmanager
def _served(cell: Cell, audience: Audience) -> Iterator[Ready]:
    from ipw.workloads.lm.measure import measure_served
    from ipw.workloads.lm.parameters import Parameters
    from ipw.workloads.lm.plan import plan
    from ipw.workloads.lm.servers.engines import serve

    options, common = _split(cell)
    planned = plan(Parameters(**options))
    with serve(planned.parameters) as endpoint:
        yield Ready(
            lambda out: _derived(*measure_served(endpoint, planned, out=out, audience=audience, **common)),
            fresh=endpoint.pid is not None,
            each=False,
        )


@contextmanager
def _each(cell: Cell) -> Iterator[Ready]:
    """Give every measurement a process of its own; a command is one already."""
    measure = run_cell if cell.workload == "measure" else run_in_child
    yield Ready(lambda out: measure(cell, out), fresh=True, each=True)


def _derived(run: RunDir, interrupted: bool) -> RunDir:
    derive(run)
    if interrupted:
        raise KeyboardInterrupt
    if error := outage_error(run):
        raise error
    return run


def _split(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a workload's own options from those of every measurement."""
    common = {name: cell.options[name] for name in ("sensors", "idle_s")}
    return {name: value for name, value in cell.options.items() if name not in common}, common


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


def _routing(cell: Cell, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    from ipw.workloads.routing.measure import measure_routing, routing_parameters

    options, common = _split(cell)
    return measure_routing(routing_parameters(**options), out=out, audience=audience, **common)


def _train(cell: Cell, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    from ipw.workloads.training.measure import measure_training, train_parameters
    from ipw.workloads.training.run import ENDED_WELL

    options, common = _split(cell)
    run, ended, interrupted = measure_training(train_parameters(**options), out=out, audience=audience, **common)
    for each in ended:
        if each.status not in ENDED_WELL:
            raise IpwError(f"{each.method}: {each.reason}", f"what was measured: {run}")
    return run, interrupted


def _diffusion(cell: Cell, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    from ipw.workloads.diffusion.measure import diffusion_parameters, measure_diffusion

    options, common = _split(cell)
    parameters, methods = diffusion_parameters(**options)
    if len(methods) > 1:
        raise UsageError(f"{cell.name}: a cell is one run", '[matrix] with method = ["greedy", "local-leap"]')
    runs, failed, interrupted = measure_diffusion(parameters, methods, out=out, audience=audience, **common)
    if failed:
        raise IpwError(failed[0], f"what was measured: {runs[0]}")
    return runs[0], interrupted


def _measure(cell: Cell, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    from ipw.workloads.command import measure_command

    del audience  # a command speaks for itself
    run, exit_code = measure_command(**cell.options, out=out, quiet=True)
    if exit_code:
        program = cell.options["command"][0]
        raise IpwError(f"{program} ended with exit code {exit_code}", f"what was measured: {run}")
    return run, False


WORKLOADS: dict[str, Callable[[Cell, Path, Audience], tuple[RunDir, bool]]] = {
    "routing": _routing,
    "train": _train,
    "diffusion": _diffusion,
    "measure": _measure,
}
"""How a cell is measured where no server has to be up; returns the run, and whether it was interrupted."""
