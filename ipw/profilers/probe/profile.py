"""What `ipw doctor --probe` measured of this host's channels, kept so that later runs need not assume it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ipw.errors import IpwError
from ipw.foreign_json import read_json
from ipw.profilers.base import Channel
from ipw.runs.files import make_folder, replacing
from ipw.shapes import misfit, shape_of

SCHEMA_VERSION = 1
POSITIVE = ("update_period_s", "resolution", "window_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One channel as it behaves here. What was not measured is `None`, and `reasons` says why, by field."""

    channel: str
    device: str
    driver: str
    """Of the channel, or else the kernel."""
    kind: str
    unit: str
    measured: str
    """When, in UTC."""
    update_period_s: float | None = None
    resolution: float | None = None
    """The step in which values come, in the channel's unit."""
    read_cost_s: float | None = None
    """Median time that one read takes."""
    idle_power_w: float | None = None
    idle_drift_w: float | None = None
    """How much the power rose while it was watched."""
    idle_noise_w: float | None = None
    """Standard deviation of tenths of the time watched, around that rise."""
    window_s: float | None = None
    """How much of the time before an update the update looks at."""
    rise_s: float | None = None
    """From 10 to 90 % of a step of the load."""
    phase_spread: float | None = None
    """How much the power of one and the same load, a pulse every update period, varies with the moment of the pulse:
    the range as a fraction of what the load adds. 0: every moment counts alike."""
    part_time: bool | None = None
    """Whether the sensor looks away for part of each period, so that work that repeats as often can fool it."""
    reasons: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest, the file and the machine's answer."""
        return asdict(self)


def driver_of(channel: Channel) -> str:
    """Name what answers: the channel's driver, or else the kernel."""
    return channel.driver or f"{platform.system()} {platform.release()}"


ELSEWHERE = "set XDG_CONFIG_HOME to a folder of yours"


def profiles_path() -> Path:
    """Where this user's profiles are kept."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ipw" / "sensors.json"


def stored_profiles(path: Path | None = None) -> list[Profile]:
    """Read the profiles of this user; a file that is missing or damaged holds none."""
    try:
        stored = read_json(path or profiles_path())
    except (IpwError, RuntimeError):  # RuntimeError: no home is known
        return []
    entries = stored.get("profiles") if isinstance(stored, dict) else None
    return [Profile(**_known(entry)) for entry in entries if _fits(entry)] if isinstance(entries, list) else []


def save(profiles: Sequence[Profile], path: Path | None = None) -> Path:
    """Add profiles to the stored ones; each takes the place of an older one of its channel. Returns the file."""
    try:
        path = path or profiles_path()
    except RuntimeError as error:
        raise IpwError(f"there is no place for profiles: {error}", ELSEWHERE) from None
    kept = {_key(profile): profile for profile in [*stored_profiles(path), *profiles]}
    content = {"schema_version": SCHEMA_VERSION, "profiles": [profile.as_dict() for profile in kept.values()]}
    make_folder(path.parent, ELSEWHERE)
    with replacing(path, ELSEWHERE) as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return path


def find_profile(channel: Channel, profiles: Iterable[Profile]) -> Profile | None:
    """Find what was measured of this channel on this device under this driver."""
    wanted = _quantity(channel.name), channel.device, driver_of(channel)
    return next((profile for profile in profiles if _key(profile) == wanted), None)


def with_profile(channel: Channel, profile: Profile) -> Channel:
    """Put what was measured in place of what is assumed."""
    notes = [channel.note]
    if profile.part_time:
        seen = f"{1e3 * profile.window_s:.3g} ms" if profile.window_s else "a part"
        notes.append(f"looks at {seen} of each update period only: work that repeats as often can fool it")
    return replace(
        channel,
        update_period_s=profile.update_period_s or channel.update_period_s,
        resolution_j=(profile.resolution if channel.kind == "counter" else None) or channel.resolution_j,
        note="; ".join(note for note in notes if note) or None,
    )


def _key(profile: Profile) -> tuple[str, str, str]:
    return _quantity(profile.channel), profile.device, profile.driver


def _quantity(name: str) -> str:
    """Take the number of a GPU out of its channels' names: the next boot may count differently, and UUIDs stay."""
    return re.sub(r"/gpu\d+", "/gpu", name)


def _fits(entry: Any) -> bool:
    """Whether what a file holds is a profile, and no number in it can be none of a sensor's."""
    return misfit(entry, shape_of(Profile)) is None and all(
        entry.get(name) is None or entry[name] > 0 for name in POSITIVE
    )


def _known(entry: dict[str, Any]) -> dict[str, Any]:
    """Leave out what another version wrote."""
    names = {field.name for field in fields(Profile)}
    return {name: value for name, value in entry.items() if name in names}
