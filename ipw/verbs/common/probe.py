"""`ipw doctor --probe`: how each channel behaves on this host, told and kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from rich.table import Table

from ipw.profilers.base import Channel, Sensor
from ipw.profilers.probe.loads import Load, gpu_load
from ipw.profilers.probe.probe import probe
from ipw.profilers.probe.profile import Profile, save
from ipw.reports.text import MISSING, scale_for
from ipw.verbs.common.terminal import console, output


def probe_sensors(sensors: Sequence[Sensor], seconds: float, *, as_json: bool) -> dict[str, Any]:
    """Probe what can be read, keep the profiles, and return them for the machine's answer."""
    out = output()
    load_of = cache(gpu_load)

    def load_for(channel: Channel) -> Load | str:
        if not channel.name.startswith("nvml/") or channel.scope != "gpu":
            return "nothing here puts a known load on it"
        return load_of(channel.device)

    profiles = probe(
        sensors, load_for, seconds, lambda line: console().print(f"probing: {line}", markup=False)
    ).profiles
    path = save(profiles) if profiles else None
    if not as_json:
        out.print(probe_table(profiles))
        for profile in profiles:
            for reason, names in _by_reason(profile).items():
                out.print(f"{profile.channel}: {', '.join(names)}: {reason}", markup=False, soft_wrap=True)
        out.print(f"kept in {path}\n" if path else "no channel can be probed\n", markup=False, soft_wrap=True)
    return {"profiles": [profile.as_dict() for profile in profiles], "profiles_path": str(path) if path else None}


def probe_table(profiles: Sequence[Profile]) -> Table:
    """Lay out what was measured, a channel a line."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("channel", "renewed every", "step", "a read takes", "at rest", "drift", "noise", "looks at", "rise"):
        table.add_column(column, overflow="fold")
    for p in profiles:
        looks = f"{_text(p.window_s, 's')}{' (part-time)' if p.part_time else ''}"
        times = _text(p.update_period_s, "s"), _text(p.resolution, p.unit), _text(p.read_cost_s, "s")
        power = _text(p.idle_power_w, "W"), _text(p.idle_drift_w, "W"), _text(p.idle_noise_w, "W")
        table.add_row(p.channel, *times, *power, looks, _text(p.rise_s, "s"))
    return table


def _by_reason(profile: Profile) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in profile.reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return MISSING
    scale = scale_for(unit, [value])
    return f"{value * scale.factor:.3g} {scale.unit}"
