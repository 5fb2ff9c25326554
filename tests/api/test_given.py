"""What a program gives that makes no sense is refused in one line, where it is given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipw
from ipw.errors import UsageError


@pytest.mark.parametrize("wrong", [5, None, b"x", ["x"]], ids=repr)
@pytest.mark.parametrize(
    "give",
    [
        lambda wrong: ipw.measure(wrong).__enter__(),
        lambda wrong: ipw.measure(sensors=wrong).__enter__(),
        ipw.Meter,
        lambda wrong: ipw.Meter(sensors=wrong),
        lambda wrong: ipw.task(wrong).__enter__(),
    ],
    ids=["measure", "sensors of measure", "Meter", "sensors of Meter", "task"],
)
def test_a_name_that_is_no_text_is_refused_before_anything_starts(
    give: Callable[[Any], object], wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="must be text, not"):
        give(wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [5, None, b"x", ["x"]], ids=repr)
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="must be a path, not"):
        ipw.load_run(wrong)
    with pytest.raises(UsageError, match="must be a path, not"):
        ipw.Meter(out=wrong)


def test_a_block_of_an_open_meter_has_a_name_that_is_text(tmp_path: Path) -> None:
    wrong: Any = 5
    with ipw.Meter(sensors="estimate", out=tmp_path) as meter:
        with pytest.raises(UsageError, match="must be text, not int"):
            meter.begin(wrong)
        with ipw.measure("step"):
            pass


@pytest.mark.parametrize("wrong", ["x", None, -1, float("nan"), float("inf")], ids=repr)
def test_what_is_no_length_of_time_is_refused_before_a_sensor_starts(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be seconds, 0 or more"):
        ipw.Meter(idle_s=wrong, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_block_may_be_named_after_a_file_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    with ipw.Meter(sensors="estimate", out=tmp_path) as meter, meter.measure("caf\udce9.txt"):
        pass
    table = meter.inner.run.read_table("spans", ("name",))
    assert table is not None
    assert "caf?.txt" in table["name"].to_pylist()


def test_only_what_can_be_called_is_measured_and_it_needs_no_name_of_its_own() -> None:
    wrong: Any = 5
    with pytest.raises(UsageError, match="a function is measured, not int"):
        ipw.measured(wrong)
    assert callable(ipw.measured(functools.partial(int, "5")))
