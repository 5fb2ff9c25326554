"""Keeps a server and all that it starts: `python -m ipw.workloads.lm.server_keeper COMMAND…`.

The server runs in a session of its own, and writes to our standard error. One line of JSON on standard output says
`{"pid": …}` or `{"error": …}`. When standard input closes, which the end of the parent brings about however it
ends, the whole process group is asked to end and, where it does not, killed. So is what a server leaves behind that
ends by itself; then this process exits with the server's code.
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

GRACE_S = 10.0
"""For freeing a GPU's memory; vLLM takes a few seconds."""
ORPHANS_S = 2.0


def main(command: Sequence[str]) -> int:
    """Start `command` and keep it until it or our standard input ends. Returns its exit code."""
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)
    except OSError as error:
        _tell({"error": f"cannot start {command[0]}: {error.strerror}"})
        return 1
    _tell({"pid": server.pid})
    threading.Thread(target=_stop_at_end_of_input, args=(server.pid,), daemon=True).start()
    code = server.wait()
    _end_group(server.pid)
    return code if code >= 0 else 128 - code


def _stop_at_end_of_input(group: int) -> None:
    while os.read(0, 4096):
        pass
    _signal(group, signal.SIGTERM)
    time.sleep(GRACE_S)
    _signal(group, signal.SIGKILL)


def _end_group(group: int) -> None:
    """End what the server has left running."""
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + ORPHANS_S
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
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
