"""Finds the sensors of this machine, and says which of their channels add up to the energy of a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from ipw.errors import UsageError
from ipw.profilers.base import Channel, Scope, Sensor, absent
from ipw.profilers.opening import Look
from ipw.profilers.selection import NETWORK, is_elsewhere, names_of, prefixes
from ipw.profilers.sources import Sources, unreadable
from ipw.runs.readings import is_estimate
from ipw.system import told

SENSORS: dict[str, str] = {
    "nvml": "ipw.profilers.nvidia.nvml:open_sensor",
    "amd": "ipw.profilers.amd:open_sensor",
    "rapl": "ipw.profilers.linux.rapl:open_sensor",
    "perf": "ipw.profilers.linux.perf:open_sensor",
    "ioreport": "ipw.profilers.apple.ioreport:open_sensor",
    "powermetrics": "ipw.profilers.apple.powermetrics:open_sensor",
    "hwmon": "ipw.profilers.linux.hwmon:open_sensor",
    "battery": "ipw.profilers.battery:open_sensor",
    "meter": "ipw.profilers.http_meter:open_sensor",
    "replay": "ipw.profilers.replay:open_sensor",
    "estimate": "ipw.profilers.estimate:open_sensor",
}
"""Our own, in the order in which they are tried: name to the function that opens it."""
OVER_THE_NETWORK: dict[str, str] = {
    "http://": "ipw.profilers.remote.sensor:open_sensor",
    "https://": "ipw.profilers.remote.sensor:open_sensor",
    "dcgm:": "ipw.profilers.remote.dcgm:open_sensor",
    "prometheus:": "ipw.profilers.remote.prometheus:open_sensor",
}
"""How an address begins, to the function that opens what is there."""
ADDRESSES = ("http://HOST:PORT", "dcgm:URL", "prometheus:URL?query=…")
UUID = re.compile(r"GPU-[0-9a-fA-F-]{8,}")
ENTRY_POINTS = "ipw.sensors"
"""The group under which other packages add sensors: name to a function that takes nothing and returns a Sensor."""
INSTEAD_OF = {"perf": "rapl", "powermetrics": "ioreport"}
"""A second way to the same quantity, left alone where the first way works."""
NOT_AUTOMATIC = {"replay", "estimate"}
OPENS: dict[str, Scope] = {"nvml": "gpu", "amd": "gpu", "rapl": "package", "perf": "package", "ioreport": "soc"}
"""What one of ours measures, to be told where it cannot even be opened."""
BROKEN = "the sensor itself failed as it was opened"
BATCHED = {"replay", "ioreport", "powermetrics", "meter", "battery"}
"""What is renewed too seldom, or plays what was: whether it moves cannot be seen at opening."""

SUMMED: tuple[Scope, ...] = ("gpu", "module", "package", "dram", "soc")
WHOLE: tuple[Scope, ...] = ("system", "wall")
"""Contain everything else, and much that no workload uses: they are the basis only where nothing finer is measured."""


class Basis(NamedTuple):
    """What the energy of a run is made of."""

    name: str | None
    """Such as `gpu+package+dram`; `None` where nothing can be read."""
    channels: frozenset[str]
    """Names of the channels whose sum it is."""
    reason: str | None
    """Why there is none."""


Load = Callable[[], Callable[[], Sensor]]
"""Gives the function that opens a sensor."""


def known() -> dict[str, Load]:
    """List every sensor by name, ours first; one of another package cannot take the name of ours."""
    from importlib.metadata import entry_points  # it takes longer to load than the rest of the sampler together

    points = told(lambda: list(entry_points(group=ENTRY_POINTS))) or []
    return _ours() | {point.name: point.load for point in points if point.name not in SENSORS}


def find(selection: str = "auto") -> list[Sensor]:
    """Open sensors: every measured one (`auto`), or those named, such as `nvml,rapl`.

    What is missing is among them too, with its reason, and so is what stands still. `auto` opens a second way to a
    quantity only where the first tells nothing, and estimates only where nothing is measured. Raises UsageError for a
    name that nobody knows.
    """
    if selection != "auto":
        names = names_of(selection)
        there, here = ([name for name in names if is_elsewhere(name) is apart] for apart in (True, False))
        sensors = _ours() if SENSORS.keys() | {"auto"} >= set(here) else known()
        unknown = [name for name in here if name != "auto" and name not in sensors]
        if unknown or not names:
            wrong = f"unknown sensor: {', '.join(unknown)}" if unknown else "no sensor is named"
            raise UsageError(wrong, f"known sensors: auto, {', '.join(sensors)}, {', '.join(ADDRESSES)}")
        prefix = prefixes(names)
        far = [_opened_there(name, *prefix[name]) for name in there]
        near = _automatic() if "auto" in here else _judged([_opened(name, sensors[name]) for name in here])
        return near + far
    return _automatic()


def _automatic() -> list[Sensor]:
    """Open every measured one."""
    sensors = known()
    looks: dict[str, Look] = {}
    for name, load in sensors.items():
        first = looks.get(INSTEAD_OF.get(name, ""))
        if name in NOT_AUTOMATIC or (first and _measures(first.judged())):
            continue
        looks[name] = _opened(name, load)
    found = _judged(looks.values())
    if not any(_measures(sensor) for sensor in found):
        found.append(_opened("estimate", sensors["estimate"]).judged())
    return found


def close(sensors: Iterable[Sensor]) -> None:
    """Let go of sensors, also of one that fails at that."""
    for sensor in sensors:
        with suppress(Exception):
            sensor.close()


def choose_basis(channels: Sequence[Channel]) -> Basis:
    """Choose the channels whose sum is the energy of a run: the outermost of what is measured, each joule once.

    GPUs of all sensors add up; a package, memory or SoC is taken from the first sensor that counts its joules, else
    from the first that tells its power. What lies within (core, uncore, GPU memory) never adds. The whole system or the
    wall count only where nothing finer is measured, and estimates only where nothing is.
    """
    readable = [c for c in channels if c.status == "ok" and c.kind != "gauge"]
    measured = [c for c in readable if not is_estimate(c.method)]
    unwanted = {"module"} if any(c.scope == "gpu" for c in measured) else set()
    fine = _outermost([c for c in measured if c.scope in SUMMED and c.scope not in unwanted])
    if fine:
        return Basis(_named(fine), frozenset(c.name for c in fine), None)
    for scope in WHOLE:
        whole = _outermost([c for c in measured if c.scope == scope])
        if whole:
            return Basis(_named(whole), frozenset(c.name for c in whole), None)
    estimates = _outermost([c for c in readable if is_estimate(c.method)])
    if estimates:
        return Basis("estimate", frozenset(c.name for c in estimates), None)
    reasons = "; ".join(dict.fromkeys(f"{c.name}: {c.reason}" for c in channels if c.reason))
    return Basis(None, frozenset(), reasons or "no sensor measures energy or power")


def _named(total: Sequence[Channel]) -> str:
    """Name what adds up: its scopes, and where it is of several machines, those of each."""
    machines = dict.fromkeys(sorted((machine_of(c) for c in total), key=lambda each: each or ""))
    scopes = {
        machine: "+".join(s for s in (*SUMMED, *WHOLE) if any(c.scope == s and machine_of(c) == machine for c in total))
        for machine in machines
    }
    if len(scopes) == 1:
        return next(iter(scopes.values()))
    return ", ".join(f"{machine}: {told}" if machine else told for machine, told in scopes.items())


def _outermost(channels: Sequence[Channel]) -> list[Channel]:
    """Drop what another of these channels contains, and what a sensor before it measures already."""
    names = {c.name for c in channels}
    first: dict[tuple[str | None, Scope], str] = {}
    for channel in sorted(channels, key=lambda c: c.kind != "counter"):
        first.setdefault((machine_of(channel), channel.scope), channel.sensor)
    outer = [c for c in channels if c.included_in not in names]
    gpus = {}
    for channel in reversed(outer):  # one GPU may be read here and over the network
        gpus[uuid_of(channel)] = channel.sensor
    return [
        c
        for c in outer
        if (gpus[uuid_of(c)] == c.sensor if c.scope == "gpu" else first[machine_of(c), c.scope] == c.sensor)
    ]


def machine_of(channel: Channel) -> str | None:
    """Name the machine that draws what a channel measures; `None` for this one."""
    return None if channel.here else channel.host


def uuid_of(channel: Channel) -> str:
    """Find the UUID of a GPU; without one, its channel stands for it."""
    found = UUID.search(channel.device) if channel.scope == "gpu" else None
    return found[0] if found else channel.name


def _measures(sensor: Sensor) -> bool:
    """Whether a sensor has anything that a basis could be made of."""
    return choose_basis(sensor.channels).name not in {None, "estimate"}


def _ours() -> dict[str, Load]:
    return {name: partial(_load, target) for name, target in SENSORS.items()}


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _opened(name: str, load: Load) -> Look:
    """Open a sensor and begin to look at it; one that breaks its promise never to raise is told as missing."""
    try:
        sensor = load()()
        json.dumps([channel.as_dict() for channel in sensor.channels])  # as they are told to others
        return Look(sensor, prompt=None if name in BATCHED else name in SENSORS)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - no sensor may take the run or the others down with it
        reason = f"{type(error).__name__}: {error}"
        broken = absent(name, OPENS.get(name, "system"), "unsupported", reason, f"ipw doctor --sensors {name}")
        return Look(Sources([unreadable(replace(broken, note=BROKEN))]))


def _opened_there(name: str, machine: str, prefix: str) -> Sensor:
    """Open what is read over the network. Raises UsageError for an address that is none."""
    begin = next(each for each in NETWORK if name.lower().startswith(each))
    try:
        sensor: Sensor = _load(OVER_THE_NETWORK[begin])(name, machine)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - as `_opened`
        broken = absent(prefix, "system", "lost", f"{type(error).__name__}: {error}")
        return Sources([unreadable(replace(broken, note=BROKEN, host=machine, here=False))])
    return sensor


def _judged(looks: Iterable[Look]) -> list[Sensor]:
    return [look.judged() for look in looks]
