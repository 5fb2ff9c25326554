from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipw.errors import FAILURE, IpwError
from ipw.runs.directory import RunDir
from ipw.runs.owner import LOCK, BusyError, Owner


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, "run")


@contextmanager
def owned_elsewhere(run: RunDir, before_wait: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process owns the run until its stdin closes, or it is killed."""
    program = f"""
import os, sys
from pathlib import Path
from ipw.runs.owner import Owner
owner = Owner(Path({str(run.path)!r}), "measured")
{before_wait}
print("ready", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        yield child
    finally:
        child.communicate("")


def test_a_busy_run_is_refused_with_who_holds_it(run: RunDir) -> None:
    with owned_elsewhere(run) as child:
        told = rf"is being measured by process {child.pid} since 20\d\d-\d\d-\d\dT"
        with pytest.raises(BusyError, match=told) as refused:
            Owner(run.path, "resumed")
        assert refused.value.exit_code == FAILURE
        assert str(run.path) in (refused.value.hint or "")
    Owner(run.path, "resumed").release()


def test_the_lock_ends_with_its_process_however_that_ends(run: RunDir) -> None:
    with owned_elsewhere(run) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert (run.path / LOCK).exists()
        with Owner(run.path, "resumed"):
            assert json.loads((run.path / LOCK).read_text())["pid"] == os.getpid()
    assert not (run.path / LOCK).exists()


def test_a_child_that_outlives_its_parent_holds_nothing(run: RunDir) -> None:
    outlives = "if os.fork() == 0: import time; print(os.getpid(), flush=True); time.sleep(60)"
    program = f"""
import os
from pathlib import Path
from ipw.runs.owner import Owner
owner = Owner(Path({str(run.path)!r}), "measured")
{outlives}
os._exit(0)
"""
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    orphan = int(child.stdout.readline())
    child.wait()
    try:
        Owner(run.path, "resumed").release()
    finally:
        os.kill(orphan, signal.SIGKILL)
        child.stdout.close()


def test_a_forked_child_neither_owns_nor_lets_go(run: RunDir) -> None:
    with Owner(run.path, "measured") as owner:
        child = os.fork()
        if child == 0:
            owner.release()
            try:
                Owner(run.path, "derived")
            except BusyError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert (run.path / LOCK).exists()


def test_two_parts_of_one_process_are_two(run: RunDir) -> None:
    with (
        Owner(run.path, "measured"),
        pytest.raises(BusyError, match=rf"being measured by process {os.getpid()}"),
    ):
        Owner(run.path, "derived")
    Owner(run.path, "derived").release()


def test_letting_go_twice_is_harmless_and_never_takes_it_from_the_next(run: RunDir) -> None:
    first = Owner(run.path, "measured")
    first.release()
    with Owner(run.path, "derived"):
        first.release()
        with pytest.raises(BusyError):
            Owner(run.path, "resumed")


def test_of_many_at_once_one_owns_it(run: RunDir) -> None:
    program = f"""
import sys, time
from pathlib import Path
from ipw.runs.owner import BusyError, Owner
sys.stdin.readline()
try:
    with Owner(Path({str(run.path)!r}), "resumed"):
        print("mine", flush=True)
        sys.stdin.read()
except BusyError:
    print("busy", flush=True)
"""
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.stdout.readline() for child in children if child.stdout is not None]
    for child in children:
        child.communicate("")
    assert sorted(said) == ["busy\n"] * 3 + ["mine\n"]


def test_a_copy_of_a_busy_run_is_free(run: RunDir, tmp_path: Path) -> None:
    with owned_elsewhere(run):
        shutil.copytree(run.path, tmp_path / "copy")
        Owner(tmp_path / "copy", "derived").release()


def test_a_lock_file_that_lies_there_says_nothing(run: RunDir) -> None:
    (run.path / LOCK).write_text(json.dumps({"pid": os.getppid(), "doing": "measured"}))
    Owner(run.path, "resumed").release()


def test_nothing_is_left_of_a_longer_note_of_another(run: RunDir) -> None:
    (run.path / LOCK).write_text("x" * 5000)
    with Owner(run.path, "resumed"):
        assert json.loads((run.path / LOCK).read_text())["doing"] == "resumed"


def test_a_lock_that_is_a_link_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (run.path / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(IpwError, match="cannot write"):
        Owner(run.path, "resumed")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    "note", [b"", b"[]", b'{"pid": "x"}', b'{"pid": 1, "doing": "\x1b[2J", "host": 3}', b"\xff" * 9]
)
def test_what_the_owner_wrote_is_not_trusted(run: RunDir, note: bytes) -> None:
    with owned_elsewhere(run, f"os.ftruncate(owner._descriptor, 0); os.pwrite(owner._descriptor, {note!r}, 0)"):
        with pytest.raises(BusyError) as told:
            Owner(run.path, "resumed")
        assert told.value.message.isprintable()


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(IpwError, match="cannot write"):
        Owner(tmp_path / "gone", "derived")


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)


def test_where_the_file_system_knows_no_locks_a_living_process_is_believed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    with owned_elsewhere(run) as child:
        with pytest.raises(BusyError, match=f"by process {child.pid}"):
            Owner(run.path, "resumed")
        child.kill()
        child.wait()
        Owner(run.path, "resumed").release()


def test_where_the_file_system_knows_no_locks_another_machine_is_asked_about(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    (run.path / LOCK).write_text(json.dumps({"pid": 7, "doing": "measured", "host": "node17"}))
    with pytest.raises(BusyError, match="by process 7 on node17") as told:
        Owner(run.path, "resumed")
    assert f"delete {run.path / LOCK}" in (told.value.hint or "")
    (run.path / LOCK).unlink()
    Owner(run.path, "resumed").release()


def test_what_was_begun_before_the_machine_was_started_anew_has_ended(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks(monkeypatch)
    note = {"pid": os.getppid(), "doing": "measured", "host": platform.node(), "boot_id": "another"}
    (run.path / LOCK).write_text(json.dumps(note))
    Owner(run.path, "resumed").release()
