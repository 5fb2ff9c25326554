"""Tables: runs that can be compared stand together, estimates apart, and nothing in a name breaks the table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from reports.made_runs import make_run
from rich.console import Console

from ipw.metrics.summary import summarize
from ipw.reports.page.headline import headline
from ipw.reports.ranking import groups
from ipw.reports.tables.runs import columns, markdown, terminal

RIGHT, HALF = [1.0] * 60, [1.0, 0.0] * 30


@pytest.fixture
def summaries(tmp_path: Path) -> list[dict[str, Any]]:
    """Two measured runs of known order, and two estimates."""
    return [
        summarize(make_run(tmp_path, "run-half", scores=HALF)),
        summarize(make_run(tmp_path, "run-best", scores=RIGHT)),
        summarize(make_run(tmp_path, "run-guess-b", scores=HALF, method="model_estimate")),
        summarize(make_run(tmp_path, "run-guess-a", scores=RIGHT, method="model_estimate")),
    ]


def printed(summaries: list[dict[str, Any]], width: int = 80) -> str:
    out = io.StringIO()
    terminal(summaries, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def test_measured_runs_are_ranked_by_accuracy_per_joule(summaries: list[dict[str, Any]]) -> None:
    measured = groups(summaries)[0]
    assert [(row.rank, row.name) for row in measured.rows] == [(1, "best"), (2, "half")]


def test_estimates_stand_apart_below_and_have_no_rank(summaries: list[dict[str, Any]]) -> None:
    found = groups([summaries[2], *summaries])
    assert [group.estimated for group in found] == [False, True]
    assert all(row.rank is None for row in found[1].rows)
    assert [row.name for row in found[1].rows] == ["guess-b", "guess-b #2", "guess-a"]


@pytest.mark.parametrize(
    "change",
    [
        {"basis": "package+dram"},
        {"workload": {"kind": "lm", "parameters": {"dataset": "other.jsonl"}}},
        {"workload": {"kind": "command", "parameters": {"command": ["true"]}}},
    ],
)
def test_other_bases_data_sets_and_workloads_are_never_ranked_together(
    summaries: list[dict[str, Any]], change: dict[str, Any]
) -> None:
    found = groups([summaries[0], summaries[1] | change])
    assert len(found) == 2
    assert all(row.rank is None for group in found for row in group.rows)


def test_an_invalid_run_is_shown_last_and_has_no_rank(summaries: list[dict[str, Any]]) -> None:
    half, best = summaries[0], summaries[1] | {"valid": False}
    rows = groups([best, half])[0].rows
    assert [(row.rank, row.name) for row in rows] == [(1, "half"), (None, "best")]
    assert "not valid" in printed([best, half])


def test_gain_enters_the_intervals_only_across_devices(summaries: list[dict[str, Any]]) -> None:
    half, best = summaries[:2]
    same, other = groups([half, best])[0], groups([half, best | {"devices": ["elsewhere: GPU-2"]}])[0]
    assert (same.across_devices, other.across_devices) == (False, True)
    for name in ("energy_per_query_j", "mean_power_w"):
        narrow, wide = same.rows[0].metrics[name], other.rows[0].metrics[name]
        assert narrow["high"] < 1.02 * narrow["value"]
        assert wide["high"] == pytest.approx(1.05 * wide["value"], rel=0.01)
    assert same.rows[0].metrics["accuracy"] == other.rows[0].metrics["accuracy"]
    assert "gain of their sensors" in " ".join(printed([half, best | {"devices": []}]).split())


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_table_fits_its_width_and_cuts_no_heading(summaries: list[dict[str, Any]], width: int) -> None:
    text = printed(summaries, width)
    assert max(map(len, text.splitlines())) <= width
    for heading in ("Accuracy", "IPW", "IPJ", "Query", "Power", "Latency", "tokens/s", "±"):
        assert heading in text
    assert "…" not in text


def test_every_column_of_joules_or_watts_says_estimated_when_it_is(summaries: list[dict[str, Any]]) -> None:
    text = printed(summaries[2:], 100)
    assert text.count("estimated") == 5  # IPW, IPJ, energy and power of a query, power; no token at this width
    assert "Estimated, not measured" in text
    assert "estimated" not in printed(summaries[:2], 100).lower()
    assert markdown(summaries[2:]).count(", estimated)") == 6


def test_a_column_has_one_unit_for_all_rows(summaries: list[dict[str, Any]]) -> None:
    group = groups(summaries)[0]
    joules = next(c for c in columns(group) if c.name == "energy_per_query_j")
    assert joules.unit == "J"
    assert [joules.value(row) for row in group.rows] == ["10.00", "10.00"]


def test_tables_of_other_workloads_say_which_in_their_titles(summaries: list[dict[str, Any]]) -> None:
    kinds = [{"kind": "routing", "parameters": {}}, {"kind": "diffusion", "parameters": {"dataset": "bundled"}}]
    titles = [group.title for group in groups([summaries[0], *(summaries[0] | {"workload": w} for w in kinds)])]
    assert titles == [f"Measured · basis gpu · {told}" for told in ("bundled", "diffusion: bundled", "routing")]
    out = printed([summaries[0], summaries[0] | {"workload": kinds[0]}], 100)
    assert "\n\nMeasured · basis gpu · routing" in out


def test_markdown_holds_every_value_with_its_interval(summaries: list[dict[str, Any]]) -> None:
    lines = markdown(summaries[:2]).splitlines()
    assert lines[0] == "**Measured · basis gpu · bundled**"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "| 1. best | 100.0 [94.0, 100.0] |" in "\n".join(lines)


@pytest.mark.parametrize("name", ["a|b", "<script>x</script>", "[bold red]x[/]", "\x1b[2Jgone", "x\ny", "\u202ee"])
def test_a_hostile_model_name_breaks_no_table(summaries: list[dict[str, Any]], name: str) -> None:
    hostile = [summaries[0] | {"model": {"name": name}}, summaries[1]]
    text, marked = printed(hostile, 100), markdown(hostile)
    assert "\x1b" not in text + marked
    assert "\u202e" not in text + marked
    assert len({line.replace("\\|", "").count("|") for line in marked.splitlines() if line.startswith("|")}) == 1
    assert "<script>" not in marked
    if name.startswith("[bold"):
        assert "[bold red]x[/]" in text


def test_a_name_in_markdown_is_read_as_it_is(summaries: list[dict[str, Any]]) -> None:
    named = [summaries[0] | {"label": "<b> & $x$ #1"}, summaries[1]]
    assert "&#60;b&#62; &#38; \\$x\\$ \\#1" in markdown(named)


def test_the_headline_names_a_clear_winner(summaries: list[dict[str, Any]]) -> None:
    assert headline(groups(summaries[:2])) == "best gets 2.0 times as many answers right per joule as half"


def test_the_headline_names_no_winner_where_the_intervals_touch(tmp_path: Path) -> None:
    close = [summarize(make_run(tmp_path, f"run-{i}", scores=[1.0] * i + [0.0] * (60 - i))) for i in (40, 42)]
    assert headline(groups(close)) == "42 and 40 cannot be told apart in right answers per joule"


def test_the_headline_calls_an_estimate_one(summaries: list[dict[str, Any]]) -> None:
    assert headline(groups(summaries[3:])) == "guess-a answers 100.0 % right, for an estimated 10.0 J a question"
    assert headline(groups([])) == "Nothing was measured"


def test_the_headline_of_runs_without_a_winner_says_what_is_compared(summaries: list[dict[str, Any]]) -> None:
    guesses = [summaries[3] | {"model": {"name": f"m{i}"}} for i in range(6)]
    told = "100.0 % right, for an estimated 10 J a question"
    assert headline(groups(guesses[:3])) == f"m0, m1 and m2: {told}"
    assert headline(groups([guesses[0]] * 9)) == f"9 runs of m0: {told}"
    assert headline(groups(guesses)) == f"6 runs of 6 models: {told}"
    assert headline(groups([*summaries[:1], *guesses[:2]])) == "half, m0 and m1: 50.0 to 100.0 % right"
    mixed = [*guesses, *(each | {"workload": {"kind": "train"}} for each in guesses[:2])]
    assert headline(groups(mixed)) == "8 runs (6 of lm, 2 of train) side by side"


def test_the_headline_compares_no_accuracy_over_other_questions(summaries: list[dict[str, Any]]) -> None:
    other = {"kind": "lm", "parameters": {"dataset": "hf:other"}}
    three = [summaries[3], summaries[3] | {"workload": other}, summaries[3] | {"model": {"name": "m" * 300}}]
    told = headline(groups(three))
    assert told.endswith(" side by side")
    assert len(told) < 120


def test_summaries_of_strange_shape_are_told_apart_without_a_crash() -> None:
    strange: list[dict[str, Any]] = [{}, {"metrics": [], "model": 3, "workload": "x", "valid": True, "devices": 7}]
    assert printed(strange)
    assert markdown(strange)
