"""What a driver tells of who used a GPU, sample by sample, and what is made of it: the table that NVML writes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest
from doubles.proc import Proc

from ipw.profilers.base import Channel, SensorError
from ipw.profilers.nvidia import gpu_load
from ipw.profilers.nvidia.gpu_load import SAMPLE, open_gpu_load
from ipw.profilers.sources import Sources, unreadable

Sample = tuple[int, int, int]
"""Process, microseconds, per cent."""
OWN, CHILD, OTHER, THIRD, UNSEEN = 10, 11, 20, 21, 30


class Driver:
    """NVIDIA's binding over a driver that tells these samples, newer than a moment as it is asked."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.code, self.claims = 0, 0
        """What it answers, and how many samples more than it has."""
        self.since_us: list[int] = []
        self.numbers: list[int] = []

    def nvmlInit(self) -> None:  # noqa: N802 - as the library has it
        pass

    nvmlShutdown = nvmlInit  # noqa: N815 - as above

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802 - as above
        self.numbers.append(number)
        return number

    def _nvmlGetFunctionPointer(self, name: str) -> Callable[..., int]:  # noqa: N802 - as above
        assert name == "nvmlDeviceGetProcessUtilization"
        return self._tell

    def _tell(self, _handle: int, buffer: Any, count: Any, since_us: Any) -> int:
        self.since_us.append(since_us.value)
        for place, sample in enumerate(self.samples):
            SAMPLE.pack_into(buffer, place * SAMPLE.size, *sample, 1, 2, 3)
        count._obj.value = len(self.samples) + self.claims
        return self.code


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """On a machine on which this run and two others are."""
    proc = Proc(tmp_path / "proc")
    proc.process(OWN, main=[CHILD])
    for pid in (CHILD, OTHER, THIRD):
        proc.process(pid)
    monkeypatch.setenv("IPW_PROC", str(proc.root))
    monkeypatch.setattr(gpu_load, "SHARED_NS", -1)
    made = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


def measured(*names: str, **facts: Any) -> Sources:
    plain: dict[str, Any] = {"kind": "counter", "scope": "gpu", "method": "counter"}
    return Sources([unreadable(Channel(name=name, **(plain | facts))) for name in names])


def gauges(*names: str) -> Sources:
    found = open_gpu_load([measured(*names or ("nvml/gpu0",))], [OWN])
    assert found
    return found


def used(load: Sources, whose: int) -> float:
    """What others used (0), or we did (1), since the look before."""
    reading = load.read(whose)
    assert reading
    return reading.value


@pytest.mark.parametrize(
    ("samples", "others", "own"),
    [
        ([], 0, 0),
        ([(OWN, 5, 30), (OTHER, 6, 20)], 20, 30),
        ([(OWN, 5, 30), (CHILD, 5, 25)], 0, 55),
        ([(OTHER, 5, 30), (THIRD, 5, 25)], 55, 0),
        ([(OWN, 5, 30), (OWN, 9, 40), (OWN, 7, 50)], 0, 40),
        ([(OWN, 9, 100), (OTHER, 9, 101)], 0, 100),
        ([(0, 9, 77), (OTHER, 9, 5)], 5, 0),
        ([(OTHER, 5, 60), (THIRD, 5, 50), (OWN, 5, 60), (CHILD, 5, 60)], 100, 100),
        ([(UNSEEN, 5, 0), (OTHER, 5, 5)], 5, 0),
    ],
    ids=[
        "nobody", "two", "a child is ours", "two others", "the newest of one process counts",
        "a part beyond the whole is none", "process 0 is none", "no more than the whole each", "who used nothing",
    ],
)  # fmt: skip
def test_a_table_of_samples_is_what_others_and_this_run_used(
    driver: Driver, samples: list[Sample], others: float, own: float
) -> None:
    load = gauges()
    driver.samples = samples
    assert used(load, 0) == others
    driver.samples = [(pid, us + 100, part) for pid, us, part in samples]
    assert used(load, 1) == own


def test_each_look_asks_for_what_came_since_the_newest_and_takes_nothing_twice(driver: Driver) -> None:
    driver.samples = [(OTHER, 50, 40)]
    load = gauges()
    driver.samples = [(OTHER, 50, 40), (OWN, 60, 7), (OWN, 55, 9)]
    assert used(load, 1) == 7
    assert used(load, 0) == used(load, 1) == 0
    assert driver.since_us == [0, 50, 60, 60]


def test_a_process_of_ours_that_ended_is_told_of_for_a_while_and_stays_ours(driver: Driver, tmp_path: Path) -> None:
    load = gauges()
    driver.samples = [(CHILD, 50, 40)]
    assert used(load, 1) == 40
    Proc(tmp_path / "proc").process(OWN)
    driver.samples = [(CHILD, 60, 30)]
    assert used(load, 1) == 30


@pytest.mark.parametrize(("code", "status"), [(4, "permission"), (15, "lost"), (3, "unsupported")])
def test_a_look_that_fails_or_tells_of_who_cannot_be_seen_is_no_reading(driver: Driver, code: int, status: str) -> None:
    load = gauges()
    driver.code = code
    with pytest.raises(SensorError) as failed:
        load.read(0)
    assert failed.value.status == status
    driver.code, driver.samples = 6, [(OTHER, 50, 40)]  # nobody used it, and what stands there is left over
    assert used(load, 0) == 0
    driver.code, driver.samples = 0, [(OTHER, 50, 40), (UNSEEN, 50, 1)]
    with pytest.raises(SensorError, match="whose it is cannot be told"):
        load.read(0)


def test_a_driver_that_claims_more_samples_than_it_had_room_for_is_believed_as_far_as_it_wrote(driver: Driver) -> None:
    load = gauges()
    driver.samples = [(OTHER, 50 + place, 1 + place % 100) for place in range(100)]
    driver.claims = 1 << 30
    assert used(load, 0) == 100


def test_a_gpu_is_looked_at_if_its_counter_or_its_power_is_measured(driver: Driver) -> None:
    names = ("nvml/gpu3", "nvml/gpu12/power", "nvml/gpu3/power", "nvml/gpu4/memory", "amd/gpu5", "nvml/gpu6/power/x")
    assert [channel.name for channel in gauges(*names).channels] == [
        f"load/gpu{number}/{whose}" for number in (3, 12) for whose in ("others", "own")
    ]
    assert driver.numbers == [3, 12]
    for facts in ({"status": "lost", "reason": "gone"}, {"kind": "gauge"}):
        assert open_gpu_load([measured("nvml/gpu0", **facts)], [OWN]) is None


def test_a_gpu_whose_first_look_fails_has_no_gauges(driver: Driver) -> None:
    driver.code = 3
    assert open_gpu_load([measured("nvml/gpu0")], [OWN]) is None
