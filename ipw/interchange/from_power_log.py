"""Logs of power that were made while something ran (nvidia-smi, tegrastats, our own CSV): a run of readings."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.profilers.base import Channel
from ipw.profilers.discovery import choose_basis
from ipw.profilers.power_logs import KNOWN, Log, Record, read_log
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS, STATUS_CODES

SOURCE = "a power log"
FEWEST = 2
"""Readings of a channel: fewer hold no joules."""
ERA_NS = 10**18
"""Moments beyond it are of a wall clock; those before, of a clock that starts with the machine."""


def read_power_log(text: str, name: str) -> Log | None:
    """Read a log; `None` where it is none. Raises UsageError for a damaged one."""
    try:
        return read_log(text)
    except ValueError as error:
        if str(error) == KNOWN:
            return None
        raise UsageError(f"{name} cannot be read: {error}", "was the file copied whole?") from None


def write_power_log(log: Log, path: Path, out: Path, count: int) -> RunDir:
    """Make a run of a log, to be derived: its window is the whole log. Raises UsageError where it holds none."""
    channels, tracks = log
    kept = [_as_read(each, tracks[each.name], path) for each in channels if len(tracks.get(each.name, ())) >= FEWEST]
    if not kept:
        raise UsageError(f"{path} holds fewer than {FEWEST} readings", "log for longer")
    rows = [
        (record.t_ns, record.value, index, STATUS_CODES[record.status], record.uncertainty_ns)
        for index, channel in enumerate(kept)
        for record in tracks[channel.name]
    ]
    readings = np.array(rows, np.dtype(RECORD_FIELDS))
    readings = readings[np.argsort(readings["t_ns"], kind="stable")]
    basis = choose_basis(kept)
    run = RunDir.create(out, f"power-log-{count:04d}-{path.stem}")
    start, end = _window(readings, [k for k, each in enumerate(kept) if each.name in basis.channels])
    (run.path / READINGS).write_bytes(readings.tobytes())
    span = {"name": path.name, "phase": "measure", "start_ns": start, "end_ns": end, "status": "ok", "thread": 1}
    (run.path / "journal.jsonl").write_text(json.dumps({"kind": "span", **span}) + "\n")
    run.write_manifest(
        {
            "run_id": run.path.name,
            "status": "complete",
            "workload": {"kind": "command", "parameters": {"block": path.name, "log": path.name}},
            "basis": basis.name,
            "basis_reason": basis.reason,
            "method": "+".join(sorted({each.method for each in kept if each.name in basis.channels})) or None,
            "sensors": [
                each.as_dict() | {"index": k, "in_total": each.name in basis.channels} for k, each in enumerate(kept)
            ],
            "started": _started(start),
        }
    )
    return run


def _as_read(channel: Channel, records: Sequence[Record], path: Path) -> Channel:
    """Say what is known of a channel of a log: a power was read before its line was written, up to one period ago.

    A device without a name is one of this log alone: two machines are not one device.
    """
    told = {"device": channel.device or f"{channel.name} of {path.name}"}
    if channel.kind != "power":
        return Channel(**(channel.as_dict() | told))
    between_s = float(np.median(np.diff([record.t_ns for record in records]))) / 1e9
    period_s = channel.update_period_s or (between_s if between_s > 0 else None)
    return Channel(**(channel.as_dict() | told | {"age_periods": 1.0, "update_period_s": period_s}))


def _window(readings: npt.NDArray[np.void], total: list[int]) -> tuple[int, int]:
    """From when every channel of the total had been read to when the first was read last."""
    told = [readings["t_ns"][readings["channel"] == index] for index in total] or [readings["t_ns"]]
    return max(int(each[0]) for each in told), min(int(each[-1]) for each in told)


def _started(t_ns: int) -> str | None:
    """The local time of a log that tells it, without a zone."""
    if t_ns < ERA_NS:
        return None
    try:
        return dt.datetime.fromtimestamp(t_ns / 1e9, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return None
