from __future__ import annotations

import errno
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipw.errors import FAILURE, IpwError
from ipw.runs.directory import RunDir
from ipw.runs.files import SHARE, replacing, unwritable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str = "new") -> None:
    with replacing(path) as file:
        file.write(text.encode())


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    with replacing(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("not a number"), KeyboardInterrupt()])
def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as file:
            file.write(b"new")
            raise error

    with pytest.raises((IpwError, ValueError, KeyboardInterrupt)):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "name", [".comparison.html.part", "comparison.part", "comparison.html.part", "comparison.html"]
)
def test_a_link_that_lies_in_wait_is_never_followed(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    write(folder / "comparison.html")
    assert precious.read_text() == "mine"
    assert (folder / "comparison.html").read_text() == "new"


def test_no_two_temporary_names_are_alike(tmp_path: Path) -> None:
    names = set()
    for _ in range(50):
        with replacing(tmp_path / "a") as file:
            file.write(b"x")
            names |= {path.name for path in tmp_path.iterdir()}
    assert len(names - {"a"}) == 50


def test_many_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "manifest.json"
    writers = [threading.Thread(target=write, args=(target, letter * 100_000)) for letter in "abcdef"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(target.read_text())) == 1
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o400])
def test_a_file_keeps_the_access_that_it_had(tmp_path: Path, kept: int) -> None:
    target = tmp_path / "comparison.html"
    target.write_text("old")
    target.chmod(kept)
    write(target)
    assert mode(target) == kept


@pytest.mark.parametrize(("folder", "expected"), [(0o755, 0o644), (0o700, 0o600), (0o750, 0o640), (0o777, 0o644)])
def test_a_new_file_is_as_private_as_its_folder(tmp_path: Path, folder: int, expected: int) -> None:
    inside = tmp_path / "folder"
    inside.mkdir()
    inside.chmod(folder)
    write(inside / "a")
    assert mode(inside / "a") == expected


def test_a_run_is_private_to_its_user(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "runs", "x")
    run.write_manifest({})
    assert (mode(run.path), mode(run.path / "manifest.json")) == (0o700, 0o600)


def test_a_run_can_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARE, "1")
    run = RunDir.create(tmp_path / "runs", "x")
    run.write_manifest({})
    assert (mode(run.path), mode(run.path / "manifest.json")) == (0o755, 0o644)


@pytest.mark.parametrize("name", ["folder", "absent/a", "x" * 300])
def test_what_cannot_be_written_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IpwError, match="cannot write") as told:
        write(tmp_path / name)
    assert told.value.exit_code == FAILURE
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_long_name_that_the_disk_allows_can_be_written(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 255))


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe)
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_an_open_file_that_is_named_as_a_device_is_written_to(tmp_path: Path, folder: str) -> None:
    with (tmp_path / "a").open("w") as file:
        write(Path(folder) / str(file.fileno()))
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no /dev/shm")
def test_a_folder_in_memory_is_a_folder_like_others() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "a").write_text("longer than what comes")
        before = (Path(folder) / "a").stat().st_ino
        write(Path(folder) / "a")
        assert (Path(folder) / "a").stat().st_ino != before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_keeps_its_owner_when_root_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.chown(tmp_path / "a", 12345, 12345)
    write(tmp_path / "a")
    assert (tmp_path / "a").stat().st_uid == 12345


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "is the disk full?"), (errno.EROFS, "copy it to where you may write")]
)
def test_the_hint_suits_what_the_system_says(number: int, hint: str) -> None:
    assert unwritable(Path("a"), OSError(number, "")).hint == hint
    assert unwritable(Path("a"), OSError(number, ""), "give another --page").hint == "give another --page"


def test_the_null_device_stays_what_it_is() -> None:
    write(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").lstat().st_mode)
