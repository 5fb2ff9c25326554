"""A run as a sampler would have recorded it: channels with the readings that a test gives them, and its summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.run import derive_window
from ipw.metrics.summary import summarize
from ipw.profilers.base import Channel
from ipw.profilers.discovery import choose_basis
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS

SECOND = 1_000_000_000
BEGIN_NS = 1000 * SECOND
Floats = npt.NDArray[np.float64]


class Told:
    """What one channel told: moments in seconds, values, and statuses (0 is good)."""

    def __init__(self, channel: Channel, t_s: Any, value: Any, status: Any = 0) -> None:
        self.channel = channel
        self.t_s = np.asarray(t_s, np.float64)
        self.value = np.broadcast_to(np.asarray(value, np.float64), self.t_s.shape).copy()
        self.status = np.broadcast_to(np.asarray(status, np.int64), self.t_s.shape).copy()

    def failing(self, *stretches: tuple[float, float], status: int = 4) -> Told:
        """Let every read between these moments fail; as the sampler does it, an outage is recorded once."""
        for start, end in stretches:
            inside = (self.t_s >= start) & (self.t_s < end)
            first = int(np.argmax(inside))
            self.status[first], self.value[first] = status, np.nan
            kept = ~inside | (np.arange(inside.size) == first)
            self.t_s, self.value, self.status = self.t_s[kept], self.value[kept], self.status[kept]
        return self


def channel(name: str = "test/one", kind: Any = "counter", **facts: Any) -> Channel:
    """Make a channel of a GPU that may draw 700 W."""
    unit = {"counter": "J", "power": "W"}.get(kind, "C")
    given: dict[str, Any] = {"scope": "gpu", "method": "counter", "max_power_w": 700.0, "unit": unit} | facts
    return Channel(name=name, kind=kind, **given)


def counting(watts: Callable[[Floats], Floats], t_s: Any, start_j: float = 1e6) -> Floats:
    """Joules of a counter at moments, of a device that draws `watts(t)`: exact to a tenth of a millisecond."""
    moments = np.asarray(t_s, np.float64)
    fine = np.arange(min(moments.min(), 0.0), moments.max() + 1e-3, 1e-4)
    drawn = np.concatenate([[0.0], np.cumsum(watts(fine)[:-1] * 1e-4)])
    joules: Floats = start_j + np.interp(moments, fine, drawn)
    return joules


def recorded(
    folder: Path,
    told: Sequence[Told],
    *,
    window_s: tuple[float, float] = (5.0, 25.0),
    spans: Sequence[tuple[str, float, float]] = (),
    manifest: Mapping[str, Any] | None = None,
) -> RunDir:
    """Write the run: its manifest as a meter would, the readings in order of time, the measured window and spans."""
    run = RunDir(folder / "run")
    run.path.mkdir(parents=True)
    basis, in_total, reason = choose_basis([each.channel for each in told])
    sensors = [
        each.channel.as_dict() | {"index": index, "in_total": each.channel.name in in_total}
        for index, each in enumerate(told)
    ]
    rows = np.zeros(sum(each.t_s.size for each in told), RECORD_FIELDS)
    at = 0
    for index, each in enumerate(told):
        part = rows[at : at + each.t_s.size]
        part["t_ns"], part["value"] = BEGIN_NS + np.rint(each.t_s * 1e9).astype(np.int64), each.value
        part["status"], part["channel"], part["uncertainty_ns"] = each.status, index, 20_000
        at += each.t_s.size
    (run.path / READINGS).write_bytes(rows[np.argsort(rows["t_ns"], kind="stable")].tobytes())
    marked = [
        ("window", *window_s, "measure"),
        *((name, a, b, "idle" if name == "idle" else "work") for name, a, b in spans),
    ]
    lines = [
        {"kind": "span", "name": name, "phase": phase, "start_ns": ns(a), "end_ns": ns(b), "status": "ok", "thread": 1}
        for name, a, b, phase in marked
    ]
    (run.path / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts: dict[str, Any] = {"run_id": "run", "status": "complete", "workload": {"kind": "command", "parameters": {}}}
    facts |= {"basis": basis, "basis_reason": reason, "method": "counter", "sensors": sensors}
    facts |= {"sampler": {"cpu_s": 0.1, "wall_s": 30.0, "failures": _failures(told)}}
    run.write_manifest(facts | dict(manifest or {}))
    return run


def ns(seconds: float) -> int:
    """Nanoseconds of a moment of the run, as its clock has it."""
    return BEGIN_NS + round(seconds * 1e9)


def summary_of(run: RunDir) -> dict[str, Any]:
    """Derive the run, and summarise it."""
    derive_window(run)
    return summarize(run)


def told_against(summary: Mapping[str, Any]) -> dict[str, str]:
    """What does not hold, by check."""
    return {check["check"]: check["detail"] for check in summary["validity"] if not check["ok"]}


def _failures(told: Sequence[Told]) -> list[dict[str, Any]]:
    return [
        {"channel": each.channel.name, "status": "lost", "reason": "no answer", "t_ns": ns(float(each.t_s[first]))}
        for each in told
        for first in np.flatnonzero(np.diff((each.status != 0).astype(int), prepend=0) > 0)
    ]
