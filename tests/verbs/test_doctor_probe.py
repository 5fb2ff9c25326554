from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import NOTHING
from doubles.patience import undisturbed
from doubles.powercap import Powercap

import ipw


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package at 100 W, whose counter is renewed every 10 ms or a little later."""
    tree = Powercap(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    here = {"IPW_POWERCAP": str(tree.root), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    for variable, value in (NOTHING | here).items():
        monkeypatch.setenv(variable, value)
    with tree.drawing({"intel-rapl:0": 100.0}, period_s=0.01):
        yield


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipw.cli", "doctor", "--sensors", "rapl", "--probe", "--seconds", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_probe_tells_keeps_and_later_runs_use_what_it_measured(tmp_path: Path) -> None:

    def told() -> dict[str, Any]:
        result = doctor("--json")
        assert result.returncode == 0
        answer: dict[str, Any] = json.loads(result.stdout)
        (profile,) = answer["profiles"]
        assert 0.0095 <= profile["update_period_s"] < 0.02
        assert profile["idle_power_w"] == pytest.approx(100.0, rel=0.1)
        return answer

    answer = undisturbed(told)
    (profile,) = answer["profiles"]
    assert profile["channel"] == "rapl/package-0"
    assert profile["reasons"]["part_time"] == "nothing here puts a known load on it"
    assert answer["profiles_path"] == str(tmp_path / "config/ipw/sensors.json")
    with ipw.measure(sensors="rapl", out=tmp_path / "runs") as m:
        pass
    (channel,) = json.loads((m.path / "manifest.json").read_text())["sensors"]
    assert channel["update_period_s"] == profile["update_period_s"]
    assert channel["profile"] == profile


def test_people_see_a_table_and_where_it_is_kept(tmp_path: Path) -> None:
    result = doctor()
    assert result.returncode == 0
    assert "probing" not in result.stdout  # progress is no answer
    assert "rapl/package-0" in result.stdout
    assert "renewed" in result.stdout
    assert str(tmp_path / "config/ipw/sensors.json") in result.stdout


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    result = doctor("--json")
    assert result.returncode == 5
    assert "cannot write" in json.loads(result.stdout)["error"]
    assert os.linesep.join(result.stderr.splitlines()[-2:]).startswith("ipw: cannot write")
