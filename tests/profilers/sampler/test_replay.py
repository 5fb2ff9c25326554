from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubles.clock import Clock
from doubles.reading import failure, opened, reading, value

from ipw.foreign_text import read_text
from ipw.profilers import replay
from ipw.profilers.base import Sensor
from ipw.profilers.discovery import find
from ipw.profilers.power_logs import read_log
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
    check_replay(Clock(5_000_000).drives(replay, monkeypatch))


def test_a_finished_run_is_replayed_from_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"sensors": SENSORS}))
    t, energy, _, status, half = (list(column) for column in zip(*READINGS, strict=True))
    names = pa.array(["rapl/package-0"] * 10).dictionary_encode()
    table = pa.table({"t_ns": t, "channel": names, "value": energy, "status": status, "uncertainty_ns": half})
    pq.write_table(table, tmp_path / "power.parquet")
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path / "power.parquet"))
    check_replay(Clock(5_000_000).drives(replay, monkeypatch))


def check_replay(clock: Clock) -> None:
    with opened(open_replay()) as sensor:
        (channel,) = sensor.channels
        assert (channel.name, channel.method, channel.kind) == ("rapl/package-0", "counter", "counter")
        assert channel.note
        assert "replayed" in channel.note
        first = reading(sensor, channel.name)
        clock.sleep(0.05)
        last = reading(sensor, channel.name)
        assert (last.value - first.value) / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(250.0)
        assert failure(sensor, channel.name).reason == "as recorded"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("t_ns,channel,unit,scope,value\n", "no reading"),
        ("t_ns,channel,unit,scope,value\n1,a,J,moon,2\n", "line 2: 'moon' is not a scope; choose one of gpu, module,"),
        ("t_ns,channel,unit,scope,value\n1,a,J,gpu,nan\n", "line 2: value is not finite"),
        ("t_ns,channel,unit,scope,value\n1,a,J,gpu,2\nsoon,a,J,gpu,3\n", "line 3: t_ns is 'soon'"),
        ("t_ns,channel,unit,scope,value\n1,a,J,gpu,two\n", "line 2: value is 'two', which is not a number"),
        ("t_ns,channel,unit,scope,value\n1,a\n2,a,J,gpu,3\n", "line 2 has 2 of 5 cells"),
        ("t_ns,channel,value\n1,a,2\n", "there is no column unit, scope"),
        ("a,b\n1,2\n", "not a CSV with the columns t_ns, channel, unit, scope, value"),
        ("", "not a CSV with the columns"),
        ("\0\1\2", "not a CSV with the columns"),
        ("index, power.draw [W]\n0, 5.0 W\n", "no column timestamp"),
        ("timestamp, power.draw [W]\nnow, 5.0 W\n", "line 2: 'now' is not a time"),
        ("timestamp, power.draw [W]\n2026/01/02 03:04:05.006, five W\n", "line 2: power.draw [W] is 'five'"),
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


CSV = """t_ns,channel,unit,scope,value
0,gpu/0,W,gpu,100.5
20000000,gpu/0,W,gpu,
40000000,gpu/0,W,gpu,101.5
60000000,gpu/0,W,gpu,N/A
80000000,gpu/0,W,gpu,102.5
"""


