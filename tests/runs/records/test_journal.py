from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from doubles.full_disk import room_for

from ipw.errors import FAILURE, IpwError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import JOURNAL


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run")


def written(run: RunDir) -> list[bytes]:
    return (run.path / JOURNAL).read_bytes().split(b"\n")


@pytest.mark.parametrize("over", [0, *range(1, 40, 3)])
def test_a_line_that_does_not_fit_is_taken_back_and_told_and_none_is_glued_to_it(run: RunDir, over: int) -> None:
    with Journal(run) as journal:
        journal.append("query", {"query_id": "q0"})
        size = (run.path / JOURNAL).stat().st_size
        with room_for(size + over), pytest.raises(IpwError, match=r"cannot write .*journal\.jsonl") as told:
            journal.append("query", {"query_id": "a longer name than would fit"})
        assert told.value.exit_code == FAILURE
        assert (run.path / JOURNAL).stat().st_size == size
        journal.append("query", {"query_id": "q1"})
    assert [json.loads(line)["query_id"] for line in written(run)[:-1]] == ["q0", "q1"]


def test_a_line_longer_than_all_buffers_is_whole_or_not_there(run: RunDir) -> None:
    with Journal(run) as journal:
        journal.append("query", {"response": "x" * 3_000_000})
        with room_for(4_000_000), pytest.raises(IpwError):
            journal.append("query", {"response": "y" * 3_000_000})
    assert len(written(run)) == 2
    assert len(json.loads(written(run)[0])["response"]) == 3_000_000


def test_what_a_crash_cut_short_is_cut_off_before_anything_is_written_behind_it(run: RunDir) -> None:
    (run.path / JOURNAL).write_bytes(b'{"kind":"query","query_id":"q0"}\n{"kind":"query","que' + b"r" * 100_000)
    with Journal(run) as journal:
        journal.append("query", {"query_id": "q1"})
    assert [record["query_id"] for record in run.journal("query")] == ["q0", "q1"]
    assert len(written(run)) == 3


@pytest.mark.parametrize("torn", [1, 65_535, 65_536, 65_537, 131_072])
def test_a_torn_tail_of_any_length_is_cut_behind_the_last_line(run: RunDir, torn: int) -> None:
    (run.path / JOURNAL).write_bytes(b'{"kind":"query"}\n' + b"x" * torn)
    Journal(run).close()
    assert (run.path / JOURNAL).read_bytes() == b'{"kind":"query"}\n'


def test_a_journal_that_is_but_one_cut_line_begins_anew(run: RunDir) -> None:
    (run.path / JOURNAL).write_bytes(b'{"kind":"query","que')
    with Journal(run) as journal:
        journal.append("query", {"query_id": "q1"})
    assert len(written(run)) == 2


def test_threads_never_write_into_each_others_lines(run: RunDir) -> None:
    with Journal(run) as journal:

        def spans(name: str) -> None:
            for number in range(300):
                journal.append("span", {"name": name * 500, "number": number})

        threads = [threading.Thread(target=spans, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([json.loads(line) for line in written(run)[:-1]]) == 1200


def test_a_forked_child_may_write_whatever_its_parents_threads_did_meanwhile(run: RunDir) -> None:
    program = f"""
import os, threading
from pathlib import Path
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
journal = Journal(RunDir(Path({str(run.path)!r})))
with Journal._writing:  # another thread is in the middle of a line
    child = os.fork()
    if child == 0:
        journal.append("method", {{"method": "child"}})
        os._exit(0)
    os.waitpid(child, 0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)
    assert [record["method"] for record in run.journal("method")] == ["child"]


def test_a_kind_that_nobody_has_described_is_not_written(run: RunDir) -> None:
    with Journal(run) as journal, pytest.raises(ValueError, match="no kind 'poem'"):
        journal.append("poem", {})


def test_a_journal_is_never_a_link_to_another_file(run: RunDir, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    (run.path / JOURNAL).symlink_to(target)
    with pytest.raises(IpwError, match="cannot write"):
        Journal(run)
    assert target.read_text() == "mine"


def test_a_read_only_folder_is_told_in_one_line(run: RunDir) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    run.path.chmod(0o500)
    try:
        with pytest.raises(IpwError, match="Permission denied") as told:
            Journal(run)
        assert told.value.hint == "copy it to where you may write"
    finally:
        run.path.chmod(0o700)


def test_closing_twice_is_harmless_and_writing_afterwards_is_refused(run: RunDir) -> None:
    journal = Journal(run)
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.append("span", {})


TMPFS = ["unshare", "--map-root-user", "--mount"]
"""A mount of one's own, for a disk that is really full."""


def may_mount() -> bool:
    try:
        return subprocess.run([*TMPFS, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_mount(), reason="this user may not mount anything")
@pytest.mark.parametrize("frees_after_s", [0.05, None])
def test_a_disk_that_is_full_is_waited_for_a_moment_and_then_told(tmp_path: Path, frees_after_s: float | None) -> None:
    program = f"""
import os, subprocess, threading
from pathlib import Path
from ipw.errors import OutageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
disk = Path({str(tmp_path)!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=True)
journal = Journal(RunDir(disk))
journal.append("query", {{"query_id": "q0", "response": "x" * 2000}})
(disk / "other").write_bytes(bytes(12 << 10))
if {frees_after_s}:
    threading.Timer({frees_after_s}, lambda: (disk / "other").unlink()).start()
try:
    journal.append("query", {{"query_id": "q1", "response": "y" * 6000}})
except OutageError as error:
    print(error.message)
print((disk / "journal.jsonl").read_text(), end="")
"""
    done = subprocess.run([*TMPFS, sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    if frees_after_s is None:
        assert lines.pop(0).endswith("journal.jsonl: No space left on device")
        assert [json.loads(line)["query_id"] for line in lines] == ["q0"]
    else:
        assert [json.loads(line)["kind"] for line in lines] == ["query", "query", "stall"]
        assert len(json.loads(lines[1])["response"]) == 6000
