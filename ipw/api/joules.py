"""Joules of a stretch of a run, while it goes on and afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ipw.attribution.run import covered, summed_energy
from ipw.clock import now_ns
from ipw.energy.curve import Curve
from ipw.metrics.metric import BELOW_RESOLUTION, energy_facts
from ipw.metrics.stats import in_quadrature
from ipw.runs.curves import curves_of
from ipw.runs.directory import RunDir
from ipw.runs.one_clock import on_one_clock
from ipw.runs.readings import READINGS, Readings

MARGIN_NS = 10_000_000_000
"""Readings from so long before a stretch are looked at, to find the ticks around its start."""
PATIENCE_NS = 3_000_000_000
"""For readings from after a stretch: the sampler hands them on twice a second, and most counters tick oftener."""
LOOK_S = 0.02
NO_SENSOR = "no sensor can be read"

NOT_READ = "no reading of every sensor surrounds it"


class Energy(NamedTuple):
    """Joules, and the bounds of their 95 % interval; what is absent has a reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    channels: Mapping[str, float] = {}
    """Joules of every channel, whether in the total or not."""


class Joules:
    """Tells the joules of stretches of one run."""

    def __init__(self, run: RunDir, channels: Sequence[Mapping[str, Any]]) -> None:
        """`channels` are those of the manifest."""
        self._run, self._channels = run, channels
        self._total = [str(channel["name"]) for channel in channels if channel.get("in_total")]
        self._widening = energy_facts({"sensors": list(channels)}).widening
        """By how much of the joules an estimate may be off beside what its readings leave open."""
        self._whole: dict[str, Curve] | None = None

    def between(self, start_ns: int, end_ns: int, parts: Mapping[str, float] | None = None) -> Energy | None:
        """Joules over the channels in the total; `None` as long as readings do not surround the stretch.

        `parts` says, by channel name, which part of it to count: all where it says nothing.
        """
        if not self._total:
            return Energy(None, reason=NO_SENSOR)
        found = self._curves(start_ns)
        if not all(name in found and covered(found[name], start_ns, end_ns) for name in self._total):
            return None
        share = {name: np.array([(parts or {}).get(name, 1.0)]) for name in found}

        def joules(names: Sequence[str]) -> list[float]:
            return [float(x[0]) for x in summed_energy({n: found[n] for n in names}, [start_ns], [end_ns], share)]

        value, low, high = joules(self._total)
        each = {name: joules([name])[0] for name in found}
        below_resolution = high - low > value
        least, most = in_quadrature(value, value - low, high - value, self._widening)
        if below_resolution:
            return Energy(None, None, most, BELOW_RESOLUTION, each)
        return Energy(value, max(least or 0.0, 0.0), most, None, each)

    def awaited(self, start_ns: int, end_ns: int, parts: Mapping[str, float] | None = None) -> Energy:
        """The same, waiting for the readings as long as any can be expected."""
        while (energy := self.between(start_ns, end_ns, parts)) is None:
            if self._whole is not None or now_ns() - end_ns > PATIENCE_NS:
                return Energy(None, reason=self._lost(start_ns, end_ns) or NOT_READ)
            time.sleep(LOOK_S)
        return energy

    def known_until(self, start_ns: int) -> int:
        """Up to when readings of every channel in the total are there, if they begin before `start_ns`; else 0."""
        found = self._curves(start_ns) if self._total else {}
        return min((int(found[name].t_ns[-1]) if name in found else 0 for name in self._total), default=0)

    def _lost(self, start_ns: int, end_ns: int) -> str | None:
        """Say why energy of the stretch was lost, where it was."""
        for name, curve in self._curves(start_ns).items():
            overlaps = (curve.gaps_ns[:, 0] < end_ns) & (curve.gaps_ns[:, 1] > start_ns) & curve.gap_lost
            if name in self._total and overlaps.any():
                return f"{name}: {curve.gap_reasons[int(np.argmax(overlaps))]}"
        return None

    def keep(self) -> None:
        """Keep the curves of a run that has ended, before its readings become a table."""
        self._whole = self._drawn(self._run.readings())

    def _drawn(self, readings: Readings) -> dict[str, Curve]:
        found = curves_of(on_one_clock(readings, self._channels), self._channels)
        return {name: curve for name, curve in found.items() if curve.t_ns.size}

    def _curves(self, start_ns: int) -> dict[str, Curve]:
        """Curves of the channels that were read: around the stretch, or, once the run has ended, of all of it."""
        if self._whole is not None:
            return self._whole
        if (self._run.path / READINGS).is_file():
            return self._drawn(self._run.recent_readings(start_ns - MARGIN_NS))
        self._whole = self._drawn(self._run.readings())
        return self._whole
