"""Raw readings of a run that is being measured, and of one that was packed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS

ROWS = [(10, 1.5, 0, 0, 7), (20, 2.5, 3, 0, 8), (30, 3.5, 0, 4, 9), (40, 4.5, 7, 0, 1)]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Four readings, the last of a channel that the manifest does not name; the file ends in the middle of a fifth."""
    run = RunDir.create(tmp_path, "read")
    run.write_manifest({"sensors": [{"name": "x/b", "index": 3}, {"name": "x/a", "index": 0}, {"name": "x/none"}]})
    rows = np.array(ROWS, RECORD_FIELDS)
    (run.path / READINGS).write_bytes(rows.tobytes() + b"\x01" * 5)
    return run


@pytest.mark.parametrize(("since", "first"), [(0, 0), (10, 0), (11, 1), (20, 1), (35, 3), (40, 3), (41, 4)])
def test_recent_readings_are_those_from_a_moment_on(run: RunDir, since: int, first: int) -> None:
    assert run.recent_readings(since)["t_ns"].tolist() == [row[0] for row in ROWS[first:]]


def test_a_run_that_has_read_nothing_yet_has_no_recent_readings(run: RunDir) -> None:
    (run.path / READINGS).write_bytes(b"\x01" * 5)
    assert run.recent_readings(0).size == 0
    (run.path / READINGS).unlink()
    assert run.recent_readings(0).size == 0
    assert (run.readings().size, run.reading_count()) == (0, 0)


def test_a_torn_reading_at_the_end_is_none(run: RunDir) -> None:
    assert (run.readings().tolist(), run.reading_count()) == (ROWS, 4)


def test_packed_readings_are_the_same_but_for_channels_that_nobody_knows(run: RunDir) -> None:
    run.pack_readings()
    assert not (run.path / READINGS).exists()
    assert run.readings().tolist() == ROWS[:3]
    assert run.reading_count() == 3
    run.pack_readings()  # once is enough
    assert run.reading_count() == 3


def test_packed_readings_of_a_channel_that_the_manifest_has_lost_are_refused(run: RunDir) -> None:
    run.pack_readings()
    run.update_manifest(sensors=[{"name": "x/a", "index": 0}])
    with pytest.raises(UsageError, match="holds readings of 'x/b'"):
        run.readings()
