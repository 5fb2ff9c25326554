"""What `make gpu-check` does, on the stand-in: it has yet to meet each real GPU, and must not fail there for itself."""

from __future__ import annotations

import re
from pathlib import Path

import gpu_page
import numpy as np
import pyarrow.parquet as pq
import pytest
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from gpu_check import COLD, WARM, Findings, buffer_text, characterise

from ipw.profilers.base import SensorError
from ipw.profilers.discovery import find
from ipw.profilers.probe.loads import Pulses


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    fake = FakeNvml.create(tmp_path_factory.mktemp("nvml"))
    fake.gpu(0).counter_period_ns = fake.gpu(0).power_period_ns = 10_000_000
    fake.gpu(0).instant_window_ns = 2_500_000
    fake.set_power(0, 60.0)

    def load(pulses: Pulses) -> Pulses:
        for start, end in pulses:
            fake.set_power(0, 300.0, start)
            fake.set_power(0, 90.0, end)
        return pulses

    with pytest.MonkeyPatch.context() as patch:
        for variable, value in (NOTHING | fake.environment()).items():
            patch.setenv(variable, value)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        fake.preload()
        (sensor,) = find("nvml")
        found = characterise(sensor, lambda: load, 0.4)
        sensor.close()
    return found


def test_idle_is_told_apart_before_and_after_the_first_use(findings: Findings) -> None:
    assert [rest.state for rest in findings.rests] == [COLD, WARM]
    assert findings.rests[0].power_w == pytest.approx(60.0, rel=0.1)
    assert findings.rests[1].power_w == pytest.approx(90.0, rel=0.1)
    assert findings.rests[0].gauges["sm_clock"] == "1980 MHz"


def test_the_counter_is_held_against_the_power_at_rest_and_under_load(findings: Findings) -> None:
    assert [a.state for a in findings.agreements] == ["at rest", "under full load"]
    under_load = findings.agreements[1]
    assert under_load.counter_w == pytest.approx(300.0, rel=0.1)
    assert under_load.power_w == pytest.approx(300.0, rel=0.1)


def test_every_call_is_timed_or_told_why_not(findings: Findings) -> None:
    for took in findings.calls.values():
        assert isinstance(took, str) or np.all(took > 0)
    assert re.fullmatch(r"\d+ samples, 20 ms apart, over [\d.]+ s", findings.buffer)


def test_the_drivers_own_samples_are_described_by_spacing_and_span() -> None:
    assert buffer_text(np.arange(119) * 20_000) == "119 samples, 20 ms apart, over 2.36 s"
    assert buffer_text(np.zeros(0, np.int64)) == "0 samples"


def test_page_and_raw_readings_are_written(findings: Findings, tmp_path: Path) -> None:
    page = gpu_page.write(findings, tmp_path / "hardware")
    text = page.read_text()
    assert page.name == "nvidia-test-80gb.md"
    assert text.startswith("# NVIDIA Test 80GB\n")
    for told in ("NVIDIA 580.95.05", "nvml/gpu0/power", "under full load", "nvmlDeviceGetTotalEnergyConsumption"):
        assert told in text
    assert "GPU-0000" not in text  # whose GPU it is stays untold
    raw = pq.read_table(page.with_suffix(".parquet"))
    stages = {"rest", "irregular", "step", "phases", "at rest", "under full load"}
    assert set(raw["stage"].to_pylist()) == stages
    assert raw["value"].null_count == 0
    loaded = raw["load"].to_pylist()
    assert any(loaded)
    assert not all(loaded)


def test_without_a_gpu_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (sensor,) = find("nvml")
    with pytest.raises(SensorError, match=r"NVIDIA|NVML|visible"):
        characterise(sensor, lambda: "none", 0.1)
    sensor.close()
