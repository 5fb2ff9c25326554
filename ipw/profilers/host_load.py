"""How busy the CPUs are, and how busy with this run: two gauges beside the sensors, looked at once a second.

What all CPUs have worked comes from /proc/stat. What this run has is the time of the processes that it began in and of
all that they started, ended children included, and of a measured server that was there before. The rest is others'.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from time import process_time

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.sources import Sources
from ipw.system import busy_cpu_s, tree_cpu_s

PROC = "/proc"
HOST, OWN = "load/host", "load/own"
POLL_S, SLOW_POLL_S = 1.0, 5.0
"""The second where processes are to be had through psutil only, which asks for all of the machine's."""
SHARED_NS = 50_000_000
"""Both gauges tell of one look."""
MOST_PROCESSES = 4096
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 1_000_000_000, 8_000_000_000
"""Where others start processes all the time and the run none, it is looked for the run's own ever more seldom."""
BUSY = (1, 2, 3, 6, 7)
"""Of the first line of /proc/stat: user, nice, system, irq and softirq. Guests are in user; stolen time is no work."""
TIMES = slice(11, 15)
"""Of a process's stat, behind its name: its own time, and that of children that it waited for, in user and kernel."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
BLOCK = 4096
KEPT = 64
"""So many files are kept open, since that a file is opened costs more than that it is read."""
COST, LONGEST_POLL_S = 2e-4, 4.0
"""A look may cost such a part of a core, or it is taken more seldom: on large hosts /proc/stat takes a millisecond."""


def open_load(roots: Iterable[int]) -> Sources | None:
    """Open the gauges of a run whose processes are these and what they start; `None` where the system tells no load."""
    looks = _Looks(Path(os.environ.get("IPW_PROC", PROC)), tuple(dict.fromkeys(roots)))
    if looks.take() is None:
        return None
    before_s = process_time()
    looks.take()
    affordable_s = (process_time() - before_s) / COST
    sources = []
    for name, place, note in ((HOST, 0, "all that the CPUs worked"), (OWN, 1, "what they worked for this run")):
        channel = Channel(
            name=name,
            kind="gauge",
            scope="system",
            method="counter",
            unit="s",
            poll_s=min(max(POLL_S, affordable_s), LONGEST_POLL_S) if looks.fast else SLOW_POLL_S,
            note=f"CPU seconds: {note}",
        )
        sources.append((channel, partial(looks.read, place)))
    return Sources(sources, looks.files.close)


class _Looks:
    """Looks at both at once."""

    def __init__(self, proc: Path, roots: tuple[int, ...]) -> None:
        self._proc, self._roots = str(proc), roots
        self.fast = (proc / "stat").is_file()
        self._by_psutil = "IPW_PROC" not in os.environ
        self.files = Files()
        self._newest = b""
        self._pids: list[int] = []
        self._again_ns = self._pause_ns = 0
        self._seen_s = self._lost_s = 0.0
        self._last: tuple[int, int, tuple[float, float]] | None = None

    def read(self, place: int) -> Reading:
        """Give one of the two."""
        if self._last is None or now_ns() - self._last[0] > SHARED_NS:
            before = now_ns()
            told = self.take()
            if told is None:
                raise SensorError("lost", "the system no longer tells how busy its CPUs are")
            half = (now_ns() - before) // 2
            self._last = (before + half, half, told)
        t_ns, half, values = self._last
        return Reading(t_ns, values[place], half)

    def take(self) -> tuple[float, float] | None:
        """Tell CPU seconds of the host and of this run; `None` where the system does not."""
        host_s = host_cpu_s(self._proc, self.files) if self.fast else busy_cpu_s() if self._by_psutil else None
        own_s = self._own_s() if self.fast else tree_cpu_s(self._roots)
        if host_s is None or own_s is None:
            return None
        # A process whose end nobody waited for takes its time with it.
        self._lost_s += max(self._seen_s - own_s, 0.0)
        self._seen_s = own_s
        return host_s, own_s + self._lost_s

    def _own_s(self) -> float:
        """Sum what the run's processes worked. They are looked for again where anybody started one since."""
        newest = newest_process(self._proc, self.files)
        if newest is None or (newest != self._newest and now_ns() >= self._again_ns):
            pids = list(tree(self._proc, self._roots))
            same = pids == self._pids
            self._pause_ns = min(max(2 * self._pause_ns, FIRST_PAUSE_NS), LONGEST_PAUSE_NS) if same else 0
            self._again_ns = now_ns() + self._pause_ns
            for gone in set(self._pids) - set(pids):
                self.files.forget(f"{self._proc}/{gone}/stat")
            self._newest, self._pids = newest or b"", pids
        return processes_cpu_s(self._proc, self._pids, self.files)


class Files:
    """Files of the kernel's that are read again and again, each by its first block: all that is wanted of them."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        """Read a file as it is now. Raises OSError, and what was kept is forgotten."""
        kept = self._kept.get(path)
        file = os.open(path, os.O_RDONLY) if kept is None else kept
        if kept is None and len(self._kept) < KEPT:
            self._kept[path] = kept = file
        try:
            return os.pread(file, BLOCK, 0)
        except OSError:
            self.forget(path)
            raise
        finally:
            if kept is None:
                os.close(file)

    def forget(self, path: str) -> None:
        """Close a file."""
        kept = self._kept.pop(path, None)
        if kept is not None:
            os.close(kept)

    def close(self) -> None:
        """Close them all."""
        for path in list(self._kept):
            self.forget(path)


def host_cpu_s(proc: str, files: Files) -> float | None:
    """Read what all CPUs have worked since the start; `None` where that cannot be."""
    try:
        words = files.read(f"{proc}/stat").partition(b"\n")[0].split()
        return sum(int(words[k]) for k in BUSY) / TICKS_PER_S
    except (OSError, ValueError, IndexError):
        return None


def processes_cpu_s(proc: str, pids: Iterable[int], files: Files) -> float:
    """Sum what these processes, and their children that ended, have worked. One that is gone adds nothing."""
    ticks = 0
    for pid in pids:
        try:
            stat = files.read(f"{proc}/{pid}/stat")
            ticks += sum(map(int, stat[stat.rindex(b")") + 2 :].split(None, TIMES.stop)[TIMES]))
        except (OSError, ValueError):
            continue
    return ticks / TICKS_PER_S


def newest_process(proc: str, files: Files) -> bytes | None:
    """Name the process or thread that was started last on this system; `None` where the system does not tell."""
    try:
        newest = files.read(f"{proc}/loadavg").split()[4]
    except (OSError, IndexError):
        return None
    return newest if newest.isdigit() and int(newest) > 0 else None


def tree(proc: str, roots: Iterable[int]) -> Iterator[int]:
    """Yield processes and all that they started, each once."""
    left = list(roots)
    seen: set[int] = set()
    while left and len(seen) < MOST_PROCESSES:
        pid = left.pop()
        if pid in seen:
            continue
        seen.add(pid)
        yield pid
        try:
            for thread in os.listdir(f"{proc}/{pid}/task"):  # noqa: PTH208 - paths cost more than the calls
                left += map(int, _whole(f"{proc}/{pid}/task/{thread}/children").split())
        except (OSError, ValueError):
            continue


def _whole(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        text = block = os.read(file, BLOCK)
        while block:
            block = os.read(file, BLOCK)
            text += block
        return text
    finally:
        os.close(file)
