from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.sampler.lane import GOES_ON_NS, HEARTBEAT_NS, RETRY_NS, Lane, PowerFile
from ipw.runs.readings import RECORD

Answer = Any
MS = 1_000_000


class Script:
    """A sensor that answers what the test says; `None` when there is nothing left."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = deque(answers)
        self.calls = 0

    def __call__(self) -> Reading | None:
        self.calls += 1
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


def channel(*, ticks: bool = False, poll_s: float = 0.1) -> Channel:
    return Channel(name="test/one", kind="counter", scope="gpu", method="counter", ticks=ticks, poll_s=poll_s)


def records(path: Path) -> list[tuple[int, float, int, int, int]]:
    return list(RECORD.iter_unpack(path.read_bytes()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "power.bin"


@pytest.fixture
def file(path: Path) -> Iterator[PowerFile]:
    file = PowerFile(path)
    yield file
    file.close()


def poll_all(file: PowerFile, answers: Sequence[Reading], *, ticks: bool) -> Lane:
    lane = Lane(3, channel(ticks=ticks), Script(answers), file, deque())
    for answer in answers:
        lane.poll(answer.t_ns - 1)
    file.flush()
    return lane


def counter(values: Sequence[float], step_ns: int = 10 * MS) -> list[Reading]:
    return [Reading(k * step_ns, value, 500) for k, value in enumerate(values, 1)]


def test_of_a_ticking_counter_the_reads_on_both_sides_of_a_tick_are_kept(path: Path, file: PowerFile) -> None:
    lane = poll_all(file, counter([5, 5, 5, 5, 8, 8, 8, 9]), ticks=True)
    assert [(t // (10 * MS), value) for t, value, *_ in records(path)] == [(1, 5), (4, 5), (5, 8), (7, 8), (8, 9)]
    assert lane.changed_ns == 80 * MS
    assert lane.reads == 8


def test_a_ticking_counter_that_holds_still_is_recorded_each_second(path: Path, file: PowerFile) -> None:
    poll_all(file, counter([5.0] * 301), ticks=True)
    times = [t for t, *_ in records(path)]
    assert times == [10 * MS + k * HEARTBEAT_NS for k in range(4)]


def test_of_any_other_channel_every_reading_is_kept(path: Path, file: PowerFile) -> None:
    readings = counter([5, 5, 5, 8])
    poll_all(file, readings, ticks=False)
    assert records(path) == [(r.t_ns, r.value, 3, 0, r.uncertainty_ns) for r in readings]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_what_is_kept_of_a_ticking_counter_brackets_each_change_as_tightly_as_the_reads(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    values = [float(sum(steps[: k + 1])) for k in range(len(steps))]
    readings = counter(values)
    path = tmp_path_factory.mktemp("kept") / "power.bin"
    file = PowerFile(path)
    poll_all(file, readings, ticks=True)
    file.close()
    kept = {t: value for t, value, *_ in records(path)}
    for before, after in pairwise(readings):
        if before.value != after.value:
            assert kept[before.t_ns] == before.value
            assert kept[after.t_ns] == after.value


def test_a_stream_is_read_until_it_is_empty(path: Path, file: PowerFile) -> None:
    lane = Lane(0, channel(), Script(counter([1, 2, 3])), file, deque())
    lane.poll(1_000 * MS)
    file.flush()
    assert [value for _, value, *_ in records(path)] == [1, 2, 3]


def test_a_sensor_that_repeats_an_old_reading_is_neither_hammered_nor_recorded_twice(
    path: Path, file: PowerFile
) -> None:
    script = Script(counter([7]) * 50)
    lane = Lane(0, channel(), script, file, deque())
    lane.poll(1_000 * MS)
    lane.poll(1_100 * MS)
    file.flush()
    assert len(records(path)) == 1
    assert script.calls == 3


def test_a_failed_read_is_tried_again_within_the_poll_period(path: Path, file: PowerFile) -> None:
    script = Script([Reading(1, 5.0, 0), SensorError("lost", "no answer"), Reading(60 * MS, 6.0, 0)])
    lane = Lane(0, channel(poll_s=0.02), script, file, deque())
    for poll in range(4):
        lane.poll(poll * 20 * MS)
    file.flush()
    assert [(t // MS, code) for t, _, _, code, _ in records(path)] == [(0, 0), (20, 4), (60, 0)]


def test_a_failure_is_recorded_once_with_its_reason(path: Path, file: PowerFile) -> None:
    failures: deque[dict[str, Any]] = deque()
    script = Script([Reading(1, 5.0, 0), *[SensorError("lost", "GPU is lost")] * 3, Reading(900 * MS, 6.0, 0)])
    lane = Lane(0, channel(), script, file, failures)
    for poll in range(10):
        lane.poll(poll * 100 * MS)
    file.flush()
    told = {"channel": "test/one", "status": "lost", "reason": "GPU is lost", "t_ns": 100 * MS}
    assert failures == deque([told])
    (_, _, _, ok, _), (t_ns, value, _, code, _), (_, _, _, ok_again, _) = records(path)
    assert (ok, code, ok_again) == (0, 4, 0)
    assert t_ns == 100 * MS
    assert math.isnan(value)
    assert lane.failing is None


@pytest.mark.parametrize("poll_s", [0.02, 0.1, 1.0, 5.0])
def test_a_device_that_is_gone_is_asked_once_a_second_at_most(file: PowerFile, poll_s: float) -> None:
    script = Script([SensorError("lost", "GPU is lost")] * 10_000)
    lane = Lane(0, channel(poll_s=poll_s, ticks=True), script, file, deque())
    for millisecond in range(0, 60_000, 2):  # as often as ticks are hunted
        lane.poll(millisecond * MS)
    at_first = GOES_ON_NS / min(poll_s * 1e9 / 2, RETRY_NS)
    assert 50 <= script.calls <= 60 + at_first


def test_the_last_good_reading_before_a_failure_is_kept(path: Path, file: PowerFile) -> None:
    answers: list[Answer] = [*counter([5, 5, 5]), SensorError("lost", "gone")]
    lane = Lane(0, channel(ticks=True), Script(answers), file, deque())
    for k in range(4):
        lane.poll((k + 1) * 10 * MS)
    file.flush()
    assert [(t // (10 * MS), code) for t, _, _, code, _ in records(path)] == [(1, 0), (3, 0), (4, 4)]


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("bug"),
        Reading(1, "many", 0),  # type: ignore[arg-type]
        Reading(1, math.nan, 0),
        Reading("now", 1.0, 0),  # type: ignore[arg-type]
        Reading(6.5, 1.0, 0),  # type: ignore[arg-type]
        (1, 2.0),
    ],
    ids=["raises", "value is text", "value is NaN", "time is text", "time is a fraction", "no reading"],
)
def test_a_sensor_that_misbehaves_is_lost_and_takes_nobody_with_it(path: Path, file: PowerFile, answer: Answer) -> None:
    failures: deque[dict[str, Any]] = deque()
    lane = Lane(0, channel(), Script([answer]), file, failures)
    assert not lane.poll(5)
    file.flush()
    assert lane.failing == "lost"
    assert failures[0]["status"] == "lost"
    assert len(records(path)) == 1


def test_uncertainty_saturates(path: Path, file: PowerFile) -> None:
    poll_all(file, [Reading(1, 5.0, 2**40), Reading(2, 5.0, -3)], ticks=False)
    assert [uncertainty for *_, uncertainty in records(path)] == [2**32 - 1, 0]


def test_what_a_crash_tore_is_cut_off_before_more_is_appended(path: Path) -> None:
    whole = RECORD.pack(1, 2.0, 0, 0, 0)
    path.write_bytes(whole + whole[:7])
    file = PowerFile(path)
    file.add(2, 3.0, 0, 0, 0)
    file.flush()
    file.close()
    assert [t for t, *_ in records(path)] == [1, 2]


def test_nothing_is_written_before_it_is_flushed_and_nothing_twice(path: Path, file: PowerFile) -> None:
    file.add(1, 2.0, 0, 0, 0)
    assert path.read_bytes() == b""
    file.flush()
    file.flush()
    assert len(records(path)) == file.records == 1


def test_a_reading_from_the_future_costs_itself_and_none_that_comes_after_it(path: Path, file: PowerFile) -> None:
    begin = now_ns()
    answers = [Reading(begin + k * 100 * MS, 10.0 * k, 500) for k in range(1, 9)]
    answers[3] = Reading(begin + 10**15, 40.0, 500)
    failures: deque[dict[str, Any]] = deque()
    lane = Lane(3, channel(), Script(answers), file, failures)
    for k in range(1, 12):
        lane.poll(begin + k * 100 * MS)
    file.flush()
    assert [value for _, value, _, status, _ in records(path) if not status] == [10, 20, 30, 50, 60, 70, 80]
    assert [each["reason"] for each in failures] == ["its reading is from the future"]
