"""A replay gives each reading when as much time has passed as there had then, and refuses what can be none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ipw.profilers import replay
from ipw.profilers.base import Reading, Sensor, SensorError
from ipw.runs.readings import RECORD

NOW_NS = 10**12
COUNTER = {"name": "rapl/package-0", "kind": "counter", "scope": "package", "method": "counter", "index": 0}
POWER = {"name": "nvml/gpu0", "kind": "power", "scope": "gpu", "method": "integrated_power", "unit": "W", "index": 3}
Row = tuple[int, float, int, int, int]
"""Time, value, channel, status, uncertainty: as power.bin has it."""
OK, LOST = 0, 4


class Replay:
    """A run of these readings, played on a clock that the test moves."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, rows: list[Row], *sensors: dict[str, Any]) -> None:
        self.now_ns = NOW_NS
        patch.setattr(replay, "now_ns", lambda: self.now_ns)
        (folder / "manifest.json").write_text(json.dumps({"sensors": list(sensors or (COUNTER, POWER))}))
        (folder / "power.bin").write_bytes(b"".join(RECORD.pack(*row) for row in rows))
        patch.setenv("IPW_REPLAY", str(folder))
        self.sensor: Sensor = replay.open_sensor()

    def at(self, after_ns: int, index: int = 0) -> Reading | str | None:
        """Read so long after the start: the reading with its time since then, or why there is none."""
        self.now_ns = NOW_NS + after_ns
        try:
            reading = self.sensor.read(index)
        except SensorError as error:
            return f"{error.status}: {error.reason}"
        return reading and reading._replace(t_ns=reading.t_ns - NOW_NS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


ROWS: list[Row] = [
    (5_020, 7.5, 3, OK, 9), (5_000, 1.0, 0, OK, 2), (5_030, math.nan, 0, LOST, 0), (5_010, 2.0, 0, OK, 3),
    (5_040, 4.0, 0, OK, 5),
]  # fmt: skip


def test_each_reading_is_given_once_when_its_time_has_come_and_the_end_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Replay(folder, monkeypatch, ROWS)
    assert [channel.name for channel in played.sensor.channels] == ["rapl/package-0", "nvml/gpu0"]
    assert {channel.note for channel in played.sensor.channels} == {f"replayed from {folder}"}
    assert played.at(0) == Reading(0, 1.0, 2)
    assert played.at(9) is None
    assert played.at(10) == Reading(10, 2.0, 3)
    assert played.at(29) is None
    assert played.at(30) == "lost: as recorded"
    assert played.at(30) is None
    assert played.at(40) == Reading(40, 4.0, 5)
    assert played.at(40) == "lost: the recording has ended"
    assert played.at(19, index=1) is None
    assert played.at(20, index=1) == Reading(20, 7.5, 9)
    assert played.at(20, index=1) == "lost: the recording has ended"


def test_who_reads_seldom_is_given_the_newest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Replay(folder, monkeypatch, ROWS).at(35) == "lost: as recorded"
    assert Replay(folder, monkeypatch, ROWS).at(1000) == Reading(40, 4.0, 5)


@pytest.mark.parametrize(
    ("row", "sensors", "reason"),
    [
        ((7, math.nan, 0, OK, 0), (), "a value is not finite"),
        ((7, math.inf, 0, OK, 0), (), "a value is not finite"),
        ((7, 1.0, 0, 99, 0), (), "a reading is of no time, or of no status that is known"),
        ((-1, 1.0, 0, OK, 0), (), "a reading is of no time, or of no status that is known"),
        ((2**62, 1.0, 0, OK, 0), (), "a reading is of no time, or of no status that is known"),
        ((7, 1.0, 1, OK, 0), (), "it holds readings of a channel that its manifest does not name"),
        ((7, 1.0, 0, OK, 0), ({key: COUNTER[key] for key in ("name", "index")},), "missing 3 required"),
        (
            (7, 1.0, 0, OK, 0),
            ({key: COUNTER[key] for key in ("kind", "scope", "method", "index")},),
            "sensors[0].name is missing",
        ),
    ],
)
def test_a_reading_that_can_be_none_makes_no_recording(
    folder: Path, monkeypatch: pytest.MonkeyPatch, row: Row, sensors: tuple[dict[str, Any], ...], reason: str
) -> None:
    (channel,) = Replay(folder, monkeypatch, [*ROWS[:1], row] if not sensors else [row], *sensors).sensor.channels
    assert (channel.name, channel.status, channel.scope) == ("replay", "unsupported", "system")
    assert (channel.reason or "").startswith(f"{folder} cannot be replayed: ")
    assert reason in (channel.reason or "")
    assert (channel.hint or "").startswith("IPW_REPLAY=RUN")


def test_a_hole_has_no_value_and_is_one_of_any_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Replay(folder, monkeypatch, [(0, math.nan, 0, LOST, 0), (2**62 - 1, 1.0, 0, OK, 0)])
    assert played.at(0) == "lost: as recorded"
    assert played.at(2**62 - 1) == Reading(2**62 - 1, 1.0, 0)


def test_a_channel_without_readings_is_left_out_and_facts_of_a_later_version_are_let_through(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Replay(folder, monkeypatch, ROWS[1:2], COUNTER | {"colour": "red", "clock": None}, POWER)
    assert [channel.name for channel in played.sensor.channels] == ["rapl/package-0"]
    (empty,) = Replay(folder, monkeypatch, []).sensor.channels
    assert (empty.status, empty.reason) == ("unsupported", f"{folder} holds no reading")


@pytest.mark.parametrize("file", ["manifest.json", "requests.jsonl", "power.bin", "report.html", "power.parquet"])
def test_any_file_of_a_run_stands_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    Replay(folder, monkeypatch, ROWS)
    monkeypatch.setenv("IPW_REPLAY", str(folder / file))
    assert [channel.name for channel in replay.open_sensor().channels] == ["rapl/package-0", "nvml/gpu0"]


@pytest.mark.parametrize(("name", "status"), [(None, "absent"), ("", "absent"), ("/nonexistent/x.csv", "unsupported")])
def test_without_a_recording_there_is_nothing_to_replay(
    monkeypatch: pytest.MonkeyPatch, name: str | None, status: str
) -> None:
    monkeypatch.setenv("IPW_REPLAY", name or "")
    if name is None:
        monkeypatch.delenv("IPW_REPLAY")
    (channel,) = replay.open_sensor().channels
    assert (channel.name, channel.status) == ("replay", status)
