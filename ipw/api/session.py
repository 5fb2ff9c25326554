"""Sensors that stay on in people's own programs, and the blocks that are measured meanwhile."""

from __future__ import annotations

import atexit
import datetime as dt
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ipw.api import given
from ipw.api.joules import Energy, Joules
from ipw.errors import UsageError
from ipw.metering import accelerator
from ipw.metering.meter import Span, open_meter

lock = threading.RLock()
"""Held where meters are opened and closed."""
running: list[Meter] = []
"""Meters of this process that run, the newest last."""


class Meter:
    """Sensors that stay on while blocks are measured: `begin(name)` and `end(name)`, or `with meter.measure(name)`.

    It starts when it is made, and runs until `close`, the end of its `with`, or the end of the program. Meanwhile
    `ipw.measure` and `@ipw.measured` measure with it instead of starting sensors of their own. Blocks may be nested,
    overlap, be repeated, fail, and begin in one thread and end in another.
    """

    def __init__(
        self,
        name: str = "meter",
        *,
        sensors: str = "auto",
        idle_s: float = 0.0,
        out: str | Path = "runs",
        workload: Mapping[str, Any] | None = None,
    ) -> None:
        """Start the sensors and a run directory below `out`, which takes about half a second; then idle for `idle_s`.

        `workload` replaces the one in the manifest. Raises UsageError for a sensor that nobody knows, IpwError where
        the run cannot be written.
        """
        given.text(name, "the name of a meter or a block", 'ipw.Meter("training")')
        given.text(sensors, "sensors", 'ipw.Meter("training", sensors="nvml,rapl")')
        given.path(out, "out", 'ipw.Meter("training", out="runs")')
        given.seconds(idle_s, "idle_s", 'ipw.Meter("training", idle_s=3.0)')
        told = {"kind": "command", "parameters": {"block": name, "idle_s": idle_s}}
        self.inner = open_meter(Path(out), name, {"workload": workload or told}, sensors).__enter__()
        """What starts and stops the sensors."""
        self.path = self.inner.run.path
        """The run directory."""
        self.joules = Joules(self.inner.run, self.inner.channels)
        self.summary: dict[str, Any] | None = None
        """Every metric of the run, with its interval; `None` until it is closed."""
        self._idle_s, self._pid = idle_s, os.getpid()
        self.closed = False
        self._begun: dict[str, Measurement] = {}
        with lock:
            running.append(self)
        atexit.register(self._close_at_exit)
        self.inner.idle("idle before", idle_s)
        self._window = self.inner.span(name, self.inner.window_phase).begin()

    def whole(self) -> Measurement:
        """Make the block that is all there is to measure. Of several ranks, it is a block like any other."""
        if self.inner.rank is not None:
            return self.measure(self._window.name)
        self._window = block = self.measure(self._window.name, self._window.phase)
        return block

    def measure(self, name: str = "block", phase: str = "span") -> Measurement:
        """Measure the code inside: `with meter.measure("step") as m: work()`. Raises UsageError on a closed meter.

        Likewise for a name that is no text.
        """
        if self.closed:
            raise UsageError("the meter is closed", "open another: ipw.Meter()")
        given.text(name, "the name of a block", 'meter.measure("step")')
        return Measurement(self, name, phase)

    def begin(self, name: str) -> None:
        """Begin a block. Raises UsageError where one of that name is open, or the meter is closed."""
        block = self.measure(name)
        if self._begun.setdefault(name, block) is not block:
            raise UsageError(f"block {name!r} has begun already", "end it first, or give this one another name")
        try:
            block.begin()
        except BaseException:  # the device is broken
            del self._begun[name]
            raise

    def end(self, name: str) -> Measurement:
        """End a block. The sensors stay on. Raises UsageError where no block of that name was begun."""
        block = self._begun.pop(name, None)
        if block is None:
            raise UsageError(f"block {name!r} was not begun", f"call begin({name!r}) before")
        block.end()
        return block

    def close(self, error: BaseException | None = None) -> None:
        """End the run: stop the sensors, derive every number, write the page. Harmless to call twice.

        Blocks that are still open end as interrupted. With `error`, that is why the run ended.
        """
        if not self._stop(error) or not self.inner.measures:
            return
        from ipw.pipeline import finish, finish_apart

        if _may_derive():
            self.summary = finish(self.inner.run)
            return
        self.joules.keep()
        if finish_apart(self.inner.run):
            self.summary = self.inner.run.summary()

    def _close_at_exit(self) -> None:
        """Let a child derive: a program that ends may start no threads."""
        if self._stop(None) and self.inner.measures:
            from ipw.pipeline import finish_apart

            finish_apart(self.inner.run)

    def _stop(self, error: BaseException | None) -> bool:
        """Stop the sensors; whether this was the first call, in the process that started them."""
        with lock:
            if self.closed or os.getpid() != self._pid:  # a forked child's copy is not its own to close
                return False
            self.closed = True
            running.remove(self)
        for name in list(self._begun):
            self._begun.pop(name).end(KeyboardInterrupt("the meter was closed"))
        try:
            self.inner.gather()
            if self._window.end_ns is None:
                self._window.end(error)
            self.inner.idle("idle after", self._idle_s)
        finally:
            self.inner.__exit__(type(error) if error else None, error, None)
            atexit.unregister(self._close_at_exit)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(error)

    def _repr_html_(self) -> str:
        from ipw.api.notebook import run_html

        return run_html(self.inner.run)


