"""The process, against GPUs whose energy is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from doubles.nvml import ANY, GPU_IS_LOST, FakeNvml

from ipw.profilers.sampler.handle import Sampler
from ipw.runs.readings import RECORD

PERIOD_NS = 20_000_000
LOST = 4


class Record(NamedTuple):
    t_ns: int
    value: float
    channel: int
    status: int
    uncertainty_ns: int


class Host:
    """GPUs with a counter that ticks every 20 ms, and a sampler that reads them."""

    def __init__(self, folder: Path, gpus: int) -> None:
        self.fake = FakeNvml.create(folder / "nvml", gpus)
        for i in range(gpus):
            self.fake.set_power(i, 100.0 * (i + 1))
            gpu = self.fake.gpu(i)
            gpu.counter_period_ns, gpu.counter_phase_ns = PERIOD_NS, i * 7_000_000
        self.run = folder / "run"
        self.run.mkdir()

    def start(self) -> Sampler:
        self.sampler = Sampler.start(self.run, "nvml")
        return self.sampler

    def of(self, name: str) -> list[Record]:
        index = next(c["index"] for c in self.sampler.channels if c["name"] == name)
        data = (self.run / "power.bin").read_bytes()
        return [r for r in map(Record._make, RECORD.iter_unpack(data)) if r.channel == index]

    def ticks(self, i: int, start_ns: int, end_ns: int) -> list[int]:
        """True moments at which the counter of GPU `i` was renewed."""
        gpu, origin = self.fake.gpu(i), self.fake._state.start_ns + self.fake.gpu(i).counter_phase_ns
        first = -(-(start_ns - origin) // gpu.counter_period_ns)
        last = (end_ns - origin) // gpu.counter_period_ns
        return [origin + k * gpu.counter_period_ns for k in range(first, last + 1)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Host]]:
    made = []

    def have(gpus: int) -> Host:
        host = Host(tmp_path, gpus)
        for variable, value in host.fake.environment().items():
            monkeypatch.setenv(variable, value)
        made.append(host)
        return host

    yield have
    for each in made:
        each.sampler.stop()


def changes(records: list[Record]) -> list[tuple[Record, Record]]:
    return [(a, b) for a, b in pairwise(records) if a.value != b.value and a.status == b.status == 0]


def test_the_records_around_each_tick_bracket_the_truth(host: Callable[[int], Host]) -> None:
    rig = host(2)
    rig.start()
    time.sleep(1.5)
    stats = rig.sampler.stop()
    for i in (0, 1):
        seen = changes(rig.of(f"nvml/gpu{i}"))
        for before, after in seen:
            early, late = before.t_ns - before.uncertainty_ns, after.t_ns + after.uncertainty_ns
            assert rig.ticks(i, early, late), "a change without a tick"
        first, last = seen[0][1].t_ns, seen[-1][1].t_ns
        assert len(seen) > 0.7 * len(rig.ticks(i, first, last))
        assert sum(after.t_ns - before.t_ns < 5_000_000 for before, after in seen) > 5
        assert stats["learned"][f"nvml/gpu{i}"]["period_s"] == pytest.approx(0.02, rel=0.1)


def test_what_it_recorded_is_the_energy_that_was_drawn(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.start()
    rig.fake.set_power(0, 400)
    time.sleep(0.3)
    rig.fake.set_power(0, 50)
    rig.sampler.stop()
    seen = changes(rig.of("nvml/gpu0"))
    (_, first), (_, last) = seen[0], seen[-1]
    (start, *_), (*_, end) = (rig.ticks(0, r.t_ns - PERIOD_NS, r.t_ns) for r in (first, last))
    assert last.value - first.value == pytest.approx(rig.fake.energy_j(0, start, end), abs=0.01)


def test_the_first_and_the_last_tick_lie_outside_of_what_is_measured(host: Callable[[int], Host]) -> None:
    rig = host(2)
    rig.start()
    ready = time.monotonic_ns()
    time.sleep(0.1)
    done = time.monotonic_ns()
    rig.sampler.stop()
    for i in (0, 1):
        seen = changes(rig.of(f"nvml/gpu{i}"))
        assert seen[0][1].t_ns <= ready
        assert seen[-1][1].t_ns >= done


def test_a_gpu_lost_in_the_middle_is_recorded_with_its_reason_and_the_others_go_on(
    host: Callable[[int], Host],
) -> None:
    rig = host(2)
    rig.start()
    lost_ns = time.monotonic_ns()
    rig.fake.fail(1, ANY, GPU_IS_LOST)
    time.sleep(0.4)
    stats = rig.sampler.stop()
    *good, bad = rig.of("nvml/gpu1")
    assert (bad.status, {r.status for r in good}) == (LOST, {0})
    assert good[-1].t_ns <= lost_ns <= bad.t_ns
    (told,) = [f for f in stats["failures"] if f["channel"] == "nvml/gpu1"]
    assert told["status"] == "lost"
    assert "lost" in told["reason"].lower()
    assert told["t_ns"] == bad.t_ns
    assert rig.of("nvml/gpu0")[-1].t_ns > bad.t_ns + 100_000_000


def test_a_gpu_that_comes_back_is_read_again(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.start()
    rig.fake.fail(0, ANY, GPU_IS_LOST)
    time.sleep(0.2)
    rig.fake.mend(0)
    time.sleep(1.2)
    rig.sampler.stop()
    states = [r.status for r in rig.of("nvml/gpu0")]
    assert states.count(LOST) == 1
    assert states[-1] == 0


def test_a_gpu_that_answers_slowly_is_still_read(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.fake.gpu(0).latency_ns = 2_000_000
    rig.start()
    time.sleep(0.5)
    rig.sampler.stop()
    seen = changes(rig.of("nvml/gpu0"))
    assert len(seen) > 5
    assert sum(after.uncertainty_ns < 900_000 for _, after in seen) <= 1, "but for the call that the stop cut short"
    for before, after in seen:
        assert rig.ticks(0, before.t_ns - before.uncertainty_ns, after.t_ns + after.uncertainty_ns)
