"""The sensor of another package that docs/sensors.md shows, installed and used as it stands there."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.reading import failure, named, opened, value

from ipw.profilers.base import Sensor
from ipw.profilers.discovery import choose_basis, find

PAGE = Path(__file__).parents[2] / "docs/sensors.md"


def block(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(code)


@pytest.fixture
def meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the package; return the file that its sensor reads."""
    (tmp_path / "labmeter.py").write_text(block("python"))
    (points,) = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    installed = tmp_path / "labmeter-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: labmeter\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points[1].items()]
    (installed / "entry_points.txt").write_text("\n".join([f"[{points[0]}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LABMETER", str(tmp_path / "watts"))
    yield tmp_path / "watts"
    sys.modules.pop("labmeter", None)


def open_labmeter() -> Sensor:
    (sensor,) = find("labmeter")
    return sensor


def test_the_example_is_found_by_name_and_read(meter: Path) -> None:
    meter.write_text("231.5\n")
    with opened(open_labmeter()) as sensor:
        assert value(sensor, "labmeter/input") == 231.5
        assert choose_basis(sensor.channels).name == "wall"
        meter.write_text("?\n")
        assert failure(sensor, "labmeter/input").status == "lost"


def test_the_example_is_among_those_that_auto_opens(meter: Path) -> None:
    meter.write_text("231.5\n")
    sensors = find("auto")
    assert "labmeter/input" in {channel.name for sensor in sensors for channel in sensor.channels}
    assert "estimate/cpu" not in {channel.name for sensor in sensors for channel in sensor.channels}


def test_the_example_without_its_meter_says_what_to_start(meter: Path) -> None:
    with opened(open_labmeter()) as sensor:
        assert named(sensor, "labmeter").hint == "start labmeterd"


def test_the_example_takes_no_more_than_thirty_lines() -> None:
    assert len(block("python").splitlines()) <= 30
