"""Threads that ask now and then, taken through their rounds one by one: each wait ends when the test says so."""

from __future__ import annotations

import queue
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.patience import LONG_S


class Steps:
    """Takes the place of `threading` in a module whose threads wait for an event between two rounds."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch, clock: Clock | None = None) -> None:
        """Where there is a clock, it goes on by as much as is waited for."""
        self.waits_s: queue.Queue[float] = queue.Queue()
        self._go: queue.Queue[bool] = queue.Queue()
        steps = self

        class Event(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                steps.waits_s.put(timeout or 0.0)
                while not self.is_set():
                    try:
                        steps._go.get(timeout=0.005)
                    except queue.Empty:
                        continue
                    break
                if clock is not None:
                    clock.sleep(timeout or 0.0)
                return self.is_set()

        ours: dict[str, Any] = vars(threading) | {"Event": Event}
        monkeypatch.setattr(module, "threading", SimpleNamespace(**ours))

    def waited_s(self) -> float:
        """Give the seconds for which the thread waits next, once it does."""
        return self.waits_s.get(timeout=LONG_S)

    def go_on(self) -> None:
        """Let it do another round."""
        self._go.put(True)
