"""Apple silicon through IOReport: the same energy model as powermetrics', without sudo, by zeus-apple-silicon.

The binding gives millijoules, summed over dies, whatever unit the driver counts a rail in. A rail that the chip lacks
is `None`, and a unit that it does not know raises. When the driver published a rail it does not tell; that is learned
from the reads (`publications`). One look at all rails takes milliseconds on a large chip, so their channels share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from time import sleep
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Scope, SensorError
from ipw.profilers.publications import LIVE_AFTER, LONGEST_PERIOD_S, Publications
from ipw.profilers.sources import Source, Sources, missing, unreadable

SOC = "soc"
RAILS: dict[str, tuple[str, Scope]] = {
    "cpu": ("cpu_total_mj", "core"),
    "gpu": ("gpu_mj", "gpu"),
    "ane": ("ane_mj", "ane"),
    "dram": ("dram_mj", "dram"),
}
SUMMED = ("cpu", "gpu")
"""Without these rails there is no sum to speak of."""
LOOK_S = LONGEST_PERIOD_S + 0.5
"""At opening, so long for the CPU's rail to move: at once on most Macs, up to 2.3 s where rails come in batches."""
LOOK_EVERY_S, BATCHED_AFTER_S = 0.03, 0.3
SHARED_NS = 20_000_000
"""A look is as good as a new one for so long."""
BATCHES = "published in batches up to 3 s apart"
NOTE = "Apple's model of its own chip, not a measurement: comparable on one device only"
FROZEN = "the rail {} stands still ({:.1f} s), though a running chip always draws: macOS does not renew it"
UPDATE = "pip install -U zeus-apple-silicon"
AWAKE = "restart the Mac, or try --sensors powermetrics"


def open_sensor() -> Sources:
    """Open the rails, and the SoC that is their sum where none is missing or frozen."""
    try:
        import zeus_apple_silicon
    except ImportError:
        return missing("ioreport", "soc", "absent", "zeus-apple-silicon is not installed (Apple silicon only)")
    except Exception as error:  # noqa: BLE001 - a C++ extension over a private library: anything may come
        return missing("ioreport", "soc", "unsupported", f"zeus-apple-silicon: {error}", UPDATE)
    try:
        looks = Looks(zeus_apple_silicon.AppleEnergyMonitor())
        late = bool(looks.rails) and looks.wait()
    except Exception as error:  # noqa: BLE001 - likewise
        return missing("ioreport", "soc", "unsupported", f"IOReport: {error}", UPDATE)
    if not looks.rails:
        return missing("ioreport", "soc", "unsupported", "IOReport tells no energy on this machine", UPDATE)
    return Sources(_sources(looks, late=late))


class Looks:
    """Looks at all rails at once, and keeps for each, and for their sum, when its newest value was true."""

    def __init__(self, monitor: Any) -> None:
        """Look for the first time, to see which rails there are. Raises whatever the binding raises."""
        self._monitor = monitor
        first = _joules(monitor)
        self.rails = list(first)
        self._restless = [rail for rail in first if rail == "cpu" or (rail == "dram" and first[rail] > 0)]
        self._seen = {rail: Publications() for rail in first}
        self._values = first
        self._looked_ns = 0
        self._news: dict[str, Reading] = {}
        self._told_ns: dict[str, int] = {}

    def wait(self) -> bool:
        """Look until the rails have moved that never rest, though not for ever. Returns whether they come late."""
        started_ns, waited_ns = now_ns(), 0
        while not all(rail in self._news for rail in self._restless) and waited_ns < LOOK_S * 1e9:
            sleep(LOOK_EVERY_S)
            self._look()
            waited_ns = now_ns() - started_ns
        late = waited_ns > BATCHED_AFTER_S * 1e9
        for _ in range(0 if late else LIVE_AFTER):
            sleep(LOOK_EVERY_S)
            self._look()
        return late

    def fault(self, rails: Sequence[str]) -> str | None:
        """Say which of these rails is not told any more, or stands still that never should."""
        for rail in rails:
            if rail not in self._values:
                return f"IOReport no longer tells the rail {rail}"
            still_s = self._seen[rail].still_s(self._looked_ns)
            if rail in self._restless and still_s is not None:
                return FROZEN.format(rail, still_s)
        return None

    def read(self, name: str, rails: Sequence[str]) -> Reading | None:
        """Give the newest reading of a rail, or of the sum, once. Raises SensorError where it cannot be believed."""
        if now_ns() - self._looked_ns > SHARED_NS:
            try:
                self._look()
            except Exception as error:
                raise SensorError("lost", f"IOReport: {error}") from error
        fault = self.fault(rails)
        if fault:
            raise SensorError("lost", fault)
        newest = self._news.get(name)
        if newest is None or newest.t_ns <= self._told_ns.get(name, -1):
            return None
        self._told_ns[name] = newest.t_ns
        return newest

    def _look(self) -> None:
        """Look again. Rails that are published in batches are so together: the first one's moves then tell of all."""
        before = now_ns()
        self._values = _joules(self._monitor)
        half = (now_ns() - before) // 2
        self._looked_ns = before + half
        told = [rail for rail in self.rails if rail in self._values]
        moments = {rail: self._seen[rail].see(self._looked_ns, half, self._values[rail]) for rail in told}
        batch = moments.get(self.rails[0])
        for rail in told:
            moment = moments[rail] or batch
            if moment:
                self._news[rail] = Reading(moment[0], self._values[rail], moment[1])
        if batch:
            self._news[SOC] = Reading(batch[0], sum(self._values.values()), batch[1])


def _joules(monitor: Any) -> dict[str, float]:
    """Ask for the joules of each rail that is told. Raises whatever the binding raises."""
    metrics = monitor.get_cumulative_energy()
    told = {rail: getattr(metrics, member, None) for rail, (member, _) in RAILS.items()}
    good = {rail: mj for rail, mj in told.items() if isinstance(mj, int | float) and not isinstance(mj, bool)}
    return {rail: mj / 1e3 for rail, mj in good.items() if 0 <= mj < inf}


def _sources(looks: Looks, *, late: bool) -> Iterator[Source]:
    """Make the channels; the sum only where it holds what a sum must."""
    for name in (SOC, *looks.rails):
        whole = name == SOC
        rails = looks.rails if whole else [name]
        absent = [rail for rail in SUMMED if rail not in looks.rails] if whole else []
        reason = looks.fault(rails) or (f"IOReport does not tell {' and '.join(absent)}" if absent else None)
        notes = [f"{' + '.join(rails)}: {NOTE}" if whole else NOTE, *([BATCHES] if late else [])]
        channel = Channel(
            name=f"ioreport/{name}",
            kind="counter",
            scope="soc" if whole else RAILS[name][1],
            method="integrated_power",
            device="Apple silicon",
            included_in=None if whole else f"ioreport/{SOC}",
            resolution_j=1e-3 * len(rails),
            update_period_s=LONGEST_PERIOD_S if late else None,
            note="; ".join(notes),
            status="unsupported" if reason else "ok",
            reason=reason,
            hint=AWAKE if reason else None,
        )
        yield unreadable(channel) if reason else (channel, partial(looks.read, name, rails))