def _may_derive() -> bool:
    """Whether this process may start threads and import Arrow.

    Not once its main thread has ended; nor while a test freezes time: Arrow takes `datetime`'s types for Python's own.
    """
    return threading.main_thread().is_alive() and dt.datetime.__module__ == "datetime"


class Measurement(Span):
    """One block: a context that yields itself. Its joules can be asked for as soon as it has ended."""

    __slots__ = ("_energy", "meter")

    def __init__(self, meter: Meter, name: str, phase: str) -> None:
        super().__init__(meter.inner.journal, name, phase)
        self.meter = meter
        self._energy: Energy | None = None

    def span(self, name: str, phase: str = "span") -> Measurement:
        """Measure a part of the block: `with m.span("forward", phase="forward"): ...`."""
        return self.meter.measure(name, phase)

    def begin(self) -> Self:
        """Wait for the accelerator, and start."""
        accelerator.synchronise()
        return super().begin()

    def end(self, error: BaseException | None = None) -> None:
        """Wait for the accelerator, end, and journal it. What the device raises then is the error of this block.

        A block that outlasts its meter is not kept.
        """
        try:
            accelerator.synchronise()
        except Exception as broken:
            self._end(error or broken)
            if error is None:
                raise
        else:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        try:
            super().end(error)
        except ValueError:  # the journal is closed
            if not self.meter.closed:
                raise

    def __enter__(self) -> Self:
        return self.begin()

    @property
    def duration_s(self) -> float | None:
        """Seconds from begin to end; `None` before the end."""
        return None if self.end_ns is None else (self.end_ns - self.start_ns) / 1e9

    @property
    def energy(self) -> Energy:
        """All that the devices in the basis drew from begin to end, with its interval, or the reason for its absence.

        Right after the end, this waits for the next readings of every sensor, about half a second: ask later to lose
        no time. One of several ranks is told its own GPUs, and an equal part of what the ranks share.
        """
        if self.end_ns is None:
            return Energy(None, reason="the block has not ended")
        if self._energy is None:
            self._energy = self.meter.joules.awaited(self.start_ns, self.end_ns, self.meter.inner.parts())
        return self._energy

    @property
    def energy_j(self) -> float | None:
        """Joules, as in `energy`; `None` before the end, without a sensor, and below the sensors' resolution."""
        return self.energy.value

    @property
    def facts(self) -> dict[str, Any]:
        """What the joules are of, and how they were measured."""
        return {"basis": self.meter.inner.basis, "method": self.meter.inner.method}

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.meter.path

    @property
    def summary(self) -> dict[str, Any] | None:
        """Every metric of the whole run; `None` until the meter is closed: for a lone block, until its end."""
        return self.meter.summary

    def __repr__(self) -> str:
        from ipw.api.notebook import block_text

        return block_text(self)

    def _repr_html_(self) -> str:
        from ipw.api.notebook import block_html

        return block_html(self)
