"""Runs the command of a gateway, and ends all that it started: `python -m … PIPE COMMAND…`.

The command has our standard input, output and error, and our place in the terminal. When the other end of the pipe
closes, which the end of the gateway brings about however it ends, the command and all of its descendants are asked to
end and, where they do not, killed. So is what a command leaves behind that ends by itself, or is killed. This process
then exits with the command's code.

On Linux, processes whose parents have ended become children of this one (prctl(2), PR_SET_CHILD_SUBREAPER), so that
none is lost; and the kernel ends the command when this process dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from typing import Any

from ipw.system import signal_descendants
from ipw.workloads.lm.servers.parent_death import at_death_of_parent

GRACE_S, ORPHANS_S = 5.0, 1.0
PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""
NOT_FOUND, NOT_RUN = 127, 126
"""Exit codes of a command that cannot be started, as shells have them."""


def main(pipe: int, command: Sequence[str]) -> int:
    """Run `command` to its end, or to that of the pipe. Returns its exit code, 128 + n for signal n."""
    os.set_inheritable(pipe, False)
    adopt_orphans()
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        # A terminal's Ctrl-C reaches the whole foreground group already; sending it again would look like two.
        if number == signal.SIGINT and os.isatty(0):
            return
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)  # which the command does not inherit
    try:
        child = subprocess.Popen(command, preexec_fn=at_death_of_parent(signal.SIGTERM))  # noqa: PLW1509 - no thread yet
    except OSError as error:
        print(f"ipw: cannot start {command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - the user's terminal
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUN
    for waiting in early:
        child.send_signal(waiting)
    threading.Thread(target=_end_with_pipe, args=(pipe,), daemon=True).start()
    code = child.wait()
    end_all(ORPHANS_S)
    return code if code >= 0 else 128 - code


def _end_with_pipe(pipe: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(pipe, 4096):
            pass
    end_all(GRACE_S)
    os._exit(1)


def adopt_orphans(*, now: bool = True) -> None:
    """Let descendants whose parents have ended become children of this process, where the system can; or no more."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(now), 0, 0, 0)


def end_all(grace_s: float, spared: Collection[int] = ()) -> None:
    """Ask all descendants of this process to end, and kill those that have not after `grace_s`.

    Children that are `spared` stay, with theirs.
    """
    signal_descendants(signal.SIGTERM, grace_s, spared)
    for _ in range(2):  # what a process started that ended while we looked becomes our child only then
        signal_descendants(signal.SIGKILL, 1.0, spared)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
