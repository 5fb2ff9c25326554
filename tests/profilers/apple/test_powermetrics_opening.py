"""How powermetrics is started: which options it is asked with in turn, with sudo or without, and what ends that."""

from __future__ import annotations

import os
import plistlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ipw.profilers.apple import powermetrics
from ipw.profilers.apple.powermetrics import open_sensor

PLAIN = "-f plist -i 200 -b 0 --samplers cpu_power"
TRIED = [f"{PLAIN},gpu_power,ane_power --hide-cpu-duty-cycle", f"{PLAIN},gpu_power --hide-cpu-duty-cycle", PLAIN]
Programs = Callable[..., Callable[[], list[str]]]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Have these programs alone, by name their last lines; returns what tells how they were started."""

    def have(root: bool = True, within_s: float = 200.0, **lines: str) -> Callable[[], list[str]]:
        for name, line in lines.items():
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\necho {name} \"$@\" >> '{tmp_path}/started'\n{line}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(powermetrics, "FIRST_WITHIN_S", within_s)
        monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 501)
        return lambda: (tmp_path / "started").read_text().splitlines() if (tmp_path / "started").exists() else []

    return have


def test_where_there_is_no_powermetrics_or_no_sudo_that_is_told(programs: Programs) -> None:
    started = programs()
    (channel,) = open_sensor().channels
    assert (channel.status, channel.reason) == ("absent", "there is no program powermetrics here (macOS has it)")
    programs(root=False, powermetrics="exit 1")
    (channel,) = open_sensor().channels
    assert (channel.name, channel.status, channel.scope) == ("powermetrics", "permission", "soc")
    assert channel.reason == "powermetrics needs root, and there is no sudo"
    assert (channel.hint or "").startswith('echo "$USER ALL=(root) NOPASSWD: /usr/bin/powermetrics"')
    assert started() == []


@pytest.mark.parametrize(
    ("line", "tried", "status", "reason"),
    [
        (
            'echo "unrecognized sampler: $8" >&2; exit 64', 3, "unsupported",
            "; ".join(
                f"powermetrics has ended (code 64): unrecognized sampler: {each.split()[7]}" for each in TRIED
            ),
        ),
        ("exit 7", 3, "unsupported", "powermetrics has ended (code 7)"),
        ("kill -9 $$", 3, "unsupported", "powermetrics has ended (signal 9)"),
        ("echo Must be ROOT >&2; exit 1", 1, "permission", "powermetrics needs root: powermetrics has ended (code 1)"),
        ("echo CPU Power: 5 mW", 1, "unsupported", "powermetrics writes no property list but 'CPU Power: 5 mW'"),
        ("printf '%0400d' 0 >&2; exit 1", 3, "unsupported", f"powermetrics has ended (code 1): {'0' * 299}…"),
    ],
    ids=["a sampler that it lacks", "a code", "a signal", "root", "another format", "many words"],
)  # fmt: skip
def test_fewer_samplers_are_asked_for_until_one_serves_or_it_is_no_sampler_that_it_minds(
    programs: Programs, line: str, tried: int, status: str, reason: str
) -> None:
    started = programs(powermetrics=line)
    (channel,) = open_sensor().channels
    assert started() == [f"powermetrics {words}" for words in TRIED[:tried]]
    assert channel.status == status
    assert (channel.reason or "").startswith(reason)
    assert status == "permission" or channel.reason == reason


def test_sudo_is_told_never_to_ask_and_the_first_options_that_serve_are_kept(
    programs: Programs, tmp_path: Path
) -> None:
    powers = {"cpu_power": 2000, "gpu_power": 1000}
    text = plistlib.dumps({"elapsed_ns": 10**8, "processor": powers}).decode()
    (tmp_path / "samples").write_text(text + text)
    serves = f"case \"$*\" in *ane*) exit 64;; esac; command -p cat '{tmp_path}/samples'; exec /bin/sleep 60"
    started = programs(root=False, sudo='shift; exec "$@"', powermetrics=serves)
    sensor = open_sensor()
    assert [channel.name.partition("/")[2] for channel in sensor.channels] == ["soc", "cpu", "gpu"]
    assert started() == [
        line for words in TRIED[:2] for line in (f"sudo -n powermetrics {words}", f"powermetrics {words}")
    ]
    sensor.close()


def test_a_first_sample_is_waited_for_five_seconds(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_s: list[float | None] = []

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited_s.append(timeout)
            return False

    monkeypatch.setattr(powermetrics, "threading", SimpleNamespace(Event=Event, Thread=threading.Thread))
    programs(within_s=powermetrics.FIRST_WITHIN_S, powermetrics="exec /bin/sleep 60")
    (channel,) = open_sensor().channels
    assert (waited_s, channel.reason) == ([5.0], "powermetrics wrote no sample within 5 s")
