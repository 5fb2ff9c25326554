"""A clock that tests move: what sleeps by it takes no time, and is held up as long as the test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


class Clock:
    """Nanoseconds that pass while somebody sleeps, and a little at each look at the clock."""

    def __init__(self, tick_ns: int = 10_000) -> None:
        self.t_ns = 10**12
        self._tick_ns = tick_ns
        self.held_up_s: list[float] = []
        """So much longer than asked the next sleeps take."""
        self.tells: list[Callable[[int], None]] = []
        """Who hears of each new time: a stand-in that lives by this clock too."""

    @property
    def t_s(self) -> float:
        """The same in seconds."""
        return self.t_ns / 1e9

    def now_ns(self) -> int:
        """Tell the time, as `ipw.clock.now_ns` does."""
        return self._go_on(self._tick_ns)

    def sleep(self, seconds: float) -> None:
        """Take the place of `time.sleep`."""
        late_s = self.held_up_s.pop(0) if self.held_up_s else 0.0
        self._go_on(round(1e9 * (seconds + late_s)))

    def drives(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Let a module that asks `now_ns`, or sleeps with `time`, live by this clock. Returns the clock."""
        if hasattr(module, "now_ns"):
            monkeypatch.setattr(module, "now_ns", self.now_ns)
        if hasattr(module, "time"):
            ours = {"sleep": self.sleep, "monotonic_ns": self.now_ns, "monotonic": lambda: self.now_ns() / 1e9}
            monkeypatch.setattr(module, "time", SimpleNamespace(**(vars(time) | ours)))
        return self

    def _go_on(self, ns: int) -> int:
        self.t_ns += ns
        for tell in self.tells:
            tell(self.t_ns)
        return self.t_ns
