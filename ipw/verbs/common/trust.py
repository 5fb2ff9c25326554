"""What a stored run says is to be started and asked: believed if this user wrote it, else shown and asked about."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.printable import clean
from ipw.runs.checks.seal import is_sealed
from ipw.variables import JUDGE_KEY, OPENAI_KEY

HARMLESS_TOOLS = (None, "none", "calculator")
MOST = 500
"""Characters of each line that people are shown."""


def check_trusted(run: Path, workload: Mapping[str, Any], *, given: bool, yes: bool) -> None:
    """Raise UsageError where a run that this user did not write would decide what is executed, or where a key goes.

    `given` says that the server comes from the command line, `yes` that everything is agreed to.
    """
    parameters = workload["parameters"]
    if yes or is_sealed(parameters, workload.get("seal")):
        return
    doings = list(_doings(parameters, given=given))
    if not doings:
        return
    told = f"{run} was not begun by this user on this machine, and says: " + "; ".join(doings)
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm(f"{clean(told, 4 * MOST)}. Go on?", default=False, err=True):
            return
        raise UsageError("nothing was started or asked", "give --serve or --base-url of your own")
    other = ", or --serve or --base-url of your own" if "serve" in parameters else ""
    raise UsageError(told, f"--yes if that is right{other}")


def _doings(parameters: Mapping[str, Any], *, given: bool) -> Iterator[str]:
    """What resuming would do in the name of the run."""
    if not given:
        server = parameters.get("base_url")
        if command := parameters.get("serve"):
            yield f"start `{clean(command, MOST)}`"
        elif server:
            yield f"ask {clean(server, MOST)}" + _with_key(OPENAI_KEY)
        elif parameters.get("engine") != "openai" and parameters.get("model"):
            own = " and run the code that comes with it" if parameters.get("trust_remote_code") else ""
            yield f"load the model {clean(parameters['model'], MOST)}{own}"
    tools = parameters.get("tools")
    if tools not in HARMLESS_TOOLS:
        yield f"run the tools {clean(tools, MOST)}"
    if "max_turns" in parameters and Path(str(parameters.get("dataset"))).suffix:  # of an agent: tasks name tools too
        yield f"run the tools that {clean(parameters['dataset'], MOST)} names"
    if judge := parameters.get("judge_url"):
        yield f"let {clean(judge, MOST)} judge" + _with_key(JUDGE_KEY)


def _with_key(variable: str) -> str:
    return f" with {variable}" if os.environ.get(variable) else ""
