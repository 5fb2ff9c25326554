"""Steps, evaluations and checkpoints of a training loop that somebody else runs, and their joules as it goes on."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ipw.api.session import Meter, running
from ipw.clock import now_ns
from ipw.metering import accelerator
from ipw.metrics.metric import BELOW_RESOLUTION
from ipw.runs.readings import is_estimate

NEWS_SHARE = 1 / 400
"""Of the time may go into reading the sensors' news."""
ENERGY_PER_STEP, ENERGY, POWER = "energy_per_step_j", "train_energy_j", "power_w"


MOST_UNTOLD = 1000
"""So many stretches are kept until their readings are there; beyond, neighbours are joined."""


class Stretch(NamedTuple):
    """Training without evaluation or saving, from the end of one step or edge to another."""

    start_ns: int
    end_ns: int
    steps: int


class TrainingMeter:
    """Marks a training loop in the meter that is open, or in one of its own.

    The device is not waited for at every step, which would slow training down, but at edges: where the loop logs,
    evaluates or saves. Joules between edges are right; those of single steps on a GPU go by when the host gave the
    work out, and so does the last step that a log tells of.
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
        self._incomplete = self._waited = False
        self._last: dict[str, float] = {}
        self._silent_until_ns = 0
        self.meter.joules.between(self._edge_ns, self._edge_ns)  # so that the first news does not pay for imports
        self._total = [str(channel["name"]) for channel in self.meter.inner.channels if channel.get("in_total")]
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
            self._mark(now_ns())

    def loss(self, step: int, loss: float) -> None:
        """Journal the loss that the trainer told at a step."""
        told = loss if math.isfinite(loss) else None
        self._journal.append("loss", {"method": self._method, "step": step, "loss": told})

    def edge(self) -> None:
        """End a stretch of training here, once the device has done its work."""
        accelerator.synchronise()
        now, last = now_ns(), self._untold[-1] if self._untold else None
        if last and last.end_ns == self._edge_ns and not self._steps:  # waiting for the device was still the last step
            self._untold[-1] = last._replace(end_ns=now)
            self._edge_ns = now
        else:
            self._mark(now)

    def _mark(self, now: int) -> None:
        """End a stretch here, if it holds a step."""
        if self._steps:
            self._untold.append(Stretch(self._edge_ns, now, self._steps))
        self._edge_ns, self._steps = now, 0
        if len(self._untold) > MOST_UNTOLD:
            self._untold = [each for k in range(0, len(self._untold), 2) for each in joined(self._untold[k : k + 2])]

    def aside(self, phase: str) -> None:
        """Take what went on since the last edge as something else than training, such as `evaluation`."""
        accelerator.synchronise()
        start_ns, self._edge_ns = self._edge_ns, now_ns()
        span = self.meter.inner.span(phase, phase)
        span.start_ns = start_ns
        span.end()

    def news(self, *, wait: bool = False) -> dict[str, float]:
        """What to log: joules a step and watts since the last news, joules of all training so far.

        Readings are told twice a second or so, so news is of the steps up to half a second ago. The first waits for
        readings, since nothing is known before. Where nothing new is known, or looking for it would slow down training
        that logs often, the last news is told again; with `wait`, it is complete, as far as sensors tell.
        """
        if self._untold and (wait or now_ns() >= self._silent_until_ns):
            first, self._waited = not self._waited, True
            before_ns = time.thread_time_ns()
            until_ns = self._until(wait=wait or first)
            before_ns = time.thread_time_ns() if first else before_ns
            self._tell(until_ns, last=wait)
            self._silent_until_ns = now_ns() + int((time.thread_time_ns() - before_ns) / NEWS_SHARE)
        return dict(self._last)

    def _until(self, *, wait: bool) -> int:
        """Up to when joules are known, or may be expected to be once this has waited for them."""
        start_ns, end_ns = self._untold[0].start_ns, self._untold[-1].end_ns
        if not wait:
            return self.meter.joules.known_until(start_ns)
        self.meter.joules.awaited(start_ns, end_ns)
        return end_ns

    def _tell(self, until_ns: int, *, last: bool) -> None:
        ripe = [each for each in self._untold if each.end_ns <= until_ns]
        later = self._untold[len(ripe) :]
        joules, seconds, steps, chunks = 0.0, 0.0, 0, joined(ripe)
        for chunk in chunks:
            energy = self.meter.joules.between(chunk.start_ns, chunk.end_ns)
            unresolved = energy is not None and energy.reason == BELOW_RESOLUTION
            if energy is None or (energy.value is None and not unresolved):
                self._incomplete = True
            elif unresolved and chunk is chunks[-1] and not last:
                later = [chunk, *later]  # together with the next steps it may be seen
            else:  # of a short stretch that is told no more, the likeliest joules: in the sum of all they are right
                joules += sum(energy.channels.get(name, 0.0) for name in self._total)
                seconds += (chunk.end_ns - chunk.start_ns) / 1e9
                steps += chunk.steps
        self._untold = later
        self._told_j += joules
        self._told_steps += steps
        if steps:
            told = {ENERGY_PER_STEP: joules / steps, POWER: joules / seconds} | self._all()
            self._last = {self._prefix + name: value for name, value in told.items()}

    def _all(self) -> dict[str, float]:
        """Joules of all training so far; nothing where some were lost."""
        return {} if self._incomplete else {ENERGY: self._told_j}

    def total(self) -> dict[str, float]:
        """Joules of all training, and a step's mean; waits for the last readings."""
        self.news(wait=True)
        if not self._told_steps:
            return {}
        told = self._all() | {ENERGY_PER_STEP: self._told_j / self._told_steps}
        return {self._prefix + name: value for name, value in told.items()}

    def close(self, step: int = 0, error: BaseException | None = None) -> None:
        """End; a step that is on was interrupted. A meter that was open before stays open."""
        self.end_step(step, status="interrupted")
        if self._own:
            self.meter.close(error)


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Make one of those that follow one another without a pause."""
    found: list[Stretch] = []
    for each in stretches:
        if found and found[-1].end_ns == each.start_ns:
            found[-1] = Stretch(found[-1].start_ns, each.end_ns, found[-1].steps + each.steps)
        else:
            found.append(each)
    return found


def peak_memory_bytes() -> int | None:
    """The most that PyTorch has held on the current GPU so far; `None` where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
