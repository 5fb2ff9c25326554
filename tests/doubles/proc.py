"""A stand-in for /proc: what all CPUs worked, and what processes did and whom they started."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

TICKS = os.sysconf("SC_CLK_TCK")
LENGTH = 400
"""Of each file, so that none is cut off while it is written."""


class Proc:
    """A tree in a folder, for `IPW_PROC`."""

    def __init__(self, root: Path) -> None:
        """Make one whose CPUs have done nothing."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.host(0.0)

    def host(self, busy_s: float, idle_s: float = 1000.0) -> None:
        """Let all CPUs have worked so long, half of it in the kernel; waiting, stolen time and guests are no work."""
        half = round(busy_s * TICKS / 2)
        words = [half, 0, half, round(idle_s * TICKS), 999, 0, 0, 777, half, 0]
        self._write(self.root / "stat", f"cpu  {' '.join(map(str, words))}\ncpu0 1 2 3 4 5 6 7 8 9 10\n")

    def process(self, pid: int, *, own_s: float = 0.0, waited_s: float = 0.0, **threads: list[int]) -> None:
        """Let a process have worked so long, and those of its children that ended; `threads` name whom they started."""
        folder = self.root / str(pid)
        for number, (_, children) in enumerate((threads or {"main": []}).items()):
            task = folder / "task" / str(pid + number)
            task.mkdir(parents=True, exist_ok=True)
            (task / "children").write_text("".join(f"{child} " for child in children))
        own, waited = (round(seconds * TICKS) for seconds in (own_s, waited_s))
        before = "0 " * 10
        self._write(folder / "stat", f"{pid} (a) (b) c) S {before}{own} 0 {waited} 0 20 0 1 0 5\n")

    def newest(self, pid: int) -> None:
        """Let this be the process that was started last."""
        self._write(self.root / "loadavg", f"0.52 0.40 0.31 2/345 {pid}\n")

    def end(self, pid: int) -> None:
        """Let a process be gone; who still holds its file open reads nothing."""
        os.truncate(self.root / str(pid) / "stat", 0)
        for path in sorted((self.root / str(pid)).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.root / str(pid)).rmdir()

    @contextmanager
    def busy(self, others: float, own: Mapping[int, float]) -> Iterator[None]:
        """Let others, and these processes, use so many CPUs from now on."""
        stop, start_s = threading.Event(), monotonic()

        def work() -> None:
            while not stop.wait(0.02):
                seconds = monotonic() - start_s
                self.host(seconds * (others + sum(own.values())))
                for pid, cpus in own.items():
                    self.process(pid, own_s=seconds * cpus)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _write(self, path: Path, text: str) -> None:
        """Change a file in place and at once: the true ones can be kept open, and a read of them is whole."""
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(file, text.encode().ljust(LENGTH), 0)
        finally:
            os.close(file)
