"""A process that ends with the one that started it, however that ends. Two ways, since each has a gap.

A pipe whose other end only the parent holds: its end is seen on every system, by a thread that waits for it. But a
library that keeps Python's lock for minutes, as llama.cpp's does while it loads a model, keeps that thread waiting too.

On Linux the kernel sends a signal (prctl(2), PR_SET_PDEATHSIG). It does so when the *thread* that started us ends, so
a server is started by a thread that outlives it: the one that holds the `with` around it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h. The setting survives execve, and is no child's of ours."""


def end_with_parent() -> None:
    """Let this process end when its standard input closes, or its parent dies. To be called first of all."""
    at_death_of_parent(signal.SIGKILL)()
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def at_death_of_parent(number: signal.Signals) -> Callable[[], None]:
    """Make a function that has the kernel send the calling process a signal when its parent dies, where it can.

    All that it needs is loaded here, so that it can be called between fork and exec.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)  # nothing is left to save, and requests in flight would hold an orderly end up
