"""How a run is concluded: a large one in a process of its own, with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_merge import part

from ipw.errors import IpwError
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.verbs.common import conclude as module
from ipw.verbs.common.conclude import conclude


def run_in(folder: Path) -> RunDir:
    return part(folder, "one", [f"q{i}" for i in range(5)], 20.0, 100)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each number or text with its place. Two processes may round the last digit differently, as old numpy does."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{place}/{key}")
    else:
        yield place, value


def test_a_large_run_is_derived_apart_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = derive(run_in(tmp_path / "here"))
    monkeypatch.setattr(module, "LARGE", 1)
    apart = run_in(tmp_path / "apart")
    assert conclude(apart, interrupted=False, as_json=False, strict=False) == 0
    found = apart.summary()
    assert found is not None
    assert dict(leaves(found)) == {
        place: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value for place, value in leaves(here)
    }
    assert (apart.path / "report.html").is_file()


def test_a_large_run_that_cannot_be_derived_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1)
    broken = run_in(tmp_path)
    broken.update_manifest(workload={"kind": "unheard of"})
    assert (broken.path / JOURNAL).stat().st_size > 1
    with pytest.raises(IpwError, match="could not be derived"):
        conclude(broken, interrupted=False, as_json=False, strict=False)
