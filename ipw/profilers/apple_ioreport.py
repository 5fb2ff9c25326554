"""Apple silicon through IOReport: the same energy model as powermetrics', without sudo, by zeus-apple-silicon."""

from __future__ import annotations

from typing import Any

from ipw.profilers.base import Channel, Scope, SensorError, timed
from ipw.profilers.sources import Source, Sources, missing, probed

RAILS: dict[str, tuple[str, Scope]] = {
    "cpu": ("cpu_total_mj", "core"),
    "gpu": ("gpu_mj", "gpu"),
    "ane": ("ane_mj", "ane"),
    "dram": ("dram_mj", "dram"),
}
NOTE = "Apple's model of its own chip, not a measurement: comparable on one device only"


def open_sensor() -> Sources:
    """Open the rails, and the SoC that is their sum."""
    try:
        import zeus_apple_silicon
    except ImportError:
        return missing("ioreport", "soc", "absent", "zeus-apple-silicon is not installed (Apple silicon only)")
    try:
        monitor = zeus_apple_silicon.AppleEnergyMonitor()
        rails = [rail for rail, (member, _) in RAILS.items() if _millijoules(monitor, member) is not None]
    except Exception as error:  # noqa: BLE001 - a C++ extension over a private library: anything may come
        return missing("ioreport", "soc", "unsupported", f"IOReport: {error}")
    if not rails:
        return missing("ioreport", "soc", "unsupported", "IOReport tells no energy on this machine")
    return Sources([_source(monitor, "soc", rails), *(_source(monitor, rail, [rail]) for rail in rails)])


def _millijoules(monitor: Any, member: str) -> int | None:
    value: int | None = getattr(monitor.get_cumulative_energy(), member, None)
    return value


def _source(monitor: Any, name: str, rails: list[str]) -> Source:
    whole = name == "soc"
    channel = Channel(
        name=f"ioreport/{name}",
        kind="counter",
        scope="soc" if whole else RAILS[name][1],
        method="integrated_power",
        device="Apple silicon",
        included_in=None if whole else "ioreport/soc",
        resolution_j=1e-3,
        note=f"{' + '.join(rails)}: {NOTE}" if whole else NOTE,
    )
    return probed(channel, lambda: timed(lambda: _joules(monitor, rails)))


def _joules(monitor: Any, rails: list[str]) -> float:
    try:
        metrics = monitor.get_cumulative_energy()
        return float(sum(getattr(metrics, RAILS[rail][0]) for rail in rails)) / 1e3
    except Exception as error:
        raise SensorError("lost", f"IOReport: {error}") from error
