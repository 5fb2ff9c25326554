"""A few seconds of `make fuzz`: one case of every kind of file that is read."""

from __future__ import annotations

import json
from pathlib import Path

import fuzz
import fuzz_runs
import pytest
from fuzz_runs import Case

from ipw.errors import IpwError

CASES = fuzz.cases()
SLOW = ("again", "as it is", "merged", "anew", "resumed", "trend")
"""Deriving a run takes a second each: two stand for all here."""
QUICK = [
    number
    for number, case in enumerate(CASES)
    if case.name in {"lm again", "command as it is"} or not case.name.endswith(SLOW)
]


@pytest.mark.parametrize("number", QUICK, ids=[CASES[number].name for number in QUICK])
def test_what_is_damaged_is_read_or_told_in_one_line(number: int, tmp_path: Path) -> None:
    outcome = fuzz.run(CASES[number], number, 7, tmp_path / "case")
    assert outcome.how in {"ok", "told"}, outcome.detail


@pytest.mark.parametrize("case", [case for case in CASES if case.name in {"gguf of a mixture", "suite", "upstream"}])
def test_what_is_whole_is_read(case: Case, tmp_path: Path) -> None:
    assert fuzz.run(case, -1, 7, tmp_path / "case", harm=False).how == "ok"


def test_the_fuzzer_sees_a_traceback_and_an_error_of_several_lines(tmp_path: Path) -> None:
    def breaks(_: Path) -> None:
        raise ZeroDivisionError

    def babbles(_: Path) -> None:
        error = IpwError("one")
        error.message = "one\ntwo"
        raise error

    for read, how in ((breaks, "traceback"), (babbles, "lines")):
        assert fuzz.run(CASES[-1]._replace(read=read), 0, 1, tmp_path / how).how == how


def test_the_fuzzer_sees_a_number_that_changed_without_a_word() -> None:
    summary = json.loads((fuzz_runs.whole("lm") / "summary.json").read_bytes())
    fuzz_runs.check(summary, "lm")
    summary["metrics"]["energy_j"]["value"] *= 1.00001
    with pytest.raises(AssertionError, match="silently wrong"):
        fuzz_runs.check(summary, "lm")
    fuzz_runs.check(summary | {"valid": False}, "lm")
