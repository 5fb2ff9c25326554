"""What a stream of powermetrics' samples becomes, sample by sample: each heard at a moment that the test sets."""

from __future__ import annotations

import os
import plistlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ipw.profilers import publications
from ipw.profilers.apple import powermetrics
from ipw.profilers.apple.powermetrics import PowerMetrics
from ipw.profilers.base import SensorError

MS, BEGUN_NS = 1_000_000, 10**12
Heard = Sequence[tuple[float, bytes]]
"""By the moment in ms: what the program wrote."""
Told = list[tuple[float, float, float] | str]
"""Moment in ms, joules and half-width in ms of each reading, or why there was none."""
Play = Callable[[Heard], PowerMetrics]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Open a program that has ended, and whose pipe holds this."""
    opened: list[PowerMetrics] = []
    program = tmp_path / "powermetrics"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    now = [BEGUN_NS]
    monkeypatch.setattr(powermetrics, "FIRST_WITHIN_S", 200.0)
    monkeypatch.setattr(powermetrics, "now_ns", lambda: now[0])
    monkeypatch.setattr(publications, "now_ns", lambda: now[0])
    reads = os.read

    def played(heard: Heard) -> PowerMetrics:
        left, now[0] = iter(heard), BEGUN_NS

        def read(descriptor: int, most: int) -> bytes:
            if threading.current_thread().name != "ipw-powermetrics":
                return reads(descriptor, most)
            ms, text = next(left, (0.0, b""))
            now[0] = max(BEGUN_NS + round(ms * MS), now[0])
            return text

        monkeypatch.setattr(os, "read", read)
        sensor = PowerMetrics([str(program)])
        opened.append(sensor)
        sensor._thread.join()
        return sensor

    yield played
    for sensor in opened:
        sensor.close()


def watts(elapsed_ms: float = 200, **rails: float) -> bytes:
    """A sample of these powers, of the CPU at 1 W at least."""
    powers = {f"{rail}_power": 1e3 * power for rail, power in ({"cpu": 1.0, "gpu": 2.0} | rails).items()}
    return plistlib.dumps({"elapsed_ns": round(elapsed_ms * MS), "hw_model": "Mac", "processor": powers})


def told(sensor: PowerMetrics, rail: str) -> Told:
    """All that a rail gave before the program had ended."""
    index = [channel.name for channel in sensor.channels].index(f"powermetrics/{rail}")
    found: Told = []
    while not found or found[-1] != "powermetrics has ended (code 3)":
        try:
            reading = sensor.read(index)
            assert reading
            found.append(((reading.t_ns - BEGUN_NS) / MS, round(reading.value, 9), reading.uncertainty_ns / MS))
        except SensorError as error:
            found.append(error.reason if error.status == "lost" else error.status)
    return found[:-1]


BAD, LEFT_OUT = "powermetrics writes a sample", "powermetrics left this rail out of a sample"
JUNK = plistlib.dumps([])


@pytest.mark.parametrize(
    ("heard", "readings"),
    [
        ([(0, watts()), (200, watts(cpu=4.0)), (450, watts(250))], [(0, 0.0, 5), (200, 0.8, 5), (450, 1.05, 5)]),
        ([(0, watts(60_000)), (200, watts())], [(0, 0.0, 5), (200, 0.2, 5)]),
        ([(0, watts()), (900, watts(200))], [(0, 0.0, 5), (900, 0.2, 5)]),
        ([(0, watts()), (200, JUNK), (400, watts(cpu=3.0))], [(0, 0.0, 5), BAD, (400, 1.0, 5)]),
        ([(0, watts()), (200, JUNK), (300, watts(cpu=3.0))], [(0, 0.0, 5), BAD, (300, 0.8, 5)]),
        ([(0, watts()), (200, JUNK), (200, watts(300, cpu=3.0))], [(0, 0.0, 5), BAD, (200, 0.9, 5)]),
        ([(0, watts()), (200, JUNK), (400, JUNK), (600, watts(cpu=3.0))], [(0, 0.0, 5), BAD, BAD, (600, 0.6, 5)]),
        (
            [(0, watts()), (200, watts()), *[(500, JUNK)] * 3, (1000, watts()), (1200, watts())],
            [(0, 0.0, 5), (200, 0.2, 5), BAD, BAD, BAD, (1000, 0.2, 5), (1200, 0.4, 5)],
        ),
        ([(0, watts()), (200, watts(3399))], [(0, 0.0, 5), (200, 3.399, 5)]),
        ([(0, watts()), (200, watts(3401))], [(0, 0.0, 5), BAD]),
        ([(0, watts()), (200, watts(cpu=0.0)), (400, watts(cpu=4.0))], [(0, 0.0, 5), (300, 0.8, 105)]),
        ([(0, JUNK), (200, watts()), (400, watts())], [(200, 0.0, 5), (400, 0.2, 5)]),
    ],
    ids=[
        "power times the sample's own interval", "of the first nobody knows what was before",
        "what comes late is no longer for that",
        "one that cannot be read is made good by the mean of those beside it", "as far as it is not covered",
        "and never less than nothing", "of two the total begins anew", "and of three",
        "twice the time since the one before and three seconds", "no sample is longer than that",
        "a rail that was not renewed was so at some moment since", "a first one that cannot be read is no accident yet",
    ],
)  # fmt: skip
def test_a_rails_joules_are_summed_sample_by_sample(play: Play, heard: Heard, readings: Told) -> None:
    found = told(play(heard), "cpu")
    assert [BAD if isinstance(each, str) and each.startswith(BAD) else each for each in found] == readings


def test_a_rail_that_one_sample_leaves_out_is_made_good_and_the_others_go_on(play: Play) -> None:
    heard = [(0, watts(ane=1.0)), (200, watts(ane=1.0)), (400, watts()), (600, watts(ane=3.0))]
    assert told(play(heard), "ane") == [(0, 0.0, 5), (200, 0.2, 5), LEFT_OUT, (600, 1.2, 5)]
    assert told(play(heard), "cpu") == [(0, 0.0, 5), (200, 0.2, 5), (400, 0.4, 5), (600, 0.6, 5)]


def test_a_chip_that_is_not_renewed_for_longer_than_it_ever_was_is_frozen_and_the_gpu_goes_on(play: Play) -> None:
    still = [(200 + 1000 * k, watts(1000, cpu=0.0, gpu=2.0 if k % 2 else 0.0)) for k in range(1, 5)]
    heard = [(0, watts()), (200, watts()), *still, (5200, watts(1000))]
    assert told(play(heard), "cpu") == [
        (0, 0.0, 5), (200, 0.2, 5),
        "powermetrics tells 0 mW for the cpu (4.0 s), though a running chip always draws",
        (4700, 1.2, 505),
    ]  # fmt: skip
    assert told(play(heard), "gpu") == [(0, 0.0, 5), (200, 0.4, 5), (1200, 2.4, 5), (3200, 4.4, 5), (4700, 6.4, 505)]


@pytest.mark.parametrize(
    ("heard", "complaint"),
    [
        ([(0, JUNK), (200, JUNK), (400, watts())], "powermetrics writes a sample that is not a dictionary"),
        (
            [(0, b"CPU Power: 5 mW\n"), (1000, b"GPU"), (1001, b"."), (1002, watts())],
            "no property list but 'CPU Power: 5 mW'",
        ),
        ([(0, b"CPU Power: 5 mW\n"), (1000, b"GPU")], "no property list but 'CPU Power: 5 mW'"),
        ([(0, watts()[:-30])], "a sample that is cut off, and has ended"),
        ([(0, b"\0\r\n \0")], "powermetrics has ended (code 3)"),
        ([], "powermetrics has ended (code 3)"),
    ],
)
def test_what_holds_no_sample_has_no_channel_and_says_why(play: Play, heard: Heard, complaint: str) -> None:
    sensor = play(heard)
    assert sensor.channels == []
    assert complaint in sensor.complaint
    assert sensor.ended is complaint.endswith("(code 3)")


def test_a_stream_whose_first_words_are_no_sample_has_a_second_to_begin_one(play: Play) -> None:
    sensor = play([(0, b"Second underflow occured.\n"), (1000, b"\n"), (1000, watts()), (1200, watts())])
    assert told(sensor, "gpu") == [(1000, 0.0, 5), (1200, 0.4, 5)]


def test_who_reads_seldom_is_given_the_newest_thousand(play: Play) -> None:
    found = told(play([(200 * k, watts()) for k in range(1003)]), "cpu")
    assert (len(found), found[0], found[-1]) == (1000, (600, 0.6, 5), (200 * 1002, 200.4, 5))


def test_a_program_is_silent_after_three_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, now = tmp_path / "powermetrics", [0]
    (tmp_path / "samples").write_bytes(watts() + watts())
    program.write_text(f"#!/bin/sh\ncat '{tmp_path}/samples'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(powermetrics, "now_ns", lambda: now[0])
    monkeypatch.setattr(publications, "now_ns", lambda: now[0])
    monkeypatch.setattr(powermetrics, "FIRST_WITHIN_S", 200.0)
    sensor = PowerMetrics([str(program)])
    assert [sensor.read(0) is None for _ in range(3)] == [False, False, True]
    now[0] = 3_000_000_000
    assert sensor.read(0) is None
    now[0] += 1
    with pytest.raises(SensorError, match="has fallen silent"):
        sensor.read(0)
    sensor.close()
    assert sensor._process.returncode == -15
    with pytest.raises(SensorError, match="the sensor is closed"):
        sensor.read(0)
