"""Text of anywhere steers neither a terminal, nor a CI runner, nor a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.printable import BIDI, FORMULA, LINE_ENDS, cell, clean, inert, printable


@given(st.text(st.characters(), max_size=300))
def test_cleaned_text_is_one_line_that_can_be_written_and_steers_nothing(text: str) -> None:
    cleaned = clean(text, 100)
    cleaned.encode()
    assert len(cleaned) <= 101
    assert not any(c in BIDI or unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in cleaned)


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\x00b", "\u202egnp.exe", "\ud800", "bell\x07"])
def test_what_could_harm_becomes_a_replacement_character(text: str) -> None:
    assert "\ufffd" in clean(text)


def test_other_scripts_and_emoji_stay() -> None:
    text = "Qwen3 千问 🤖 नमस्ते 👩\u200d🔬"
    assert clean(text) == text


def test_a_megabyte_is_cut() -> None:
    assert clean("x" * 1_000_000, 50) == "x" * 50 + "…"


def test_a_sign_that_python_calls_printable_is_in_no_category_that_steers_and_ends_no_line() -> None:
    printed = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable()]
    assert not {*printed} & (BIDI | {*LINE_ENDS})
    assert not {"Cc", "Cs", "Cn"} & set(map(unicodedata.category, printed))


@given(st.text(st.sampled_from(" \t\n:#[]aerr-=,x\x1b\u202e\x07"), max_size=60))
def test_no_line_of_printed_text_is_a_command_to_a_runner(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"(?m)^\s*::[A-Za-z-]+( [^\n]*)?::", shown)
    assert not re.search(r"##\w*\[", shown)
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["::1", "std::vector", "a :: b", "# heading", "## [1] cited", "http://[::1]:8000/v1"])
def test_what_only_looks_a_little_like_a_command_stays(text: str) -> None:
    assert inert(text) == text


@given(st.text(max_size=20))
def test_a_cell_is_one_line_and_never_a_formula(text: str) -> None:
    shown = str(cell(text))
    assert shown[:1] not in set(FORMULA) or not shown
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in shown)


@pytest.mark.parametrize("number", [1, -2.5, None, True])
def test_numbers_stay_numbers_in_cells(number: object) -> None:
    assert cell(number) is number


HOSTILE = "\x1b]0;title\x07\x1b[2J\n::error::from the run"


@pytest.fixture
def hostile_run(tmp_path: Path) -> Path:
    """A run that came by mail: somebody wrote commands into its summary."""
    run = make_run(tmp_path)
    summary = summarize(run)
    summary["run_id"] = summary["model"]["name"] = HOSTILE
    summary["validity"][0] |= {"ok": False, "detail": "\x1b[2J\n::stop-commands::x", "check": HOSTILE}
    summary["metrics"]['=HYPERLINK("http://x";"y")'] = {"value": 1.0, "low": None, "high": None, "unit": HOSTILE}
    (run.path / "summary.json").write_text(json.dumps(summary))
    return run.path


@pytest.mark.parametrize(
    "words",
    ["report", "report --table csv", "report --table markdown", "report --table latex", "export --format codecarbon",
     "export --format prometheus", "export --format ml-energy", "list runs --out", "trend", "watch --once"],
)  # fmt: skip
def test_a_run_that_came_by_mail_steers_nothing(hostile_run: Path, words: str) -> None:
    given_path = hostile_run.parent if words.startswith("list") else hostile_run
    command = [sys.executable, "-m", "ipw.cli", *words.split(), str(given_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=hostile_run.parent)
    assert "Traceback" not in done.stderr
    told = done.stdout + done.stderr
    assert not set(told) & {"\x1b", "\x07"}
    assert not re.search(r"(?m)^\s*::[a-z-]+::", told)
    if words.endswith(("csv", "codecarbon")):
        cells = [one for row in csv.reader(io.StringIO(done.stdout)) for one in row]
        assert not [one for one in cells if one.startswith(("=", "@"))]


def test_an_error_that_repeats_foreign_text_is_one_line(tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[2J\n::error::b"
    done = subprocess.run(
        [sys.executable, "-m", "ipw.cli", "report", str(hostile)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 2
    assert "\x1b" not in done.stderr
