"""Steps, evaluations and checkpoints of a training loop that somebody else runs, and their joules as it goes on."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

from ipw.api.joules import Energy
from ipw.api.session import Meter, running
from ipw.clock import now_ns
from ipw.metering import accelerator
from ipw.runs.recorded import is_estimate

NEWS_SHARE = 1 / 400
"""Of the time may go into reading the sensors' news."""
ENERGY_PER_STEP, ENERGY, POWER = "energy_per_step_j", "train_energy_j", "power_w"


class Stretch(NamedTuple):
    """Training without evaluation or saving, from one moment at which the device had done its work to another."""

    start_ns: int
    end_ns: int
    steps: int


class TrainingMeter:
    """Marks a training loop in the meter that is open, or in one of its own.

    The device is not waited for at every step, which would slow training down, but at edges: where the loop logs,
    evaluates or saves. Joules between edges are right; those of single steps on a GPU go by when the host gave the
    work out.
    """

    def __init__(self, method: str, sensors: str, idle_s: float, out: str | Path) -> None:
        """Start the sensors, unless an `ipw.Meter` is open. `method` stands in `steps.parquet`."""
        self._own = not running
        self.meter = Meter(method, sensors=sensors, idle_s=idle_s, out=out) if self._own else running[-1]
        self._journal = self.meter.inner.journal
        self._method = method
        self._step_ns: int | None = None
        self._edge_ns = now_ns()
        self._steps = 0
        self._untold: list[Stretch] = []
        self._told_j, self._told_steps = 0.0, 0
        self._silent_until_ns = 0
        self.meter.joules.between(self._edge_ns, self._edge_ns)  # so that the first news does not pay for imports
        estimated = is_estimate(self.meter.inner.method)
        self._prefix = "estimated_" if estimated else ""

    def begin_step(self) -> None:
        """Mark the start of an optimizer step, unless one is on."""
        if self._step_ns is None:
            self._step_ns = now_ns()

    def end_step(self, step: int, *, tokens: int | None = None, status: str = "ok") -> None:
        """Journal the step that is on."""
        if self._step_ns is not None:
            self._journal.append("step", {
                "method": self._method, "step": step, "start_ns": self._step_ns, "end_ns": now_ns(), "tokens": tokens,
                "peak_memory_bytes": peak_memory_bytes(), "status": status,
            })  # fmt: skip
            self._step_ns = None
            self._steps += status == "ok"

    def loss(self, step: int, loss: float) -> None:
        """Journal the loss that the trainer told at a step."""
        told = loss if math.isfinite(loss) else None
        self._journal.append("loss", {"method": self._method, "step": step, "loss": told})

    def edge(self) -> None:
        """End a stretch of training here, once the device has done its work."""
        accelerator.synchronise()
        now = now_ns()
        if self._steps:
            last = self._untold[-1] if self._untold else None
            if last and last.end_ns == self._edge_ns:
                self._untold[-1] = Stretch(last.start_ns, now, last.steps + self._steps)
            else:
                self._untold.append(Stretch(self._edge_ns, now, self._steps))
        self._edge_ns, self._steps = now, 0

    def aside(self, phase: str) -> None:
        """Take what went on since the last edge as something else than training, such as `evaluation`."""
        accelerator.synchronise()
        start_ns, self._edge_ns = self._edge_ns, now_ns()
        span = self.meter.inner.span(phase, phase)
        span.start_ns = start_ns
        span.end()

    def news(self, *, wait: bool = False) -> dict[str, float]:
        """What to log: joules a step and watts since the last news, joules of all training so far.

        Only readings that are there already are used, so news is up to a second old, and empty while there is none, or
        where looking for it would slow down training that logs often; with `wait`, it is complete, as far as sensors
        tell.
        """
        if now_ns() < self._silent_until_ns and not wait:
            return {}
        before_ns = time.thread_time_ns()
        joules, seconds, steps = 0.0, 0.0, 0
        while self._untold:
            stretch = self._untold[0]
            read = self.meter.joules.awaited if wait else self.meter.joules.between
            energy: Energy | None = read(stretch.start_ns, stretch.end_ns)
            if energy is None or energy.value is None:
                break
            joules, seconds = joules + energy.value, seconds + (stretch.end_ns - stretch.start_ns) / 1e9
            steps += stretch.steps
            del self._untold[0]
        self._silent_until_ns = now_ns() + int((time.thread_time_ns() - before_ns) / NEWS_SHARE)
        self._told_j += joules
        self._told_steps += steps
        if not steps:
            return {}
        told = {ENERGY_PER_STEP: joules / steps, POWER: joules / seconds, ENERGY: self._told_j}
        return {self._prefix + name: value for name, value in told.items()}

    def total(self) -> dict[str, float]:
        """Joules of all training, and a step's mean; waits for the last readings."""
        self.news(wait=True)
        if not self._told_steps:
            return {}
        told = {ENERGY: self._told_j, ENERGY_PER_STEP: self._told_j / self._told_steps}
        return {self._prefix + name: value for name, value in told.items()}

    def close(self, step: int = 0, error: BaseException | None = None) -> None:
        """End; a step that is on was interrupted. A meter that was open before stays open."""
        self.end_step(step, status="interrupted")
        if self._own:
            self.meter.close(error)


def peak_memory_bytes() -> int | None:
    """The most that PyTorch has held on the current GPU so far; `None` where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
