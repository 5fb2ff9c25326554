from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doubles.openai_server import Behaviour, serving

import ipw
from ipw.errors import UsageError
from ipw.runs.files import replacing
from ipw.runs.owner import Owner
from ipw.runs.sweep import STARTING_S, sweep_beside, sweep_parts


def run_ipw(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipw.cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["measure", "--sensors", "no-such-sensor", "--", "true"],
        ["measure", "--sensors", "estimate", "--", "no-such-program"],
        ["run", "lm", "--base-url", "REFUSING", "--dataset", "q.jsonl", "--sensors", "estimate", "--idle", "0"],
    ],
)
def test_a_start_that_was_refused_leaves_no_run(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"id": "q", "prompt": "2+2", "answer": "4"}) + "\n")
    with serving(lambda _: Behaviour(["x"], status=401)) as server:
        told = run_ipw(*[server.url if word == "REFUSING" else word for word in arguments], cwd=tmp_path)
    assert told.returncode != 0
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


def test_what_was_measured_is_kept_when_a_block_is_misused(tmp_path: Path) -> None:
    meter = ipw.Meter("mine", sensors="estimate", out=tmp_path)
    with pytest.raises(UsageError), meter:
        meter.end("never begun")
    assert (meter.path / "manifest.json").is_file()


def made(out: Path, name: str, files: dict[str, str], age_s: float) -> Path:
    folder = out / name
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_text(text)
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_what_a_start_that_was_killed_left_is_swept_by_the_next(tmp_path: Path) -> None:
    made(tmp_path, "20260101T000000Z-dead", {"journal.jsonl": "", "power.bin": "x", "owner.lock": "{}"}, 2 * STARTING_S)
    ipw.Meter("next", sensors="estimate", out=tmp_path).close()
    assert [path.name[17:] for path in tmp_path.iterdir()] == ["next"]


@pytest.mark.parametrize(
    ("name", "files", "age_s"),
    [
        ("20260101T000000Z-young", {"journal.jsonl": ""}, 0.1 * STARTING_S),
        ("20260101T000000Z-whole", {"manifest.json": "{}"}, 2 * STARTING_S),
        ("20260101T000000Z-other", {"thesis.tex": "mine"}, 2 * STARTING_S),
        ("20260101T000000Z-trace", {"routing-0.safetensors": ""}, 2 * STARTING_S),
        ("photos", {}, 2 * STARTING_S),
    ],
)
def test_what_is_no_dead_start_stays(tmp_path: Path, name: str, files: dict[str, str], age_s: float) -> None:
    folder = made(tmp_path, name, files, age_s)
    sweep_beside(tmp_path)
    assert folder.is_dir()


def test_a_journal_with_work_in_it_stays_though_its_manifest_is_gone(tmp_path: Path) -> None:
    folder = made(tmp_path, "20260101T000000Z-x", {"journal.jsonl": '{"kind":"query"}\n'}, 2 * STARTING_S)
    sweep_beside(tmp_path)
    assert folder.is_dir()


def test_a_link_to_a_folder_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = made(tmp_path / "elsewhere", "folder", {"journal.jsonl": ""}, 2 * STARTING_S)
    (tmp_path / "20260101T000000Z-link").symlink_to(folder)
    sweep_beside(tmp_path)
    assert (folder / "journal.jsonl").is_file()


def test_one_that_is_owned_stays(tmp_path: Path) -> None:
    folder = made(tmp_path, "20260101T000000Z-slow", {"journal.jsonl": ""}, 0.0)
    with Owner(folder, "measured"):
        os.utime(folder, (time.time() - 2 * STARTING_S,) * 2)
        sweep_beside(tmp_path)
        assert folder.is_dir()


def test_what_killed_processes_had_not_written_whole_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    for name, age_s in ((".ipw-00ff.part", 2 * STARTING_S), (".ipw-11ff.part", 0.0), ("mine.part", 2 * STARTING_S)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    sweep_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ipw-11ff.part", "mine.part"]


def test_a_temporary_file_is_named_as_what_is_swept(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as file:
        (part,) = tmp_path.iterdir()
        os.utime(part, (time.time() - 2 * STARTING_S,) * 2)
        sweep_parts(tmp_path)
        assert not part.exists()
        part.write_text("")  # so that it can take its place
        file.write(b"")
