"""A recording played again as if it were happening now: a run directory, or a log of power."""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from ipw.clock import now_ns
from ipw.foreign_text import read_text
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.power_logs import Log, Record, Tracks, read_log
from ipw.profilers.sources import Sources, missing
from ipw.runs.readings import READINGS, RECORD, STATUS_CODES, Status

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
    except KeyError as error:
        return missing("replay", "system", "unsupported", f"{path} cannot be replayed: it holds no {error}", HINT)
    except (OSError, ValueError, TypeError) as error:
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
    sensors = [entry for entry in json.loads((folder / "manifest.json").read_bytes())["sensors"] if "index" in entry]
    known = {field.name for field in fields(Channel)}
    channels = [
        Channel(**{key: value for key, value in entry.items() if key in known})
        for entry in sensors
        if not str(entry["name"]).startswith("load/")
    ]
    tracks: Tracks = {}
    for name, record in _records(folder, {entry["index"]: entry["name"] for entry in sensors}):
        tracks.setdefault(name, []).append(record)
    return channels, tracks


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