@pytest.mark.parametrize(
    "raw",
    [
        CSV.encode(),
        CSV.encode("utf-8-sig"),
        CSV.encode("utf-16"),
        CSV.encode("utf-16-le"),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace("\n", "\n\n").encode(),
        CSV.replace(",", ";").replace(".", ",").encode(),
        CSV.replace(",", "\t").encode(),
        CSV.replace(",", ", ").encode(),
        CSV.replace("gpu/0", '"gpu/0"').replace("20000000", "2e7").encode(),
        CSV.replace("channel", "comment,channel").replace(",gpu/0", ',"a, b",gpu/0').encode(),
        (CSV + "1000000").encode(),
    ],
    ids=[
        "plain", "UTF-8 with a mark", "UTF-16", "UTF-16 without a mark", "CRLF", "blank lines", "semicolons",
        "tabs", "spaces", "quotes and exponents", "another column", "cut off",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.tsv", "x.log", "x"])
def test_a_table_is_read_in_any_dialect_and_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, name: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path / name))
    with opened(open_replay()) as sensor:
        (channel,) = sensor.channels
        assert (channel.name, channel.kind, channel.unit, channel.scope) == ("gpu/0", "power", "W", "gpu")
    _, tracks = read_log(read_text(tmp_path / name))
    assert [(each.t_ns, each.value, each.status) for each in tracks["gpu/0"] if each.status == "ok"] == [
        (0, 100.5, "ok"), (40_000_000, 101.5, "ok"), (80_000_000, 102.5, "ok"),
    ]  # fmt: skip
    assert [each.status for each in tracks["gpu/0"]] == ["ok", "lost", "ok", "unsupported", "ok"]


@pytest.mark.parametrize(
    ("head", "cell", "watts"),
    [
        ("power.draw [W]", "103.52 W", 103.52),
        ("power.draw [W]", "103.52", 103.52),
        ("power.draw", "103.52", 103.52),
        ("power.draw.average [W]", "103.52 W", 103.52),
        ("power.draw.instant [W]", "0.10 W", 0.10),
        ("power.draw [W]", "103520 mW", 103.52),
        ("power.draw [mW]", "103520", 103.52),
        ("power.draw [W]", "0.10352 kW", 103.52),
        ("power.draw [W]", "[Unknown Error]", "lost"),
        ("power.draw [W]", "[GPU is lost]", "lost"),
        ("power.draw [W]", "[GPU requires reset]", "lost"),
        ("power.draw [W]", "ERR!", "lost"),
        ("power.draw [W]", "[N/A]", "unsupported"),
        ("power.draw [W]", "N/A", "unsupported"),
        ("power.draw [W]", "[Not Supported]", "unsupported"),
    ],
)
def test_a_cell_of_nvidia_smi_is_watts_or_a_hole(head: str, cell: str, watts: float | str) -> None:
    rows = [f"2026/01/02 03:04:05.{k:03d}, 0, {cell}" for k in (6, 26)]
    channels, tracks = read_log("\n".join([f"timestamp, index, {head}", *rows]))
    (track,) = tracks.values()
    assert [channel.name for channel in channels] == ["nvidia-smi/gpu0"]
    told = [round(each.value, 9) if each.status == "ok" else each.status for each in track]
    assert told == [watts, watts]
    assert track[1].t_ns - track[0].t_ns == 20_000_000


@pytest.mark.parametrize(
    ("unit", "cell", "kind", "value"),
    [
        ("mW", "103520", "power", 103.52), ("kW", "0.10352", "power", 103.52), ("uW", "103520000", "power", 103.52),
        ("\N{MICRO SIGN}J", "5000000", "counter", 5.0), ("mJ", "5000", "counter", 5.0), ("MJ", "0.5", "counter", 5e5),
        ("Wh", "2", "counter", 7200.0), ("kWh", "2", "counter", 7.2e6), ("Ws", "2", "counter", 2.0),
        ("C", "45", "gauge", 45.0), ("MHz", "45", "gauge", 45.0), ("%", "45", "gauge", 45.0), ("", "45", "gauge", 45.0),
    ],
)  # fmt: skip
def test_joules_and_watts_are_known_with_any_prefix(unit: str, cell: str, kind: str, value: float) -> None:
    (channel,), tracks = read_log(f"t_ns,channel,unit,scope,value\n0,a/b,{unit},gpu,{cell}\n")
    assert channel.kind == kind
    assert channel.unit == {"power": "W", "counter": "J"}.get(kind, unit)
    assert tracks["a/b"][0].value == pytest.approx(value)


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05.006", "2026-01-02 03:04:05.006", "2026-01-02T03:04:05.006Z"])
def test_times_in_their_international_form_are_times_too(time: str) -> None:
    _, tracks = read_log(f"timestamp, power.draw [W]\n2026/01/02 03:04:05.000, 1 W\n{time}, 2 W\n")
    first, second = tracks["nvidia-smi/gpu0"]
    assert second.t_ns - first.t_ns == 6_000_000


