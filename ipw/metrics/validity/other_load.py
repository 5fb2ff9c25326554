"""What other processes had of the CPUs, while idle and in the measured window, and what that does to the joules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ipw.energy.load_model import WATTS_PER_CPU
from ipw.metrics.metric import number, sensors
from ipw.metrics.others import OtherLoad
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.metrics.window import measured_windows
from ipw.runs.curves import of_channel
from ipw.runs.directory import RunDir
from ipw.runs.readings import Readings, is_estimate
from ipw.runs.recorded import Recorded, part_of

Window = tuple[int, int]
HOST, OWN = "load/host", "load/own"
SHORTEST_S = 1.0
"""Stretches that are shorter together say nothing by themselves: CPUs are looked at about once a second, and their time
is told in hundredths of one. They are told by the looks around them."""
FEW_CPUS = 0.1
"""Others that use less are the system itself."""
MOST_W = 20.0
"""Of a busy logical CPU, at most: desktop cores at full boost. It bounds what little load on a large host can draw."""
MOST_HELD, IN_VAIN = 0.05, 0.5
"""Share of the joules: what others may hold at most before it is told, which is what sensors agree to; and what they
likely hold before the joules are called theirs more than the run's. Between the two, the intervals are wider."""
LOAD_CHECK = "other load"
FULL, CROWDED = 0.9, 0.25
"""CPUs that are so busy, and others that use so much of them, make the run slower than it is."""
CPU_SCOPES = {"package", "dram", "soc", "system", "wall", "module"}


def other_load(manifest: Mapping[str, Any], readings: Readings, idle_ns: Sequence[Window]) -> OtherLoad | None:
    """Tell what others used; `None` where the system did not tell the load."""
    by_name = {channel.get("name"): of_channel(readings, channel) for channel in sensors(manifest)}
    if HOST not in by_name or OWN not in by_name:
        return None
    host, own = (good[good["status"] == 0] for good in (by_name[HOST], by_name[OWN]))
    windows = measured_windows(manifest)
    idle, window = (_cpus(host, stretches) for stretches in (idle_ns, windows))
    mine_idle, mine = (_cpus(own, stretches) for stretches in (idle_ns, windows))
    others_idle = None if idle is None or mine_idle is None else max(idle - mine_idle, 0.0)
    others = None if window is None or mine is None else max(window - mine, 0.0)
    if Recorded(manifest).server.get("processes_unseen"):
        others = mine = None  # what the server used would count as others'
    each_w = _each_w(manifest, window, windows)
    power_w = _power_w(manifest, windows)
    cpus = int(number(Recorded(manifest).host.get("threads")) or 1)

    def share(busy: float | None, watts: float) -> float:
        return min(1.0, watts * (busy or 0.0) / power_w) if power_w else 0.0

    return OtherLoad(
        cpus=cpus,
        idle=others_idle,
        window=others,
        own=mine,
        share=share(others, min(each_w, WATTS_PER_CPU)),
        most_share=share(others, each_w),
        idle_share=share(others_idle, each_w),
        each_w=each_w,
        crowded=(others or 0.0) + (mine or 0.0) > FULL * cpus and (others or 0.0) > CROWDED * cpus,
    )


def other_load_check(manifest: Mapping[str, Any], load: OtherLoad | None) -> list[Check]:
    """Judge it: an error where the joules are not the run's, a warning where they hold others' work too."""
    if load is None or (load.idle is None and load.window is None):
        return []
    used = [(load.idle, "while idle"), (load.window, "in the window")]
    first, *more = [(cpus, when) for cpus, when in used if cpus is not None]
    detail = f"others used {first[0]:.1f} of {load.cpus} CPUs {first[1]}"
    detail += "".join(f" and {cpus:.1f} {when}" for cpus, when in more)
    unseen = Recorded(manifest).server.get("processes_unseen")
    if unseen:
        detail += f"; in the window they cannot be told from the server: {unseen}"
    noisy = max(load.idle or 0.0, load.window or 0.0) >= FEW_CPUS
    if load.most_share > MOST_HELD and noisy:
        most = f", at most {100 * load.most_share:.0f} %" if load.most_share > load.share else ""
        detail += f": about {100 * load.share:.0f} % of these joules are theirs{most}"
    if load.crowded:
        detail += "; the CPUs were full, so the run was slower than it is alone"
    ok = not (noisy and (load.most_share > MOST_HELD or load.idle_share > MOST_HELD or load.crowded))
    level: Literal["error", "warning"] = "error" if noisy and load.share > IN_VAIN else "warning"
    return [made(LOAD_CHECK, ok, detail, level)]


