"""A manifest or a summary in which anything was changed is told from one that is as ipw wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ipw.foreign_json import parsed
from ipw.metrics.summary import stored_summary
from ipw.metrics.validity.record import CHANGED, record_faults
from ipw.runs.directory import RunDir
from ipw.runs.self_digest import is_whole, with_digest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(st.text().filter(lambda name: name != "digest"), VALUES, max_size=4)


def stored(document: Any) -> Any:
    """As a file keeps it."""
    return parsed(json.dumps(document, indent=1).encode())


@given(DOCUMENTS)
def test_what_was_written_is_whole_when_it_is_read(document: dict[str, Any]) -> None:
    assert is_whole(stored(with_digest(document)))
    assert is_whole(stored(with_digest(stored(with_digest(document)))))


@given(DOCUMENTS, DOCUMENTS)
def test_another_document_under_the_same_digest_is_not_whole(one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(stored(one) != stored(other))
    assert not is_whole(stored({**other, "digest": with_digest(one)["digest"]}))


def test_a_document_of_before_the_digests_is_not_doubted() -> None:
    assert is_whole({"a": 1})


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path)
    run.write_manifest({"run_id": "a", "sensors": [{"name": "gpu", "index": 0, "kind": "power", "gain_rel": 0.05}]})
    return run


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_readers_do_not_see_the_digest(run: RunDir) -> None:
    assert "digest" not in run.manifest()
    run.write_summary({"run_id": "a", "valid": True, "validity": [], "metrics": {}})
    assert "digest" not in (run.summary() or {})


def test_a_changed_manifest_stays_changed_however_often_it_is_written_again(run: RunDir) -> None:
    run.update_manifest(status="complete")
    assert run.manifest_is_whole()
    change(run.path / "manifest.json", "0.05", "0.5")
    assert not run.manifest_is_whole()
    for status in ("running", "complete"):
        run.update_manifest(status=status)
        assert not run.manifest_is_whole()


def test_a_changed_summary_is_shown_and_not_believed(run: RunDir) -> None:
    metrics = {"energy_j": {"value": 74.5, "unit": "J"}}
    run.write_summary({"run_id": "a", "valid": True, "validity": [], "metrics": metrics})
    change(run.path / "summary.json", "74.5", "7.45")
    found = stored_summary(run)
    assert found is not None
    assert found["metrics"]["energy_j"]["value"] == 7.45
    assert not found["valid"]
    assert record_faults(found) == [CHANGED]
