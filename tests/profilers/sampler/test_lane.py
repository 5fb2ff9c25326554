"""What of a channel's readings is kept, reading by reading, and what is recorded of a failure, moment by moment."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from doubles.full_disk import room_for

from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.sampler import lane as lane_module
from ipw.profilers.sampler.lane import AHEAD_NS, Lane, PowerFile, packed
from ipw.profilers.sampler.relay import Relay, Told
from ipw.runs.readings import RECORD, STATUS_CODES

MS, SECOND = 1_000_000, 1_000_000_000
TICKING = Channel(name="made/a", kind="counter", scope="gpu", method="counter", ticks=True, poll_s=0.1)
POLLED = replace(TICKING, ticks=False)
Answer = Reading | Exception | None


@dataclass
class Kept:
    """Where records go."""

    told: list[tuple[int, float, int, int, int]] = field(default_factory=list)

    @property
    def records(self) -> int:
        return len(self.told)

    def add(self, *record: Any) -> None:
        self.told.append(record)

    def flush(self) -> None:
        pass

    @property
    def moments(self) -> list[int]:
        return [t_ns for t_ns, *_ in self.told]


class Rig:
    """A lane, and what it reads."""

    def __init__(self, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Answer] = []
        self.kept, self.failures = Kept(), deque[dict[str, Any]]()
        self.clock_ns = 0
        self.lane = Lane(3, channel, self._read, self.kept, self.failures)
        monkeypatch.setattr(lane_module, "clock_ns", lambda: self.clock_ns)

    def _read(self) -> Reading | None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def poll(self, now_ns: int, *answers: Answer) -> bool:
        self.answers, self.clock_ns = list(answers), now_ns
        return self.lane.poll(now_ns)

    def value(self, now_ns: int, value: float) -> bool:
        return self.poll(now_ns, Reading(now_ns, value, 5))


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Callable[[Channel], Rig]:
    return lambda channel: Rig(channel, monkeypatch)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uncertainty_ns", "kept"),
    [(-5, 0), (0, 0), (1, 1), (2**32 - 2, 2**32 - 2), (2**32 - 1, 2**32 - 1), (2**32, 2**32 - 1), (10**12, 2**32 - 1)],
)
def test_an_uncertainty_is_kept_as_large_as_fits(uncertainty_ns: int, kept: int) -> None:
    assert RECORD.unpack(packed(7, 1.5, 3, 2, uncertainty_ns)) == (7, 1.5, 3, 2, kept)


@pytest.mark.parametrize("torn", [0, 1, RECORD.size - 1])
def test_a_file_goes_on_behind_its_last_whole_record(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "power.bin"
    before = [packed(k, float(k), 0, 0, 0) for k in range(3)]
    path.write_bytes(b"".join(before) + b"x" * torn)
    file = PowerFile(path)
    file.add(9, 2.5, 1, 0, 7)
    assert (file.records, path.stat().st_size) == (1, 3 * RECORD.size)
    file.flush()
    file.flush()
    file.close()
    assert file.records == 1
    assert path.read_bytes() == b"".join([*before, packed(9, 2.5, 1, 0, 7)])


@pytest.mark.parametrize("room", [0, 10, RECORD.size, 5 * RECORD.size + 7, 8 * RECORD.size])
def test_on_a_full_disk_whole_records_stay_and_are_counted(tmp_path: Path, room: int) -> None:
    path = tmp_path / "power.bin"
    file = PowerFile(path)
    for _ in range(2):
        for k in range(9):
            file.add(k, float(k), 0, 0, 0)
        with room_for(room), pytest.raises(OSError, match="too large"):
            file.flush()
        assert file.records == room // RECORD.size
    file.close()
    assert path.stat().st_size == room // RECORD.size * RECORD.size


def test_a_disk_that_takes_a_little_at_a_time_takes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    file = PowerFile(tmp_path / "power.bin")
    for k in range(9):
        file.add(k, float(k), 0, 0, 0)
    monkeypatch.setattr(os, "write", lambda descriptor, block: write(descriptor, bytes(block)[:7]))
    file.flush()
    monkeypatch.undo()
    file.close()
    assert [t for t, *_ in RECORD.iter_unpack((tmp_path / "power.bin").read_bytes())] == list(range(9))
    assert file.records == 9


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_of_what_ticks_a_change_and_the_reading_before_it_are_kept_and_else_one_a_second(
    rig: Callable[[Channel], Rig],
) -> None:
    ticking = rig(TICKING)
    values = [1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    changed = [ticking.value(k * 250 * MS, float(value)) for k, value in enumerate(values)]
    assert [k for k, each in enumerate(changed) if each] == [3, 5]
    assert [t_ns // (250 * MS) for t_ns in ticking.kept.moments] == [0, 2, 3, 4, 5, 9]
    assert ticking.kept.told[0] == (0, 1.0, 3, 0, 5)
    assert ticking.lane.reads == len(values)
    assert ticking.lane.read_ns == 11 * 250 * MS


def test_of_what_does_not_tick_all_is_kept_once(rig: Callable[[Channel], Rig]) -> None:
    polled = rig(POLLED)
    changed = [polled.value(k * 10 * MS, float(value)) for k, value in enumerate([1, 1, 2, 2])]
    assert changed == [False, False, True, False]
    assert polled.kept.moments == [0, 10 * MS, 20 * MS, 30 * MS]


def test_the_longest_time_from_one_change_to_the_next_is_known(rig: Callable[[Channel], Rig]) -> None:
    ticking, seen = rig(TICKING), []
    assert (ticking.lane.read_ns, ticking.lane.changed_ns, ticking.lane.longest_ns) == (-1, -1, 0)
    for t_ns, value in ((100, 1.0), (200, 2.0), (250, 2.0), (500, 3.0), (600, 4.0), (950, 5.0)):
        ticking.value(t_ns, value)
        seen.append((ticking.lane.changed_ns, ticking.lane.longest_ns))
    assert seen == [(-1, 0), (200, 0), (200, 0), (500, 300), (600, 300), (950, 350)]


def test_a_stream_is_read_until_it_is_empty_and_what_is_read_whenever_it_is_asked_once(
    rig: Callable[[Channel], Rig],
) -> None:
    stream = rig(POLLED)
    stream.poll(1000, *(Reading(t, float(t), 0) for t in (10, 20, 30)))
    assert stream.kept.moments == [10, 20, 30]
    assert (stream.lane.reads, stream.answers) == (3, [])
    stream.poll(2000, *(Reading(t, 5.0, 0) for t in (30, 40)))  # seen already: nothing newer is behind it
    assert (stream.lane.reads, len(stream.answers), stream.kept.records) == (4, 1, 3)
    stream.poll(3000, *(Reading(t, float(t), 0) for t in (2999, 3000, 3001)))
    assert (stream.lane.reads, len(stream.answers)) == (6, 1)
    assert stream.kept.moments == [10, 20, 30, 2999, 3000]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_a_failure(rig: Callable[[Channel], Rig], value: float) -> None:
    polled = rig(POLLED)
    polled.value(100, value)
    assert [(t, code) for t, _, _, code, _ in polled.kept.told] == [(100, STATUS_CODES["lost"])]
    assert polled.failures[0]["reason"] == f"it answered {value}"


def test_a_reading_from_the_future_is_none_unless_the_call_took_as_long(rig: Callable[[Channel], Rig]) -> None:
    cases = [(AHEAD_NS, 0, True), (AHEAD_NS + 1, 0, False), (AHEAD_NS + 1, 1, True)]
    cases += [(3 * AHEAD_NS, 2 * AHEAD_NS, True), (3 * AHEAD_NS, 2 * AHEAD_NS - 1, False)]
    for ahead_ns, clock_ns, taken in cases:
        polled = rig(POLLED)
        polled.answers, polled.clock_ns = [Reading(ahead_ns, 5.0, 0)], clock_ns
        polled.lane.poll(0)
        assert (polled.lane.failing is None) is taken
        assert taken or polled.failures[0]["reason"] == "its reading is from the future"


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_recorded_once_behind_the_last_good_reading_and_the_next_one_is_kept(
    rig: Callable[[Channel], Rig],
) -> None:
    ticking, failing = rig(TICKING), list[str | None]()
    ticking.value(0, 1.0)
    ticking.value(100 * MS, 1.0)
    for t_ms in (200, 300):
        assert ticking.poll(t_ms * MS, SensorError("permission", "shut")) is False
    failing.append(ticking.lane.failing)
    ticking.poll(400 * MS, ZeroDivisionError("by zero"))
    failing.append(ticking.lane.failing)
    assert ticking.value(500 * MS, 2.0) is False  # nobody knows what it was meanwhile
    failing.append(ticking.lane.failing)
    assert failing == ["permission", "lost", None]
    odd: Any = "odd"
    ticking.poll(600 * MS, SensorError(odd, "new"))
    codes = [(t // MS, code) for t, _, _, code, _ in ticking.kept.told]
    shut, lost = STATUS_CODES["permission"], STATUS_CODES["lost"]
    assert codes == [(0, 0), (100, 0), (200, shut), (400, lost), (500, 0), (600, lost)]
    assert all(math.isnan(value) and uncertainty == 0 for _, value, _, code, uncertainty in ticking.kept.told if code)
    assert list(ticking.failures) == [
        {"channel": "made/a", "status": "permission", "reason": "shut", "t_ns": 200 * MS},
        {"channel": "made/a", "status": "lost", "reason": "ZeroDivisionError: by zero", "t_ns": 400 * MS},
        {"channel": "made/a", "status": "odd", "reason": "new", "t_ns": 600 * MS},
    ]


def tried(rig: Rig, until_ns: int) -> list[int]:
    """Milliseconds at which a channel that fails is asked, of polls each ten milliseconds."""
    asked: list[int] = []
    for now_ns in range(0, until_ns, 10 * MS):
        rig.poll(now_ns, SensorError("lost", "gone"))
        if not rig.answers:
            asked.append(now_ns // MS)
    return asked


@pytest.mark.parametrize(("poll_s", "soon_ms"), [(0.1, 50), (0.5, 250), (10.0, 1000)])
def test_what_fails_is_tried_again_within_its_poll_period_and_after_two_seconds_each_second(
    rig: Callable[[Channel], Rig], poll_s: float, soon_ms: int
) -> None:
    asked = tried(rig(replace(POLLED, poll_s=poll_s)), 5 * SECOND)
    assert asked == [*range(0, 2000, soon_ms), 2000, 3000, 4000]


def test_a_new_failure_is_tried_again_soon_though_an_old_one_lasted(rig: Callable[[Channel], Rig]) -> None:
    polled = rig(POLLED)
    tried(polled, 4 * SECOND)
    polled.value(5 * SECOND, 1.0)
    polled.poll(6 * SECOND, SensorError("lost", "gone"))
    assert polled.poll(6 * SECOND + 49 * MS, Reading(1, 1.0, 0)) is False
    assert polled.answers
    polled.value(6 * SECOND + 50 * MS, 1.0)
    assert not polled.answers


# --- of another machine -----------------------------------------------------------------------------------------------


@dataclass
class Far:
    """What another machine told of its channels."""

    channels: Sequence[Channel] = (POLLED, POLLED)
    queue: list[Told] = field(default_factory=list)
    away: str | None = None

    def read(self, index: int) -> Reading | None:
        raise NotImplementedError

    def told(self, index: int) -> Sequence[Told]:
        assert index == 1
        queue, self.queue = self.queue, []
        return queue

    def why(self, index: int) -> str:
        return f"channel {index} failed there"

    def gone(self) -> str | None:
        return self.away

    def close(self) -> None:
        pass


def test_what_another_machine_told_is_kept_as_it_was_told() -> None:
    far, kept, failures = Far(), Kept(), deque[dict[str, Any]]()
    relay = Relay(4, POLLED, 1, far, kept, failures)
    assert (relay.read_ns, relay.changed_ns, relay.longest_ns, relay.reads) == (-1, -1, 0, 0)
    assert relay.poll(0) is False
    seen = []
    for about_ns, value in ((100, 1.0), (200, 2.0), (250, 2.0), (500, 3.0), (600, 4.0), (950, 5.0), (900, 5.0)):
        far.queue = [Told(about_ns + 5000, value, 0, 7, about_ns)]
        seen.append((relay.poll(0), relay.read_ns, relay.changed_ns, relay.longest_ns))
    assert seen == [
        (False, 100, -1, 0), (True, 200, 200, 0), (False, 250, 200, 0), (True, 500, 500, 300), (True, 600, 600, 300),
        (True, 950, 950, 350), (False, 950, 950, 350),
    ]  # fmt: skip
    assert kept.told[:2] == [(5100, 1.0, 4, 0, 7), (5200, 2.0, 4, 0, 7)]
    assert (kept.records, relay.reads, list(failures)) == (7, 7, [])


def test_what_failed_there_is_recorded_as_often_and_listed_once() -> None:
    far, kept, failures = Far(), Kept(), deque[dict[str, Any]]()
    relay = Relay(4, POLLED, 1, far, kept, failures)
    shut, lost = STATUS_CODES["permission"], STATUS_CODES["lost"]
    far.queue = [Told(10, math.nan, shut, 0, 10), Told(20, 5.0, shut, 0, 20), Told(30, math.inf, 0, 0, 30)]
    far.queue += [Told(40, 5.0, 77, 0, 40), Told(50, 5.0, 0, 0, 50), Told(60, 5.0, 77, 0, 60)]
    assert relay.poll(0) is False
    assert [(t, code) for t, _, _, code, _ in kept.told] == [
        (10, shut), (20, shut), (30, lost), (40, lost), (50, 0), (60, lost)
    ]  # fmt: skip
    assert [(each["status"], each["t_ns"]) for each in failures] == [("permission", 10), ("lost", 30), ("lost", 60)]
    assert failures[0] == {
        "channel": "made/a", "status": "permission", "reason": "channel 1 failed there", "t_ns": 10
    }  # fmt: skip
    assert relay.failing == "lost"


@pytest.mark.parametrize(
    ("told", "since_ns", "away", "reason"),
    [
        ([Told(5, 1.0, 0, 0, 100)], 101, None, "nothing came any more"),
        ([Told(5, 1.0, 0, 0, 100)], 101, "it was unplugged", "it was unplugged"),
        ([Told(5, 1.0, 0, 0, 100)], 100, "it was unplugged", None),
        ([Told(5, 1.0, 0, 0, 0)], 101, None, "nothing came any more"),
        ([], 101, "it was unplugged", None),
        ([Told(5, 1.0, 0, 0, 100), Told(6, 1.0, 4, 0, 101)], 200, "it was unplugged", None),
    ],
)
def test_a_channel_of_which_nothing_comes_any_more_is_lost_from_its_last_reading_on(
    told: list[Told], since_ns: int, away: str | None, reason: str | None
) -> None:
    far, kept, failures = Far(away=away), Kept(), deque[dict[str, Any]]()
    relay = Relay(4, POLLED, 1, far, kept, failures)
    far.queue = told
    relay.poll(0)
    before = kept.records
    relay.give_up(since_ns)
    assert [each["reason"] for each in failures if each["reason"] != "channel 1 failed there"] == [
        reason for _ in range(1) if reason
    ]
    assert [(t, code) for t, _, _, code, _ in kept.told[before:]] == ([(6, STATUS_CODES["lost"])] if reason else [])
