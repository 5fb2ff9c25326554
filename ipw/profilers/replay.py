"""A recording played again as if it were happening now: a run directory, or a CSV file."""

from __future__ import annotations

import csv
import json
import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple, get_args

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Method, Reading, Scope, SensorError
from ipw.profilers.sources import Sources, missing
from ipw.runs.readings import READINGS, RECORD, STATUS_CODES, Kind, Status

HINT = "IPW_REPLAY=RUN (a run directory) or FILE.csv with the columns t_ns, channel, unit, scope, value"
KINDS: dict[str, Kind] = {"J": "counter", "W": "power"}
SCOPES: dict[str, Scope] = {scope: scope for scope in get_args(Scope)}
STATUSES: dict[int, Status] = {code: status for status, code in STATUS_CODES.items()}


class Record(NamedTuple):
    """One recorded reading."""

    t_ns: int
    value: float
    status: Status
    uncertainty_ns: int


Tracks = dict[str, list[Record]]
"""Readings by channel name, in order of time."""


class Track:
    """The readings of one channel, each given when as much time has passed as there had then."""

    def __init__(self, records: Sequence[Record], shift_ns: int) -> None:
        """`records` in order of time; `shift_ns` later, they happen again."""
        self._records = records
        self._times = [record.t_ns for record in records]
        self._shift_ns = shift_ns
        self._told = -1

    def read(self) -> Reading | None:
        """Give the newest reading whose time has come, if it was not given already."""
        due = bisect_right(self._times, now_ns() - self._shift_ns) - 1
        if due == self._told:
            if due == len(self._times) - 1:
                raise SensorError("lost", "the recording has ended")
            return None
        self._told = due
        record = self._records[due]
        if record.status != "ok":
            raise SensorError(record.status, "as recorded")
        return Reading(record.t_ns + self._shift_ns, record.value, record.uncertainty_ns)


def open_sensor() -> Sources:
    """Open the recording that the environment names."""
    name = os.environ.get("IPW_REPLAY")
    if not name:
        return missing("replay", "system", "absent", "IPW_REPLAY names no recording", HINT)
    path = Path(name)
    try:
        channels, tracks = (
            _from_csv(path) if path.suffix == ".csv" else _from_run(path if path.is_dir() else path.parent)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return missing("replay", "system", "unsupported", f"{path} cannot be replayed: {error}", HINT)
    recorded = [channel for channel in channels if tracks.get(channel.name)]
    if not recorded:
        return missing("replay", "system", "unsupported", f"{path} holds no reading", HINT)
    shift_ns = now_ns() - min(track[0].t_ns for track in tracks.values())
    return Sources((channel, Track(tracks[channel.name], shift_ns).read) for channel in recorded)


def _from_csv(path: Path) -> tuple[list[Channel], Tracks]:
    """Read a CSV file: joules are a counter, watts a power, anything else a gauge."""
    channels: dict[str, Channel] = {}
    tracks: Tracks = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name, unit, scope = row["channel"], row["unit"], row["scope"]
            kind = KINDS.get(unit, "gauge")
            method: Method = "integrated_power" if kind == "power" else "counter"
            channels[name] = Channel(
                name=name, kind=kind, scope=SCOPES[scope], method=method, unit=unit, note=f"replayed from {path}"
            )  # fmt: skip
            tracks.setdefault(name, []).append(_record(int(row["t_ns"]), float(row["value"]), 0, 0))
    return list(channels.values()), {name: sorted(track) for name, track in tracks.items()}


def _from_run(folder: Path) -> tuple[list[Channel], Tracks]:
    """Read a run directory, finished or not."""
    sensors = [entry for entry in json.loads((folder / "manifest.json").read_bytes())["sensors"] if "index" in entry]
    known = {field.name for field in fields(Channel)}
    channels = [
        Channel(**{key: value for key, value in entry.items() if key in known} | {"note": f"replayed from {folder}"})
        for entry in sensors
    ]
    tracks: Tracks = {}
    for name, record in _records(folder, {entry["index"]: entry["name"] for entry in sensors}):
        tracks.setdefault(name, []).append(record)
    return channels, {name: sorted(track) for name, track in tracks.items()}


def _records(folder: Path, names: dict[int, str]) -> Iterator[tuple[str, Record]]:
    raw = folder / READINGS
    if raw.exists():
        data = raw.read_bytes()
        for t_ns, value, index, status, uncertainty_ns in RECORD.iter_unpack(
            data[: len(data) // RECORD.size * RECORD.size]
        ):
            yield names[index], _record(t_ns, value, status, uncertainty_ns)
        return
    import pyarrow.parquet as pq

    columns = ("channel", "t_ns", "value", "status", "uncertainty_ns")
    table = pq.read_table(folder / "power.parquet", columns=list(columns))
    for name, *record in zip(*(table[column].to_pylist() for column in columns), strict=True):
        yield name, _record(*record)


def _record(t_ns: int, value: float, status: int, uncertainty_ns: int) -> Record:
    """Make a reading that can be trusted to be one. Raises ValueError, KeyError."""
    if status == 0 and not math.isfinite(value):
        raise ValueError("a value is not finite")
    return Record(t_ns, value, STATUSES[status], uncertainty_ns)
