"""One metric as it stands in `summary.json`, and what holds for every joule of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ipw.metrics.definitions import Definition
from ipw.metrics.stats import Interval
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import Recorded
from ipw.shapes import finite

BELOW_RESOLUTION = "below resolution"
IMPORTED = "imported:"
"""With it begins the basis of runs that another tool measured; the tool's name follows."""
Metric = dict[str, Any]
"""`value`, `low`, `high`, `unit`, `n`, `method`, `interval` (how it was made), `reason`, `gain_rel`."""


class Estimate(NamedTuple):
    """A value with its measurement interval; both bounds or neither are known."""

    value: float
    below: float | None
    """How far the truth may lie below the value."""
    above: float | None

    def scaled(self, factor: float) -> Estimate:
        """Multiply by a positive exact number."""
        return Estimate(self.value * factor, _times(self.below, factor), _times(self.above, factor))

    def with_lost(self, attribution: Mapping[str, Any]) -> Estimate:
        """Let the truth be above by what may have been drawn while nobody saw it."""
        lost_j = number(attribution.get("lost_j")) or 0.0
        return self._replace(above=None if self.above is None else self.above + lost_j)

    def moved(self, by: float) -> Estimate:
        """Tell another value between the same bounds."""
        below, above = self.below, self.above
        return Estimate(
            self.value + by,
            None if below is None else max(below + by, 0.0),
            None if above is None else max(above - by, 0.0),
        )

    def minus(self, other: Estimate) -> Estimate:
        """Subtract an independent quantity."""
        return Estimate(self.value - other.value, _hypot(self.below, other.above), _hypot(self.above, other.below))


class EnergyFacts(NamedTuple):
    """Where a run's joules come from."""

    method: str | None
    absent: str
    """Why a joule is missing, where it is."""
    gain_rel: float | None
    """Half-width of the gain's 95 % interval. It is common to the whole run: it cancels between runs on one device,
    and belongs in claims across devices."""

    @property
    def widening(self) -> float:
        """Tell how much gain every interval includes: all of it for an estimate, none for a measurement."""
        return (self.gain_rel or 0.0) if is_estimate(self.method) else 0.0


def energy_facts(manifest: Mapping[str, Any]) -> EnergyFacts:
    """Read method, gain and reason of absence from the attribution, or else from the channels in the total."""
    recorded = Recorded(manifest)
    attribution, total = recorded.attribution, recorded.in_total
    method = attribution.get("method") or manifest.get("method")
    method = str(method or "+".join(sorted({str(c.get("method")) for c in total}))) or None
    gains = [gain for c in total if (gain := number(c.get("gain_rel"))) is not None]
    gain = number(attribution.get("gain_rel"))
    reason = manifest.get("basis_reason") or manifest.get("attribution_reason")
    absent = reason or ("energy was not attributed" if total else "no sensor could be read")
    return EnergyFacts(method, str(recorded.unseen or absent), gain if gain is not None else max(gains, default=None))


def metric(
    definition: Definition,
    value: float | None,
    interval: Interval = (None, None),
    *,
    n: int | None = None,
    method: str | None = None,
    interval_by: str | None = None,
    energy: EnergyFacts | None = None,
    reason: str | None = None,
) -> Metric:
    """Make one entry of the summary; with `energy`, its method and gain are the run's."""
    low, high = interval
    entry: Metric = {
        "value": value,
        "low": low,
        "high": high,
        "unit": definition.unit,
        "n": n,
        "method": energy.method if energy else method,
        "interval": interval_by if low is not None or high is not None else None,
        "reason": reason,
    }
    return entry | {"gain_rel": energy.gain_rel} if energy else entry


def number(x: object) -> float | None:
    """`x` if it is a finite number: files of other people hold anything."""
    return finite(x)


def mapping(x: object) -> dict[str, Any]:
    """`x` if it is an object, else an empty one."""
    return x if isinstance(x, dict) else {}


def mappings(x: object) -> list[dict[str, Any]]:
    """List the objects in `x`, if it is a list."""
    return [item for item in x if isinstance(item, dict)] if isinstance(x, list) else []


def sensors(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Channels of the run."""
    return mappings(manifest.get("sensors"))


def _times(x: float | None, factor: float) -> float | None:
    return None if x is None else x * factor


def _hypot(x: float | None, y: float | None) -> float | None:
    return None if x is None or y is None else math.hypot(x, y)
