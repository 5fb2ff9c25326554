"""The process, against GPUs whose energy is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from doubles.nvml import ANY, GPU_IS_LOST, FakeNvml
from doubles.patience import undisturbed, wait_for

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
        """Start to sample, into a folder without readings."""
        (self.run / "power.bin").unlink(missing_ok=True)
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


def shown_at(rig: Host, record: Record) -> tuple[int, int]:
    """The ticks of the first GPU whose value a record holds: the earliest and the latest; but for a pause, one."""
    early, late = (record.t_ns + sign * record.uncertainty_ns for sign in (-1, 1))
    return rig.ticks(0, early - PERIOD_NS, early)[-1], rig.ticks(0, late - PERIOD_NS, late)[-1]


def test_the_records_around_each_tick_bracket_the_truth(host: Callable[[int], Host]) -> None:
    rig = host(2)

    def followed() -> None:
        rig.start()
        time.sleep(1.5)
        stats = rig.sampler.stop()
        for i in (0, 1):
            seen = changes(rig.of(f"nvml/gpu{i}"))
            first, last = seen[0][1].t_ns, seen[-1][1].t_ns
            assert len(seen) > 0.7 * len(rig.ticks(i, first, last))
            assert sum(after.t_ns - before.t_ns < 5_000_000 for before, after in seen) > 5
            assert stats["learned"].get(f"nvml/gpu{i}", {}).get("period_s") == pytest.approx(0.02, rel=0.1)

    undisturbed(followed)
    for i in (0, 1):
        for before, after in changes(rig.of(f"nvml/gpu{i}")):
            early, late = before.t_ns - before.uncertainty_ns, after.t_ns + after.uncertainty_ns
            assert rig.ticks(i, early, late), "a change without a tick"


def test_what_it_recorded_is_the_energy_that_was_drawn(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.start()
    rig.fake.set_power(0, 400)
    time.sleep(0.3)
    rig.fake.set_power(0, 50)
    rig.sampler.stop()
    seen = changes(rig.of("nvml/gpu0"))
    (_, first), (_, last) = seen[0], seen[-1]
    first_ns, last_ns = shown_at(rig, first), shown_at(rig, last)
    least_j, most_j = (rig.fake.energy_j(0, *each) for each in ((first_ns[1], last_ns[0]), (first_ns[0], last_ns[1])))
    assert least_j - 0.01 <= last.value - first.value <= most_j + 0.01


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
    rig.fake.fail(1, ANY, GPU_IS_LOST)
    after_ns = time.monotonic_ns()
    wait_for(lambda: (bad := rig.of("nvml/gpu1")[-1]).status and rig.of("nvml/gpu0")[-1].t_ns > bad.t_ns + 100_000_000)
    stats = rig.sampler.stop()
    *good, bad = rig.of("nvml/gpu1")
    assert (bad.status, {r.status for r in good}) == (LOST, {0})
    assert good[-1].t_ns - good[-1].uncertainty_ns <= after_ns
    assert good[-1].t_ns < bad.t_ns
    (told,) = [f for f in stats["failures"] if f["channel"] == "nvml/gpu1"]
    assert told["status"] == "lost"
    assert "lost" in told["reason"].lower()
    assert told["t_ns"] == bad.t_ns


def test_a_gpu_that_comes_back_is_read_again(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.start()

    def states() -> list[int]:
        return [r.status for r in rig.of("nvml/gpu0")]

    rig.fake.fail(0, ANY, GPU_IS_LOST)
    wait_for(lambda: states()[-1] == LOST)
    rig.fake.mend(0)
    wait_for(lambda: states()[-1] == 0)
    rig.sampler.stop()
    assert states().count(LOST) == 1


def test_a_gpu_that_answers_slowly_is_still_read(host: Callable[[int], Host]) -> None:
    rig = host(1)
    rig.fake.gpu(0).latency_ns = 2_000_000
    rig.start()
    wait_for(lambda: len(changes(rig.of("nvml/gpu0"))) > 5)
    rig.sampler.stop()
    seen = changes(rig.of("nvml/gpu0"))
    assert sum(after.uncertainty_ns < 900_000 for _, after in seen) <= 1, "but for the call that the stop cut short"
    for before, after in seen:
        assert rig.ticks(0, before.t_ns - before.uncertainty_ns, after.t_ns + after.uncertainty_ns)
