"""Helpers of tests that read sensors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ipw.profilers.base import Channel, Reading, Sensor, SensorError


def named(sensor: Sensor, name: str) -> Channel:
    """The channel of this name."""
    return next(channel for channel in sensor.channels if channel.name == name)


def read(sensor: Sensor, name: str) -> Reading | None:
    """Read the channel of this name once."""
    return sensor.read([channel.name for channel in sensor.channels].index(name))


def value(sensor: Sensor, name: str, within_s: float = 60.0) -> float:
    """Read the channel of this name until there is something."""
    return reading(sensor, name, within_s).value


def reading(sensor: Sensor, name: str, within_s: float = 60.0) -> Reading:
    """Read the channel of this name until there is something."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = read(sensor, name)
        if found is not None:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{name} gave nothing within {within_s} s")


def failure(sensor: Sensor, name: str, within_s: float = 60.0) -> SensorError:
    """Read the channel of this name until it fails."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            read(sensor, name)
        except SensorError as error:
            return error
        time.sleep(0.005)
    raise AssertionError(f"{name} did not fail within {within_s} s")


@contextmanager
def opened(sensor: Sensor) -> Iterator[Sensor]:
    """Close the sensor when the block ends."""
    try:
        yield sensor
    finally:
        sensor.close()


def in_child(code: str, environment: Mapping[str, str]) -> str:
    """Run code in a process of its own, since NVML can be loaded into one only once."""
    paths = os.pathsep.join([environment.get("PYTHONPATH", ""), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
