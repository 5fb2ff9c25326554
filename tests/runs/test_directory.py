from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import IpwError, UsageError
from ipw.runs import directory
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.readings import RECORD, RECORD_FIELDS


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path, "a run")
    run.write_manifest({"sensors": [{"name": "x/a", "index": 0}, {"name": "x/b", "index": 3}, {"name": "x/absent"}]})
    return run


def test_a_slug_never_leaves_the_output_folder(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "../../etc/passwd\x00<script>")
    assert run.path.parent == tmp_path
    assert run.path.is_dir()


def test_two_runs_of_the_same_second_get_two_folders(tmp_path: Path) -> None:
    assert RunDir.create(tmp_path, "x").path != RunDir.create(tmp_path, "x").path


def test_an_unwritable_folder_is_told_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IpwError, match="cannot write") as told:
        RunDir.create(tmp_path / "file" / "runs", "x")
    assert told.value.hint


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        RunDir.open(tmp_path)


@pytest.mark.parametrize("manifest", ["", "[]", '{"schema_version": 99}', '{"schema_version": "new"}', "{}"])
def test_a_manifest_that_cannot_be_believed_is_refused(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UsageError):
        RunDir.open(tmp_path)


def test_the_summary_refuses_what_is_not_a_number(run: RunDir) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.write_summary({"metrics": {"energy_j": math.nan}})
    assert run.summary() is None


def test_updating_the_manifest_keeps_the_rest(run: RunDir) -> None:
    run.update_manifest(status="complete")
    assert run.manifest()["status"] == "complete"
    assert len(run.manifest()["sensors"]) == 3


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), max_size=8), st.integers(0, 400))
def test_a_journal_cut_anywhere_keeps_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]], cut: int
) -> None:
    run = RunDir(tmp_path_factory.mktemp("run"))
    with Journal(run) as journal:
        for record in records:
            journal.append("query", {"content": record})
    path = run.path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    kept = [record["content"] for record in run.journal("query")]
    assert kept == records[: len(kept)]
    assert len(kept) >= whole[: max(0, len(whole) - cut)].count(b"\n")


def test_a_journal_goes_on_after_a_torn_line(run: RunDir) -> None:
    (run.path / "journal.jsonl").write_bytes(b'{"kind":"query","n":1}\n{"kind":"que')
    with Journal(run) as journal:
        journal.append("query", {"n": 2})
    assert [record["n"] for record in run.journal("query")] == [1, 2]


def test_records_on_disk_are_what_the_sampler_packs() -> None:
    assert np.dtype(RECORD_FIELDS).itemsize == RECORD.size
    packed = RECORD.pack(123, 4.5, 6, 7, 89)
    assert np.frombuffer(packed, np.dtype(RECORD_FIELDS))[0].tolist() == (123, 4.5, 6, 7, 89)


def test_packing_the_readings_changes_none_of_them(run: RunDir) -> None:
    records = [(10, 1.5, 0, 0, 5), (20, math.nan, 3, 4, 0), (30, 2.5, 3, 0, 7), (40, -0.0, 0, 0, 2**32 - 1)]
    (run.path / "power.bin").write_bytes(b"".join(RECORD.pack(*record) for record in records) + b"torn")
    before = run.readings()
    run.pack_readings()
    after = run.readings()
    assert not (run.path / "power.bin").exists()
    for field in before.dtype.names or ():
        np.testing.assert_array_equal(before[field], after[field])


def test_a_run_without_readings_has_none(run: RunDir) -> None:
    assert len(run.readings()) == 0
    run.pack_readings()
    assert run.read_table("power") is None


def test_no_half_written_file_is_left_behind(run: RunDir) -> None:
    run.write_summary({"metrics": {}})
    assert json.loads((run.path / "summary.json").read_text())["metrics"] == {}
    assert not list(run.path.glob(".*"))


def test_a_folder_is_named_after_the_moment_and_the_slug_in_eighty_characters_and_numbered_from_two_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "wall_ns", lambda: 1_767_225_599_500_000_000)
    names = [RunDir.create(tmp_path, slug).path.name for slug in ("a b", "a b", "a b", "x" * 100, "x" * 100, "-.-")]
    assert names == [
        "20251231T235959Z-a-b",
        "20251231T235959Z-a-b-2",
        "20251231T235959Z-a-b-3",
        "20251231T235959Z-" + "x" * 63,
        "20251231T235959Z-" + "x" * 63 + "-2",
        "20251231T235959Z-run",
    ]
