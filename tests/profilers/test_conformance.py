"""What every sensor promises, tried on each through its stand-in."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from doubles.machines import MACHINES, NOTHING
from doubles.reading import failure, opened, reading

from ipw.clock import now_ns
from ipw.energy.belief.limits import OF_SCOPE
from ipw.profilers.base import Channel, Method, Scope, Sensor, SensorError
from ipw.profilers.discovery import SENSORS, choose_basis, find
from ipw.runs.readings import Kind, Status

ALL = pytest.mark.parametrize("name", SENSORS)


@pytest.fixture
def sensor(name: str, machine: Callable[[str], None]) -> Iterator[Sensor]:
    machine(name)
    (found,) = find(name)
    if name == "perf" and found.channels[0].status == "permission":
        pytest.skip("this kernel lets nobody but root open perf events")
    with opened(found):
        yield found


def energies(sensor: Sensor) -> list[Channel]:
    return [channel for channel in sensor.channels if channel.status == "ok" and channel.kind != "gauge"]


def test_every_sensor_has_a_stand_in() -> None:
    assert list(MACHINES) == list(SENSORS)


@ALL
def test_channels_are_well_formed(name: str, sensor: Sensor) -> None:
    names = [channel.name for channel in sensor.channels]
    assert len(set(names)) == len(names)
    for channel in sensor.channels:
        assert channel.kind in get_args(Kind)
        assert channel.scope in get_args(Scope)
        assert channel.method in get_args(Method)
        assert channel.status in get_args(Status)
        assert (channel.status == "ok") == (channel.reason is None)
        assert channel.unit == {"counter": "J", "power": "W"}.get(channel.kind, channel.unit)
        assert channel.included_in is None or channel.included_in in names
        assert channel.poll_s > 0
        assert channel.name.startswith(f"{name}/") or name == "replay"
        assert json.loads(json.dumps(channel.as_dict(), allow_nan=False)) == channel.as_dict()


@ALL
def test_every_counter_and_every_power_has_a_limit_of_its_own_or_of_its_class(name: str, sensor: Sensor) -> None:
    for channel in energies(sensor):
        assert channel.max_power_w is not None
        assert 1.0 <= channel.max_power_w <= 4 * OF_SCOPE[channel.scope].power_w


@pytest.mark.parametrize("told", [None, 0.0, -5.0, math.nan, math.inf, 1e-3, 1e9, 2.0**64, 4294967.295, True])
@pytest.mark.parametrize("scope", get_args(Scope))
def test_a_limit_that_is_nonsense_is_no_limit(scope: Scope, told: float | None) -> None:
    channel = Channel(name="a/b", kind="power", scope=scope, method="integrated_power", max_power_w=told)
    assert channel.max_power_w == OF_SCOPE[scope].power_w
    assert replace(channel, max_power_w=70.0).max_power_w == 70.0
    assert replace(channel, kind="gauge", max_power_w=told).max_power_w is told


@ALL
def test_there_is_energy_to_measure_and_a_basis_for_it(name: str, sensor: Sensor) -> None:
    assert energies(sensor)
    basis = choose_basis(sensor.channels)
    assert basis.name is not None
    assert basis.channels <= {channel.name for channel in energies(sensor)}


@ALL
def test_readings_are_of_now_and_counters_never_fall(name: str, sensor: Sensor) -> None:
    for channel in energies(sensor):
        before = now_ns()
        readings = [reading(sensor, channel.name) for _ in range(2)]
        assert readings[1].t_ns > readings[0].t_ns
        assert readings[1].t_ns <= now_ns()
        assert readings[0].t_ns > before - 10_000_000_000
        assert all(each.value >= 0 and each.uncertainty_ns >= 0 for each in readings)
        if channel.kind == "counter":
            assert readings[1].value >= readings[0].value


@ALL
def test_closing_twice_is_harmless_and_a_closed_sensor_says_that_it_is_lost(name: str, sensor: Sensor) -> None:
    sensor.close()
    sensor.close()
    assert failure(sensor, sensor.channels[0].name).status == "lost"


@pytest.mark.parametrize("name", [name for name in SENSORS if name not in {"estimate", "nvml"}])
def test_a_machine_without_it_gets_a_reason_and_no_error(name: str) -> None:
    (missing,) = find(name)
    (channel,) = missing.channels
    assert channel.status == "absent"
    assert channel.reason
    with pytest.raises(SensorError, match=r"."):
        missing.read(0)
    missing.close()
    assert choose_basis(missing.channels).name is None


CHILD = """
import sys
started = []
def audit(event, arguments):
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "pty.spawn"):
        started.append([event, *map(str, arguments[1] or [])] if event == "subprocess.Popen" else [event])
sys.addaudithook(audit)
from ipw.profilers.discovery import find
(sensor,) = find(sys.argv[1])
told = {"statuses": [channel.status for channel in sensor.channels]}
heavy = {"importlib.metadata", "numpy", "pandas", "torch", "pyarrow", "matplotlib", "aiohttp"}
told["heavy"] = sorted(heavy & set(sys.modules))
told["started"] = started
sensor.close()
import json
print(json.dumps(told))
"""


@ALL
def test_opening_imports_nothing_heavy_and_starts_no_shell_and_asks_no_password(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        environment = os.environ | NOTHING | MACHINES[name](tmp_path, stack)
        paths = f"{environment.get('PYTHONPATH', '')}:{Path(__file__).parents[2]}"
        command = [sys.executable, "-c", CHILD, name]
        out = subprocess.run(
            command, env=environment | {"PYTHONPATH": paths}, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
    told = json.loads(out.stdout)
    assert "ok" in told["statuses"] or told["statuses"] == ["permission"]
    assert told["heavy"] == []
    for event, *arguments in told["started"]:
        assert event == "subprocess.Popen"
        assert not {"sh", "bash", "zsh"} & {Path(each).name for each in arguments}
        assert arguments[0] != "sudo" or arguments[1] == "-n"
