"""A table in a terminal of any width: no word is broken, nothing but the least important is left out."""

# ruff: noqa: RUF001 - the sign between a model and its load is a multiplication sign
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from ipw.reports.tables.fitted import fitted

HEADS = ["Model", "Accuracy\n%", "IPW\n/kW\nestimated", "Token\nmJ", "Latency\ns"]
ROWS = [
    ["Qwen/Qwen3-8B-Instruct ×4\nn 120", "97.5\n[87.1, 99.6]", "54\n[27, 1180]", "86\n[4, 173]", "0.31"],
    ["phi", "95.0", "< 4", "12", "2.02"],
]  # fmt: skip


def lines(width: int, heads: list[str] = HEADS, rows: list[list[str]] = ROWS, **more: object) -> list[str]:
    made = [[Text(cell) for cell in row] for row in rows]
    return [line.plain for line in fitted([*map(Text, heads)], made, width, **more)]  # type: ignore[arg-type]


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\s:]+", text))


@pytest.mark.parametrize("width", [200, 80, 60, 45, 30, 12, 1])
def test_no_word_is_broken_at_any_width(width: int) -> None:
    shown = words(" ".join(lines(width)))
    for word in words(" ".join(ROWS[0] + ROWS[1])) | words(" ".join(HEADS[1:])):
        assert word in shown


@pytest.mark.parametrize("width", [200, 80, 60, 45, 36])
def test_it_fits_as_far_as_its_words_allow(width: int) -> None:
    assert max(len(line) for line in lines(width, drop=[3]) if not line.startswith("Left out")) <= width


def test_columns_go_the_least_important_first_and_names_stand_above_before_more_is_lost() -> None:
    assert "Token" in " ".join(lines(60, drop=[3, 2]))
    wide, narrow = lines(50, drop=[3, 2]), lines(34, drop=[3, 2])
    assert "Left out at this width" in narrow[-1]
    assert not any("Token" in line for line in narrow[:-1])
    assert "IPW" in " ".join(wide)
    assert "Accuracy" in " ".join(narrow)
    assert narrow[narrow.index("Qwen/Qwen3-8B-Instruct ×4") + 1] == "n 120"


def test_figures_stand_under_their_heads() -> None:
    shown = lines(100)
    assert shown[2].endswith("s")
    assert {len(line) for line in shown if line.endswith(("0.31", "2.02", "s"))} == {len(shown[2])}


def test_columns_flush_left_begin_at_one_place() -> None:
    shown = lines(80, ["run", "why"], [["a", "none"], ["b", "it failed"]], left=[1])
    assert [line.index(word) for line, word in zip(shown[2:], ("none", "it"), strict=True)] == [5, 5]


cells = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=14)


@given(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=4), st.integers(1, 60))
def test_whatever_is_in_it_every_word_is_there(rows: list[list[str]], width: int) -> None:
    shown = words(" ".join(lines(width, ["a", "b", "c"], rows)))
    assert {word for row in rows for cell in row for word in cell.split()} <= shown