def idle_spans(run: RunDir) -> list[Window]:
    """List the stretches in which the run sat still on purpose."""
    return [(int(s["start_ns"]), int(s["end_ns"])) for s in run.journal("span") if s.get("phase") == "idle"]


def _cpus(counter: Readings, stretches: Sequence[Window]) -> float | None:
    """CPUs busy on average over the stretches that the counter's readings surround; `None` where they are too short."""
    if len(counter) < 2:
        return None
    t, value = counter["t_ns"], counter["value"]
    inside = [(a, b) for a, b in stretches if a >= t[0] and b <= t[-1]]
    if sum(end - start for start, end in inside) < SHORTEST_S * 1e9:
        inside = [_looks_around(t, *stretch) for stretch in inside]
    seconds = sum(end - start for start, end in inside) / 1e9
    if seconds < SHORTEST_S / 2:
        return None
    spent = sum(float(np.diff(np.interp([start - t[0], end - t[0]], t - t[0], value))[0]) for start, end in inside)
    return spent / seconds


def _looks_around(t: Any, start: int, end: int) -> Window:
    """Give the last moment of `t` up to the start, and the first from the end on."""
    first = int(np.searchsorted(t, start, "right")) - 1
    return int(t[first]), int(t[int(np.searchsorted(t, end))])


def _cpu_basis(manifest: Mapping[str, Any]) -> bool:
    """Whether this host's CPUs are in the joules; where the server is elsewhere, so is what measures it."""
    here = Recorded(manifest).server.get("local") is not False
    return here and any(c.get("scope") in CPU_SCOPES and c.get("here", True) for c in total_channels(manifest))


def _power_w(manifest: Mapping[str, Any], windows: Sequence[Window]) -> float | None:
    """Mean power of the basis, where CPUs are in it."""
    joules = number(Recorded(manifest).attribution.get("measured_j"))
    seconds = sum(end - start for start, end in windows) / 1e9
    return joules / seconds if joules and seconds and _cpu_basis(manifest) else None


def _each_w(manifest: Mapping[str, Any], busy: float | None, windows: Sequence[Window]) -> float:
    """Watts of a busy CPU at most: as the estimate has it, else what the CPUs drew by how many were busy."""
    total = total_channels(manifest)
    if any(is_estimate(channel.get("method")) for channel in total):
        return WATTS_PER_CPU
    seconds = sum(end - start for start, end in windows) / 1e9
    joules = part_of(Recorded(manifest).attribution, "channels")
    names = [name for channel in total if channel.get("scope") in CPU_SCOPES for name in _cpu_rails(manifest, channel)]
    drawn_j = sum(number(joules.get(name)) or 0.0 for name in names)
    if not names:
        return 0.0
    return min(MOST_W, drawn_j / seconds / busy) if busy and seconds else MOST_W


def _cpu_rails(manifest: Mapping[str, Any], channel: Mapping[str, Any]) -> list[str]:
    """Name what of a channel is the CPU: the cores that it contains, where they are measured apart, else all of it."""
    name = str(channel.get("name"))
    cores = [
        str(each.get("name"))
        for each in sensors(manifest)
        if each.get("included_in") == name and each.get("scope") == "core" and "index" in each
    ]
    return cores or [name]
