"""A few seconds of `make fuzz`: one case of every kind of file that is read."""

from __future__ import annotations

from pathlib import Path

import fuzz
import pytest

from ipw.errors import IpwError

CASES = fuzz.cases()
QUICK = [number for number, case in enumerate(CASES) if not case.name.endswith("again") or case.name == "lm again"]
"""Deriving a run takes a second each: one stands for all here."""


@pytest.mark.parametrize("number", QUICK, ids=[CASES[number].name for number in QUICK])
def test_what_is_damaged_is_read_or_told_in_one_line(number: int, tmp_path: Path) -> None:
    outcome = fuzz.run(CASES[number], number, 7, tmp_path / "case")
    assert outcome.how in {"ok", "told"}, outcome.detail


@pytest.mark.parametrize("case", [case for case in CASES if case.name in {"gguf", "questions", "suite", "meter"}])
def test_what_is_whole_is_read(case: fuzz.Case, tmp_path: Path) -> None:
    case.read(case.make(tmp_path))


def test_the_fuzzer_sees_a_traceback_and_an_error_of_several_lines(tmp_path: Path) -> None:
    def breaks(_: Path) -> None:
        raise ZeroDivisionError

    def babbles(_: Path) -> None:
        raise IpwError("one\ntwo")

    for read, how in ((breaks, "traceback"), (babbles, "lines")):
        assert fuzz.run(CASES[-1]._replace(read=read), 0, 1, tmp_path / how).how == how
