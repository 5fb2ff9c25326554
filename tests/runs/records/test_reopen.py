from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.readings import READINGS, RECORD, STATUS_CODES
from ipw.runs.resume import reopen
from ipw.runs.resume.reopen import mark, prepare, restored_on_error


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Two channels, read three times and twice, as a run that was killed leaves them."""
    made = RunDir.create(tmp_path_factory.mktemp("out"), "run")
    made.write_manifest({"status": "running", "sensors": [{"name": "a", "index": 0}, {"name": "b", "index": 1}]})
    rows = [(10, 1.0, 0, 0, 0), (11, 5.0, 1, 0, 0), (20, 2.0, 0, 0, 0), (21, 6.0, 1, 0, 0), (30, 3.0, 0, 0, 0)]
    (made.path / READINGS).write_bytes(b"".join(RECORD.pack(*row) for row in rows))
    return made


def spans(run: RunDir) -> list[tuple[int, int, bool]]:
    return [(s["start_ns"], s["end_ns"], s.get("recovered", False)) for s in run.journal("span")]


def test_each_channel_is_marked_as_lost_once_right_behind_its_last_reading(run: RunDir) -> None:
    prepare(run)
    lost = run.readings()[5:]
    assert lost["t_ns"].tolist() == [31, 22]
    assert lost["channel"].tolist() == [0, 1]
    assert lost["status"].tolist() == [STATUS_CODES["lost"]] * 2
    assert np.isnan(lost["value"]).all()


def test_what_was_asked_without_a_mark_is_marked_from_its_first_to_its_last_moment(run: RunDir) -> None:
    with Journal(run) as journal:
        journal.append("span", {"phase": "measure", "start_ns": 0, "end_ns": 100})
        for start_ns, end_ns in ((50, 90), (300, 400), (200, 350)):
            journal.append("query", {"start_ns": start_ns, "end_ns": end_ns})
    mark(run)
    assert spans(run) == [(0, 100, False), (200, 400, True)]
    mark(run)
    assert len(spans(run)) == 2


def test_what_the_sensors_wrote_is_taken_back_where_the_next_part_does_not_begin(run: RunDir) -> None:
    before = run.readings().tobytes()

    def fail() -> None:
        with restored_on_error(run):
            prepare(run)
            raise ValueError("the server is gone")

    with pytest.raises(ValueError, match="gone"):
        fail()
    assert run.readings().tobytes() == before


def like_a_sampler(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    words = ["ipw.profilers.sampler.process", "--out", str(folder)]
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})", *words])


def test_the_sampler_of_the_part_before_is_waited_for_and_one_of_another_run_is_not(run: RunDir) -> None:
    with like_a_sampler(run.path.parent / "another", 60) as other:
        with like_a_sampler(run.path, 1.0) as mine, reopen.restored_on_error(run):
            assert mine.poll() is not None
        assert other.poll() is None
        other.kill()
