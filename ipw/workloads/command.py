"""Any command as a workload: one span around one child process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ipw.errors import UsageError

FORWARDED = (signal.SIGINT, signal.SIGTERM)


def run_command(command: Sequence[str], *, quiet: bool = False) -> int:
    """Run `command` to its end and return its exit code (128 + n for signal n, as shells do).

    SIGINT and SIGTERM go to the command, which may end in its own time; ipw then writes what was measured. With
    `quiet`, the command's own standard output goes to standard error, so that ours stays machine-readable.
    """
    try:
        child = subprocess.Popen(command, stdout=2 if quiet else None)
    except OSError as error:
        raise UsageError(
            f"cannot start {command[0]}: {error.strerror}", "give a program on the PATH after --"
        ) from None
    with _forwarding(child):
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[None]:
    def forward(number: int, _frame: Any) -> None:
        # A terminal's Ctrl-C reaches the whole foreground group already; sending it again would look like two.
        if not (number == signal.SIGINT and os.isatty(0)):
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
