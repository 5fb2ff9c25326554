"""A recording played again as if it were happening now: a run directory, or a log of power."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from ipw.clock import now_ns
from ipw.errors import IpwError
from ipw.foreign_text import read_text
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.power_logs import Log, Record, Tracks, read_log
from ipw.profilers.sources import Sources, missing
from ipw.runs.directory import RunDir
from ipw.runs.readings import STATUS_CODES, Status
from ipw.shapes import MOMENT

HINT = "IPW_REPLAY=RUN (a run directory) or FILE.csv with the columns t_ns, channel, unit, scope, value"
OF_RUNS = {".json", ".jsonl", ".bin", ".parquet", ".html"}
"""Files of a run directory, each of which stands for it."""
STATUSES: dict[int, Status] = {code: status for status, code in STATUS_CODES.items()}


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
        channels, tracks = _recorded(path)
    except (IpwError, OSError, ValueError, TypeError) as error:
        return missing("replay", "system", "unsupported", f"{path} cannot be replayed: {error}", HINT)
    kept = [channel for channel in channels if tracks.get(channel.name)]
    if not kept:
        return missing("replay", "system", "unsupported", f"{path} holds no reading", HINT)
    ordered = {channel.name: sorted(tracks[channel.name], key=lambda record: record.t_ns) for channel in kept}
    shift_ns = now_ns() - min(track[0].t_ns for track in ordered.values())
    note = f"replayed from {path}"
    return Sources((replace(each, note=note), Track(ordered[each.name], shift_ns).read) for each in kept)


def _recorded(path: Path) -> Log:
    if path.is_dir():
        return _from_run(path)
    return _from_run(path.parent) if path.suffix in OF_RUNS else read_log(read_text(path))


def _from_run(folder: Path) -> Log:
    """Read a run directory, finished or not; the load of its host is not that of this one."""
    import numpy as np

    from ipw.runs.one_clock import on_one_clock

    run = RunDir(folder)
    sensors = [entry for entry in run.manifest().get("sensors", []) if "index" in entry]
    known = {field.name for field in fields(Channel)}
    channels = [
        Channel(**{key: value for key, value in entry.items() if key in known} | {"clock": None})
        for entry in sensors
        if not str(entry["name"]).startswith("load/")
    ]
    readings = on_one_clock(run.readings(), sensors)
    columns = ("t_ns", "value", "status", "uncertainty_ns")
    if not np.isin(readings["channel"], [entry["index"] for entry in sensors]).all():
        raise ValueError("it holds readings of a channel that its manifest does not name")
    tracks: Tracks = {}
    for entry in sensors:
        mine = readings[readings["channel"] == entry["index"]]
        tracks[entry["name"]] = [_record(*row) for row in zip(*(mine[name].tolist() for name in columns), strict=True)]
    return channels, tracks


def _record(t_ns: int, value: float, status: int, uncertainty_ns: int) -> Record:
    """Make a reading that can be trusted to be one. Raises ValueError."""
    if status == 0 and not math.isfinite(value):
        raise ValueError("a value is not finite")
    if status not in STATUSES or t_ns not in MOMENT:
        raise ValueError("a reading is of no time, or of no status that is known")
    return Record(t_ns, value, STATUSES[status], uncertainty_ns)
