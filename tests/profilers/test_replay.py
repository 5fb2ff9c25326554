from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubles.reading import failure, opened, reading, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import find
from ipw.runs.readings import RECORD

SENSORS = [
    {"name": "rapl/package-0", "kind": "counter", "scope": "package", "method": "counter", "index": 0},
    {"name": "nvml", "kind": "counter", "scope": "gpu", "method": "counter", "status": "absent", "reason": "none"},
]
READINGS = [(1_000_000_000 + 20_000_000 * i, 5.0 * i, 0, 0 if i < 8 else 4, 1000) for i in range(10)]
"""A counter read every 20 ms, lost at the end: time, value, channel, status, uncertainty."""


def open_replay() -> Sensor:
    (sensor,) = find("replay")
    return sensor


def test_a_run_that_did_not_finish_is_replayed_at_its_own_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"sensors": SENSORS}))
    (tmp_path / "power.bin").write_bytes(b"".join(RECORD.pack(*each) for each in READINGS) + b"torn")
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path))
    check_replay()


def test_a_finished_run_is_replayed_from_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"sensors": SENSORS}))
    t, energy, _, status, half = (list(column) for column in zip(*READINGS, strict=True))
    names = pa.array(["rapl/package-0"] * 10).dictionary_encode()
    table = pa.table({"t_ns": t, "channel": names, "value": energy, "status": status, "uncertainty_ns": half})
    pq.write_table(table, tmp_path / "power.parquet")
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path / "power.parquet"))
    check_replay()


def check_replay() -> None:
    with opened(open_replay()) as sensor:
        (channel,) = sensor.channels
        assert (channel.name, channel.method, channel.kind) == ("rapl/package-0", "counter", "counter")
        assert channel.note
        assert "replayed" in channel.note
        first = reading(sensor, channel.name)
        time.sleep(0.05)
        last = reading(sensor, channel.name)
        assert (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(250.0)
        assert failure(sensor, channel.name).reason == "as recorded"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("t_ns,channel,unit,scope,value\n", "no reading"),
        ("t_ns,channel,unit,scope,value\n1,a,J,moon,2\n", "moon"),
        ("t_ns,channel,unit,scope,value\n1,a,J,gpu,nan\n", "finite"),
        ("a,b\n1,2\n", "channel"),
    ],
)
def test_a_recording_that_is_none_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    (tmp_path / "x.csv").write_text(content)
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path / "x.csv"))
    told: Any = open_replay().channels[0]
    assert told.status == "unsupported"
    assert reason in told.reason
    assert "IPW_REPLAY=" in told.hint


def test_a_recording_that_has_ended_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.csv").write_text("t_ns,channel,unit,scope,value\n1,a,J,gpu,2\n")
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path / "x.csv"))
    with opened(open_replay()) as sensor:
        assert value(sensor, "a") == 2.0
        assert failure(sensor, "a").reason == "the recording has ended"
