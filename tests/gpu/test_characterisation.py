"""`make gpu-check`: the sensors of this machine's NVIDIA GPU, characterised and written to docs/hardware/."""

from __future__ import annotations

from pathlib import Path

import gpu_page
import pytest
from gpu_check import characterise
from rich.console import Console

from ipw.profilers.base import SensorError
from ipw.profilers.discovery import find
from ipw.profilers.probe.loads import gpu_load

HARDWARE = Path(__file__).parents[2] / "docs/hardware"
SECONDS = 10.0


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")  # of torch, about whatever driver there is
def test_the_sensors_of_this_gpu_are_characterised_and_written_down() -> None:
    (sensor,) = find("nvml")
    try:
        device = next((c.device for c in sensor.channels if c.status == "ok" and c.kind != "gauge"), "")
        findings = characterise(sensor, lambda: gpu_load(device), SECONDS)
    except SensorError as error:
        pytest.skip(f"no NVIDIA GPU: {error.reason}")
    finally:
        sensor.close()
    page = gpu_page.write(findings, HARDWARE)
    Console().print(page.read_text(), markup=False, highlight=False)
    counter = findings.profiles[0]
    assert 0.001 < (counter.update_period_s or 0) < 2
    assert (counter.idle_power_w or 0) > 1
    reason = counter.reasons.get("part_time", "")
    assert counter.part_time is not None or reason.startswith("no load"), reason
