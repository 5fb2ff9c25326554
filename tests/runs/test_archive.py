"""A run that travels as an archive arrives whole, under a name of its own, or not at all."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from ipw.errors import IpwError
from ipw.runs import archive
from ipw.runs.directory import RunDir


def packed(folder: Path, name: str = "run-a") -> Path:
    run = RunDir(folder / "there" / name)
    run.path.mkdir(parents=True)
    run.write_manifest({"run_id": name, "status": "complete"})
    (run.path / "power.bin").write_bytes(b"\x00\x01" * 40)
    return archive.pack(run.path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_arrives_as_it_was_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    sent, here = packed(tmp_path), tmp_path / "here"
    here.mkdir()
    assert sent == tmp_path / "there/run-a.tar.gz"
    run = archive.unpack(sent, here, archive.digest(sent))
    assert run.path == here / "run-a"
    assert (run.manifest()["run_id"], (run.path / "power.bin").read_bytes()) == ("run-a", b"\x00\x01" * 40)
    assert names(here) == ["run-a"]


def test_runs_of_one_name_are_numbered_from_two_on(tmp_path: Path) -> None:
    sent, here = packed(tmp_path), tmp_path / "here"
    here.mkdir()
    arrived = [archive.unpack(sent, here, archive.digest(sent)).path.name for _ in range(3)]
    assert arrived == ["run-a", "run-a-2", "run-a-3"]


def test_an_archive_travels_in_pieces_that_are_together_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = packed(tmp_path)
    whole = sent.read_bytes()
    assert archive.piece(sent, 0) == whole
    monkeypatch.setattr(archive, "PIECE", 100)
    offsets = range(0, len(whole), 100)
    assert [len(archive.piece(sent, offset)) for offset in offsets][:-1] == [100] * (len(offsets) - 1)
    assert b"".join(archive.piece(sent, offset) for offset in offsets) == whole
    assert archive.piece(sent, len(whole)) == b""


def test_a_piece_is_sixteen_megabytes() -> None:
    assert archive.PIECE == 16 * 1024 * 1024


def test_an_archive_that_was_damaged_on_its_way_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    sent, here = packed(tmp_path), tmp_path / "here"
    here.mkdir()
    with pytest.raises(IpwError, match="was damaged on its way"):
        archive.unpack(sent, here, archive.digest(sent)[::-1])
    cut = sent.with_name("cut.tar.gz")
    cut.write_bytes(sent.read_bytes()[: sent.stat().st_size // 2])
    with pytest.raises(IpwError, match=r"cut\.tar\.gz cannot be unpacked"):
        archive.unpack(cut, here, archive.digest(cut))
    assert names(here) == []


def test_an_archive_of_two_runs_is_none(tmp_path: Path) -> None:
    packed(tmp_path)
    (tmp_path / "there/other").mkdir()
    both = tmp_path / "both.tar.gz"
    with tarfile.open(both, "w:gz") as tar:
        for name in ("run-a", "other"):
            tar.add(tmp_path / "there" / name, arcname=name)
    with pytest.raises(IpwError, match="cannot be unpacked"):
        archive.unpack(both, tmp_path, archive.digest(both))
    assert not (tmp_path / "run-a").exists()
