"""What a manifest says, whoever wrote it; and readings and curves that are loaded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.runs.curves import curves_of
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import Facts, Recorded

FIRST = Path(__file__).parents[1] / "version-1"
NAMES = sorted(name for kind in (Facts, Recorded) for name, found in vars(kind).items() if isinstance(found, property))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "kind", "scope"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), ANY))
def test_whatever_a_manifest_holds_an_entry_has_its_type_or_is_not_there(manifest: dict[str, Any]) -> None:
    found = Recorded(manifest)
    for name in NAMES:
        if name != "folder":
            getattr(found, name)
    assert found.entries is manifest


@pytest.mark.parametrize(
    ("method", "estimated"),
    [
        ("model_estimate", True),
        ("counter+model_estimate", True),
        ("counter", False),
        ("counter+integrated_power", False),
        ("no_model_estimate", False),
        (None, False),
        (5, False),
    ],
)
def test_joules_that_are_estimated_in_part_are_estimates(method: object, estimated: bool) -> None:
    assert is_estimate(method) is estimated


def test_a_run_is_read_once_however_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded.of(RunDir.open(FIRST / "lm"))
    stored = RunDir.open(FIRST / "lm")
    expected = curves_of(stored.readings(), stored.manifest()["sensors"])
    assert recorded.curves.keys() == expected.keys()
    for name, curve in expected.items():
        assert (recorded.curves[name].t_ns == curve.t_ns).all()
        assert (recorded.curves[name].energy_j == curve.energy_j).all()

    def refuses(_: RunDir) -> Any:
        raise AssertionError("it was read again")

    monkeypatch.setattr(RunDir, "readings", refuses)
    assert recorded.curves is recorded.curves
    assert recorded.readings is recorded.readings


def test_while_a_run_is_derived_its_curves_are_made_once_for_all_who_ask() -> None:
    run = RunDir.open(FIRST / "lm")
    with run.keeping():
        first = Recorded.of(run)
        assert Recorded.of(run).curves is first.curves
        assert Recorded.of(run).readings is first.readings
    assert Recorded.of(run).curves is not first.curves, "nothing is kept in memory afterwards"


def test_a_manifest_without_a_folder_has_no_readings() -> None:
    with pytest.raises(ValueError, match="not opened from a run's folder"):
        _ = Recorded({}).readings
