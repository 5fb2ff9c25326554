"""Run directories written by hand, whose every number is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS

SECOND = 1_000_000_000
START_NS = 500 * SECOND
IDLE_W, BUSY_W = 5.0, 20.0
IDLE_S = 3.0
SUBJECTS = ("add", "sort", "max")


def make_run(
    folder: Path,
    name: str = "run-a",
    *,
    scores: Sequence[float | None] = (1.0, 0.0, 1.0, 1.0) * 30,
    latency_s: Sequence[float] | float = 0.5,
    power_w: float = BUSY_W,
    energy_rel: float = 0.02,
    window_rel: float = 0.001,
    method: str = "counter",
    status: str = "complete",
    manifest: Mapping[str, Any] | None = None,
    columns: Mapping[str, list[Any]] | None = None,
    readings: bool = True,
) -> RunDir:
    """Write a run of questions one after the other at `power_w`, idle at `IDLE_W` before and after.

    A failed query is a score of `None`. Each query has 10 prompt and 5 output tokens, and its first token comes after a
    fifth of its time; its energy is known to ± `energy_rel`, that of the whole window to ± `window_rel`.
    """
    run = RunDir(folder / name)
    run.path.mkdir(parents=True)
    n = len(scores)
    lengths = np.broadcast_to(np.asarray(latency_s, np.float64), n)
    edges = START_NS + int(IDLE_S * SECOND) + np.concatenate([[0], np.cumsum(lengths * SECOND)]).astype(np.int64)
    starts, ends = edges[:-1], edges[1:]
    first = starts + (ends - starts) // 5
    failed = np.array([score is None for score in scores], np.bool_)
    energy = power_w * (ends - starts) / SECOND
    queries: dict[str, Any] = {
        "query_id": [f"q{i}" for i in range(n)],
        "subject": [SUBJECTS[i % len(SUBJECTS)] for i in range(n)],
        "prompt_tokens": pa.array(np.full(n, 10), mask=failed),
        "completion_tokens": pa.array(np.full(n, 5), mask=failed),
        "cached_tokens": [0] * n,
        "start_ns": starts,
        "first_token_ns": pa.array(first, mask=failed),
        "end_ns": ends,
        "status": ["error" if bad else "ok" for bad in failed],
        "error": ["the server hung up" if bad else None for bad in failed],
        "response": [None if bad else f"answer {i}" for i, bad in enumerate(failed)],
        "answer": [f"right {i}" for i in range(n)],
        "score": pa.array(scores, pa.float64()),
        "energy_j": energy,
        "energy_low_j": energy * (1 - energy_rel),
        "energy_high_j": energy * (1 + energy_rel),
        "net_energy_j": energy - IDLE_W * (ends - starts) / SECOND,
        "prefill_energy_j": pa.array(energy / 5, mask=failed),
        "decode_energy_j": pa.array(energy * 4 / 5, mask=failed),
        "power_w": np.full(n, power_w),
        "concurrency": [1] * n,
    }
    run.write_table("queries", pa.table(queries | dict(columns or {})))
    window = [int(edges[0]), int(edges[-1])]
    total_j = float(energy.sum())
    run.write_table("spans", pa.Table.from_pylist(_spans(window, total_j, window_rel, starts, first, ends)))
    channel = {
        "name": "nvml/gpu0", "kind": "counter", "scope": "gpu", "method": method, "device": "Test GPU GPU-1",
        "unit": "J", "included_in": None, "range_j": None, "max_power_w": 1000.0, "resolution_j": 0.001,
        "update_period_s": 0.1, "ticks": False, "gain_rel": 0.5 if method == "model_estimate" else 0.05,
        "status": "ok", "reason": None, "hint": None, "note": None, "index": 0, "in_total": True,
    }  # fmt: skip
    missing = {
        "name": "rapl", "kind": "counter", "scope": "package", "method": "counter", "status": "permission",
        "reason": "energy_uj is readable by root only", "hint": "sudo chmod o+r /sys/class/powercap", "in_total": False,
    }  # fmt: skip
    basis = "estimate" if method == "model_estimate" else "gpu"
    document = {
        "run_id": name, "status": status, "basis": basis, "method": method,
        "workload": {"kind": "lm", "parameters": {"dataset": "bundled", "concurrency": 1, "temperature": 0.0}},
        "model": {"name": name.removeprefix("run-"), "digest": "sha256:0123abcd", "quantisation": "q8_0",
                  "parameters": 1_900_000},
        "sensors": [channel, missing],
        "sampler": {"cpu_s": 0.05, "wall_s": 66.0, "reads": 660, "ticks_missed": 0},
        "host": {"name": "bench", "cpu": "Test CPU", "threads": 8, "memory_bytes": 16 << 30, "power_source": "mains",
                 "system": "Linux 6.1", "machine": "x86_64"},
        "software": {"python": "3.11.2", "ipw": "0.1.0"},
        "anchors": [[START_NS, 10**18], [int(edges[-1]), 10**18 + int(edges[-1]) - START_NS]],
        "started": "2026-01-02T03:04:05Z",
        "attribution": {
            "measured_j": total_j, "measured_error_j": [total_j * window_rel] * 2,
            "idle_j": 0.0, "unattributed_j": 0.0, "attributed_j": total_j, "window_ns": window,
            "idle_power_w": {"value": IDLE_W, "low": IDLE_W * 0.98, "high": IDLE_W * 1.02}, "rule": "sequential",
            "levels": {}, "gain_rel": channel["gain_rel"], "method": method, "channels": {"nvml/gpu0": total_j},
        },
    }  # fmt: skip
    run.write_manifest(document | dict(manifest or {}))
    if readings:
        write_readings(run, window, power_w)
    return run


def write_readings(run: RunDir, window: Sequence[int], power_w: float, skip_s: tuple[float, float] = (0, 0)) -> None:
    """Write a counter read ten times a second, from `IDLE_S` before the window to as long after; none in `skip_s`."""
    t = np.arange(window[0] - int(IDLE_S * SECOND), window[1] + int(IDLE_S * SECOND), SECOND // 10)
    busy_s = np.clip(t, window[0], window[1]) - window[0]
    value = IDLE_W * (t - t[0] - busy_s) / SECOND + power_w * busy_s / SECOND
    rows = np.zeros(len(t), RECORD_FIELDS)
    rows["t_ns"], rows["value"], rows["uncertainty_ns"] = t, value, 1000
    since = (t - window[0]) / SECOND
    rows = rows[(since < skip_s[0]) | (since > skip_s[1])] if skip_s != (0, 0) else rows
    (run.path / READINGS).write_bytes(rows.tobytes())


def write_journal(run: RunDir, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the journal as a crash would leave it."""
    (run.path / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def _spans(
    window: Sequence[int], total_j: float, rel: float, starts: Any, first: Any, ends: Any
) -> list[dict[str, Any]]:
    second = SECOND
    before = {"name": "idle before", "phase": "idle", "start_ns": window[0] - 3 * second, "end_ns": window[0],
              "energy_j": 15.0, "energy_low_j": 14.7, "energy_high_j": 15.3}  # fmt: skip
    bounds = {"energy_low_j": total_j * (1 - rel), "energy_high_j": total_j * (1 + rel)}
    measure = {"name": "measure", "phase": "measure", "start_ns": window[0], "end_ns": window[1], "energy_j": total_j}
    spans = [before, measure | bounds]
    for start, middle, end in zip(starts.tolist(), first.tolist(), ends.tolist(), strict=True):
        spans.append({"name": "prefill", "phase": "prefill", "start_ns": start, "end_ns": middle})
        spans.append({"name": "decode", "phase": "decode", "start_ns": middle, "end_ns": end})
    blank = {"parent_id": None, "tokens": None, "energy_j": None, "energy_low_j": None, "energy_high_j": None,
             "net_energy_j": None}  # fmt: skip
    return [{"span_id": i} | blank | span for i, span in enumerate(spans)]
