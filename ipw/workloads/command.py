"""Any command as a workload: one span around one child process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.metering.meter import Meter
from ipw.runs.directory import RunDir
from ipw.secrets_out import command_secrets, command_without_secrets, keep_out
from ipw.workloads.base import Audience, labelled

FORWARDED = (signal.SIGINT, signal.SIGTERM)


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study. Raises IpwError where the command fails."""
    del audience  # a command speaks for itself
    run, exit_code = measure_command(**options, out=out, quiet=True)
    if exit_code:
        program = options["command"][0]
        raise IpwError(f"{program} ended with exit code {exit_code}", f"what was measured: {run}")
    return run, False


def measure_command(
    command: Sequence[str], sensors: str, idle_s: float, out: Path, *, quiet: bool, label: str | None = None
) -> tuple[RunDir, int]:
    """Run `command` under the meter; returns the run, and the command's exit code."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"cannot start {command[0]}: there is no such program", "give a program on the PATH after --")
    run = RunDir.create(out, Path(command[0]).name)
    keep_out(command_secrets(command))
    workload = {"kind": "command", "parameters": {"command": command_without_secrets(command), "idle_s": idle_s}}
    with Meter(run, {"workload": workload, **labelled(label)}, sensors) as meter:
        meter.idle("idle before", idle_s)
        with meter.span(Path(command[0]).name, "measure"):
            exit_code = run_command(command, quiet=quiet)
        meter.idle("idle after", idle_s)
        meter.note(exit_code=exit_code)
    return run, exit_code


def run_command(command: Sequence[str], *, quiet: bool = False) -> int:
    """Run `command` to its end and return its exit code (128 + n for signal n, as shells do).

    SIGINT and SIGTERM go to the command, which may end in its own time; ipw then writes what was measured. With
    `quiet`, the command's own standard output goes to standard error, so that ours stays machine-readable.
    """
    with _forwarding() as to:
        try:
            child = subprocess.Popen(command, stdout=2 if quiet else None)
        except OSError as error:
            raise UsageError(
                f"cannot start {command[0]}: {error.strerror}", "give a program on the PATH after --"
            ) from None
        to(child)
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Send signals on to the child that is named, and then those that came before it was started."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        # A terminal's Ctrl-C reaches the whole foreground group already; sending it again would look like two.
        if not children:
            early.append(number)
        elif not (number == signal.SIGINT and os.isatty(0)):
            children[0].send_signal(number)

    def to(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        for number in early:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