@pytest.mark.parametrize(
    "before", ["$ nvidia-smi --query-gpu=timestamp,power.draw --format=csv", "note, of: me\n\nx;y"]
)
def test_what_a_shell_said_before_a_log_is_no_part_of_it(before: str) -> None:
    for head, row, name in (
        ("timestamp, power.draw [W]", "2026/01/02 03:04:05.000, 1 W", "nvidia-smi/gpu0"),
        ("t_ns,channel,unit,scope,value", "0,a/b,W,gpu,1", "a/b"),
    ):
        _, tracks = read_log(f"{before}\n{head}\n{row}\n")
        assert [each.value for each in tracks[name]] == [1.0]
        with pytest.raises(ValueError, match=f"^line {3 + ('note' in before)}: "):
            read_log(f"{before}\n{head}\n{row.replace('1', 'x')}\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("RAM 2100/3964MB (lfb 4x4MB) CPU [10%@1479] POM_5V_IN 3410/3385\n" * 3, "have no dates"),
        ("# gpu   pwr gtemp\n# Idx     W     C\n    0   101    45\n", "nvidia-smi dmon tells whole watts"),
        ("#Date       Time        gpu   pwr gtemp\n 20260102  03:04:05 0 101 45\n", "log with nvidia-smi --query-gpu"),
    ],
)
def test_logs_that_cannot_be_played_say_which_can(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_log(text)


def test_the_load_of_the_host_of_a_run_is_not_replayed_as_this_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = {"name": "load/host", "kind": "gauge", "scope": "system", "method": "counter", "unit": "s", "index": 1}
    (tmp_path / "manifest.json").write_text(json.dumps({"sensors": [*SENSORS, load]}))
    rows = [*READINGS, *((t, 1.0, 1, 0, 0) for t, *_ in READINGS)]
    (tmp_path / "power.bin").write_bytes(b"".join(RECORD.pack(*each) for each in rows))
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path))
    with opened(open_replay()) as sensor:
        assert [channel.name for channel in sensor.channels] == ["rapl/package-0"]


def test_what_another_machine_read_is_replayed_on_one_clock_and_not_moved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = {"kind": "counter", "scope": "gpu", "method": "counter", "host": "far", "clock": "far/clock"}
    clock = {"name": "far/clock", "kind": "gauge", "scope": "system", "method": "external_meter", "unit": "s"}
    sensors = [clock | {"host": "far", "index": 0}, far | {"name": "far/nvml/gpu0", "index": 1}]
    (tmp_path / "manifest.json").write_text(json.dumps({"sensors": sensors}))
    ahead_ns = 47_000_000
    rows = [(1_000_000_000 + 20_000_000 * i, ahead_ns / 1e9, 0, 0, 1000) for i in range(4)]
    rows += [(t + ahead_ns, 5.0 * i, 1, 0, 1000) for i, (t, *_) in enumerate(rows)]
    (tmp_path / "power.bin").write_bytes(b"".join(RECORD.pack(*each) for each in rows))
    monkeypatch.setenv("IPW_REPLAY", str(tmp_path))
    with opened(open_replay()) as sensor:
        assert [channel.clock for channel in sensor.channels] == [None, None]
        first, second = (reading(sensor, channel.name) for channel in sensor.channels)
    apart_ns = (second.t_ns - first.t_ns) % 20_000_000
    assert min(apart_ns, 20_000_000 - apart_ns) < 100_000
