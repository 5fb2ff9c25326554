from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doubles.machines import MACHINES, NOTHING
from doubles.nvml import FakeNvml

from ipw.profilers import http_meter

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
LIBRARIES = ("amdsmi", "zeus_apple_silicon")


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever this machine has, tests see what they set up."""
    for variable in (*VARIABLES, "IPW_METER_URL", "IPW_REPLAY", "IPW_FAKE_NVML"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in NOTHING.items():
        monkeypatch.setenv(variable, value)
    yield
    for library in LIBRARIES:
        sys.modules.pop(library, None)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Be on a machine that has this sensor."""
    with ExitStack() as stack:

        def be_on(sensor: str) -> None:
            environment = MACHINES[sensor](tmp_path, stack)
            for variable, value in environment.items():
                monkeypatch.setenv(variable, value, prepend=os.pathsep if variable == "PYTHONPATH" else None)
            if "PYTHONPATH" in environment:
                monkeypatch.syspath_prepend(environment["PYTHONPATH"])
            monkeypatch.setattr(http_meter, "PERIOD_S", 0.05)
            if sensor == "nvml":
                FakeNvml(tmp_path / "nvml").preload()

        yield be_on


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], FakeNvml]:
    """Have this many GPUs in the test's own process."""

    def have(count: int) -> FakeNvml:
        fake = FakeNvml.create(tmp_path / "nvml", count)
        monkeypatch.setenv("IPW_FAKE_NVML", str(fake.folder))
        fake.preload()
        return fake

    return have
