"""Keeps a server and all that it starts: `python -m ipw.workloads.lm.servers.server_keeper COMMAND…`.

The server runs in a session of its own, and writes to our standard error. One line of JSON on standard output says
`{"pid": …}` or `{"error": …}`, and when the server has ended by itself, another `{"exit_code": …}`, negative for a
signal. When standard input closes, which the end of the parent brings about however it ends, the whole process group
is asked to end and, where it does not, killed. So is what a server leaves behind that ends by itself; then this process
exits with the server's code.

Our own death ends the server too: a guard, forked before the server is started, sees that a pipe of ours has closed
and ends the group, and on Linux the kernel sends the server a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from ipw.workloads.lm.servers.parent_death import at_death_of_parent

GRACE_S = 10.0
"""For freeing a GPU's memory; vLLM takes a few seconds."""
ORPHANS_S = 2.0
ALL_ENDED = b"ended"


def main(command: Sequence[str]) -> int:
    """Start `command` and keep it until it or our standard input ends. Returns its exit code."""
    guarded = _guard()
    signalled = at_death_of_parent(signal.SIGTERM)

    def told() -> None:
        """Say which group is the server's, which is a copy of us yet: no moment is left in which nobody knows."""
        _write(guarded, b"%d\n" % os.getpid())
        signalled()

    try:
        # There is no other thread yet whose locks the copy could find taken.
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
            preexec_fn=told,  # noqa: PLW1509
        )
    except OSError as error:
        _write(guarded, ALL_ENDED)
        _tell({"error": f"cannot start {command[0]}: {error.strerror}"})
        return 1
    _tell({"pid": server.pid})
    threading.Thread(target=_stop_at_end_of_input, args=(server.pid,), daemon=True).start()
    code = server.wait()
    _tell({"exit_code": code})
    end_group(server.pid, ORPHANS_S)
    _write(guarded, ALL_ENDED)
    return code if code >= 0 else 128 - code


def _guard() -> int:
    """Fork a process that ends the server's group when we die; returns the pipe on which it is told of both."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        return writing
    os.setsid()  # what is sent to our group is not meant for it
    os.close(writing)
    for number in (0, 1):  # our parent waits for the end of these
        os.close(number)
    told = b""
    while block := os.read(reading, 4096):
        told += block
    group, _, ended = told.partition(b"\n")
    if group.isdigit() and ended != ALL_ENDED:
        end_group(int(group), GRACE_S)
    os._exit(0)


def _stop_at_end_of_input(group: int) -> None:
    while os.read(0, 4096):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(GRACE_S)
    _signal(group, signal.SIGKILL)


def end_group(group: int, grace_s: float) -> None:
    """Ask a process group to end, and kill what has not ended after `grace_s`."""
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while _signal(group, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal (0 sends none) to a process group; whether there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: of a group of zombies
        os.killpg(group, number)
        return True
    return False


def _tell(what: dict[str, object]) -> None:
    _write(1, json.dumps(what).encode() + b"\n")


def _write(pipe: int, data: bytes) -> None:
    """Write to who may be dead."""
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
