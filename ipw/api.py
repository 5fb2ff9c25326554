"""The public Python interface: measure a block of code, and open what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ipw.meter import Meter
from ipw.rundir import RunDir


class Measurement:
    """What `measure` yields: mark spans inside the block, read the summary behind it."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.path = meter.run.path
        """The run directory."""
        self.summary: dict[str, Any] | None = None
        """Every metric with its interval; `None` until the block has ended."""

    def span(self, name: str, phase: str = "span") -> AbstractContextManager[None]:
        """Mark what is done inside as one interval of the given phase."""
        return self._meter.span(name, phase)

    @property
    def energy_j(self) -> float | None:
        """Joules of the block over all channels in the basis; `None` before its end, or without a sensor."""
        return None if self.summary is None else self.summary["metrics"]["energy_j"]["value"]


@contextmanager
def measure(
    name: str = "block", *, sensors: str = "auto", idle_s: float = 0.0, out: str | Path = "runs"
) -> Iterator[Measurement]:
    """Measure the code inside: `with ipw.measure() as m: work()`, then `m.energy_j` and `m.summary`.

    Work on an accelerator must be synchronised with the device at the block's end, or it is charged to what follows.
    """
    from ipw.pipeline import finish

    run = RunDir.create(Path(out), name)
    workload = {"kind": "command", "parameters": {"block": name, "idle_s": idle_s}}
    with Meter(run, {"workload": workload}, sensors) as meter:
        meter.idle("idle before", idle_s)
        measurement = Measurement(meter)
        with meter.span(name, "measure"):
            yield measurement
        meter.idle("idle after", idle_s)
    measurement.summary = finish(run)


def load_run(path: str | Path) -> RunDir:
    """Open a run directory. Raises UsageError where there is none."""
    return RunDir.open(Path(path))
