"""What an owner's note says is used as far as it can be meant, and never believed further."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from ipw.clock import boot_id
from ipw.runs import owner

HERE = {"doing": "measured", "host": platform.node(), "since": "2026-01-02T03:04:05Z", "boot_id": str(boot_id() or "")}


def noted(folder: Path, text: str) -> dict[str, object]:
    path = folder / "note"
    path.write_text(text)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return owner._note(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("pid", [1, 4711, 2**31 - 1])
def test_a_whole_note_is_read(tmp_path: Path, pid: int) -> None:
    assert noted(tmp_path, json.dumps(HERE | {"pid": pid})) == HERE | {"pid": pid}


@pytest.mark.parametrize("pid", [0, -1, 2**31, True, "1", 1.5, None])
def test_a_note_whose_process_can_be_none_is_none(tmp_path: Path, pid: object) -> None:
    assert noted(tmp_path, json.dumps(HERE | {"pid": pid})) == {}


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"doing": "measured"}'])
def test_what_is_no_note_is_none(tmp_path: Path, text: str) -> None:
    assert noted(tmp_path, text) == {}


def test_words_that_cannot_be_shown_are_left_out_and_those_that_lack_are_empty(tmp_path: Path) -> None:
    found = noted(tmp_path, json.dumps({"pid": 9, "doing": "\x1b[31m", "host": "bench"}))
    assert found == {"pid": 9, "host": "bench", "since": "", "boot_id": ""}


def test_a_process_may_live_that_is_there_since_this_start_of_the_machine_or_stands_on_another_one() -> None:
    parent = HERE | {"pid": os.getppid() or 1}
    assert owner._may_live(parent)
    assert owner._may_live(parent | {"host": "another"})
    assert not owner._may_live({})
    assert not owner._may_live(parent | {"boot_id": "an earlier one"})
    assert not owner._may_live(HERE | {"pid": 2**31 - 2})  # nobody has that number
    assert not owner._may_live(HERE | {"pid": os.getpid()})  # we know that we do not


def test_who_is_busy_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    told = owner._busy(tmp_path, HERE | {"pid": 9})
    assert told.message == f"{tmp_path} is being measured by process 9 since 2026-01-02T03:04:05Z"
    elsewhere = owner._busy(tmp_path, {"pid": 9, "host": "bench"}).message
    assert elsewhere == f"{tmp_path} is being used by process 9 on bench"
    assert owner._busy(tmp_path, {}).message == f"{tmp_path} is being used by another process"
