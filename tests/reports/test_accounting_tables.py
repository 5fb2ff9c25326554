"""What became of the questions, in every table: no number of a run that lacks answers stands there without a mark."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from reports.made_runs import make_run
from rich.console import Console

from ipw.gate.compare import compare
from ipw.metrics.summary import summarize
from ipw.reports.charts.axes import SERIES
from ipw.reports.charts.plot import Value
from ipw.reports.facts import NO_FACTS
from ipw.reports.page.headline import headline
from ipw.reports.page.page import page
from ipw.reports.page.series import series
from ipw.reports.plots.accuracy import Spot, pareto_front
from ipw.reports.ranking import groups
from ipw.reports.tables import runs as tables
from ipw.reports.tables import written
from ipw.reports.tables.asked_for import asked_for
from ipw.reports.tables.latex import as_latex
from ipw.reports.text import shortened
from ipw.reports.view import load_views
from ipw.runs.directory import RunDir


@pytest.fixture
def summaries(tmp_path: Path) -> list[dict[str, Any]]:
    """One run that is sound, one of which half failed, one of which a few did, and one that was interrupted."""
    sound = make_run(tmp_path, "run-sound", scores=[1.0, 0.0] * 60)
    half = make_run(tmp_path, "run-half", scores=[1.0, None] * 60)
    few = make_run(tmp_path, "run-few", scores=[1.0, 0.0] * 58 + [None] * 4)
    stopped = make_run(tmp_path, "run-stopped", status="interrupted", scores=[1.0, 0.0] * 20)
    for run in (sound, half, few, stopped):
        run.update_manifest(dataset={"scorer": "exact", "questions": 120})
    return [summarize(run) for run in (sound, half, few, stopped)]


MARKS = {
    "sound": [],
    "half": ["50 % failed", "not valid"],
    "few": ["3.3 % failed"],
    "stopped": ["interrupted after 40 of 120"],
}


def test_every_table_marks_the_runs_that_lack_answers_and_tells_of_all(summaries: list[dict[str, Any]]) -> None:
    out = io.StringIO()
    tables.terminal(summaries, Console(file=out, width=120, force_terminal=False))
    texts = [out.getvalue(), tables.markdown(summaries), as_latex(summaries)]
    for text in texts:
        plain = text.replace(r"$\cdot$", "·").replace("~", " ").replace("\\", "")
        for mark in (mark for each in MARKS.values() for mark in each):
            assert plain.count(mark) == 1, (mark, text)
        assert "half: 120 asked · 60 answered · 60 failed (the server hung up)" in " ".join(plain.split())
        assert "stopped: 40 of 120 asked" in " ".join(plain.split())


def test_a_run_that_is_not_valid_has_no_rank_and_is_on_no_front(summaries: list[dict[str, Any]]) -> None:
    ranks = {row.name: row.rank for group in groups(summaries) for row in group.rows}
    assert ranks["half"] is None
    assert ranks["few"] is not None
    one = Value(1.0, 1.0, 1.0)
    spot = Spot("half", one, one, SERIES[0], estimated=False, valid=False)
    assert pareto_front([spot, spot._replace(valid=True)]) == [spot._replace(valid=True)]


def test_records_for_other_programs_hold_every_count(summaries: list[dict[str, Any]]) -> None:
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(written.as_csv(summaries)))}
    half = rows["half"]
    assert (half["questions_asked"], half["questions_answered"], half["questions_failed"]) == ("120", "60", "60")
    assert half["questions_failed_because"] == "the server hung up"
    assert half["valid"] == "False"
    assert (rows["stopped"]["status"], rows["stopped"]["questions_planned"]) == ("interrupted", "120")
    assert {row["run"]: row["questions_failed"] for row in json.loads(written.as_json(summaries))}["few"] == 4


def test_the_headline_says_it_before_any_number(summaries: list[dict[str, Any]]) -> None:
    sound, half, few, stopped = summaries
    assert headline(groups([sound])).startswith("sound answers 50.0 % right")
    assert headline(groups([half])).startswith("60 of 120 questions failed: the server hung up; half answers")
    assert headline(groups([stopped])).startswith("interrupted after 40 of 120; stopped answers")
    assert headline(groups([sound, few])).startswith("few: 4 of 120 questions failed: the server hung up; ")
    assert headline(groups([sound, half, few, stopped])).startswith("3 of 4 runs lack answers; ")


def test_a_page_marks_the_run_wherever_it_names_it(summaries: list[dict[str, Any]], tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / f"run-{name}") for name in MARKS]
    for run, summary in zip(runs, summaries, strict=True):
        run.write_summary(summary)
    views = load_views(runs)
    assert [view.name for view in views] == [
        "sound", "half (not valid)", "few (3.3 % failed)", "stopped (interrupted)",
    ]  # fmt: skip
    page_text = page(views, NO_FACTS)
    assert "half: 120 asked · 60 answered · 60 failed (the server hung up)" in page_text
    assert page_text.count("half (not valid)") > 3


def test_a_mark_is_never_cut_off_behind_a_long_name() -> None:
    assert shortened("a" * 60 + " (not valid)", 28) == "a" * 7 + "…" + "a" * 8 + " (not valid)"
    assert shortened("a" * 60, 28) == "a" * 13 + "…" + "a" * 14
    long = "a-model-of-some-laboratory-14B-instruct"
    assert len({shortened(f"{long} q4 \N{MULTIPLICATION SIGN}{n}", 28) for n in (1, 2, 16)}) == 3, (
        "what tells apart stands at the end"
    )
    assert shortened("short (not valid)", 28) == "short (not valid)"


def test_a_comparison_says_which_side_cannot_be_believed(summaries: list[dict[str, Any]], tmp_path: Path) -> None:
    del summaries  # written where they are read
    found = compare(RunDir(tmp_path / "run-sound"), RunDir(tmp_path / "run-half"))
    assert found["candidate"]["marks"] == MARKS["half"]
    assert any(note.startswith("candidate: not valid: questions: 60 of 120") for note in found["notes"])
    assert not any(note.startswith("base:") for note in found["notes"])


def test_a_sweep_marks_the_level_and_leaves_it_out_of_means(tmp_path: Path) -> None:
    runs: list[RunDir] = []
    for level, bad in ((1, False), (1, False), (4, True), (4, False), (4, False)):
        workload = {
            "kind": "lm",
            "parameters": {"dataset": "bundled", "concurrency": level},
            "series": {"id": "one", "levels": [1, 4], "repeat": 3},
        }
        scores = [1.0, None] * 30 if bad else [1.0, 0.0] * 30
        run = make_run(tmp_path, f"run-{len(runs)}", scores=scores, manifest={"workload": workload})
        run.write_summary(summarize(run))
        runs.append(run)
    views = load_views(runs)
    text = str(series(views, groups([view.summary for view in views])))
    assert "\N{MULTIPLICATION SIGN}4 (not valid)" in text
    assert '<th scope="row">4<small class="bad">not valid</small></th>' in text
    assert "1 not valid run is left out." in text
    means = re.findall(r'<td[^>]*>4</td><th scope="row">Accuracy</th>.*?<td[^>]*>(\d)</td></tr>', text)
    assert means == ["2"]


def test_what_was_asked_for_stands_below_the_table(tmp_path: Path) -> None:
    workload = {"kind": "lm", "parameters": {"logprobs": True}, "slo": {"e2e": 0.4}}
    columns: dict[str, list[Any]] = {"logprob_sum": [-1.0] * 10, "logprob_tokens": [2] * 10}
    run = make_run(tmp_path, scores=[1.0] * 10, manifest={"workload": workload}, columns=columns)
    told = list(asked_for(summarize(run)))
    assert told[0] == "Perplexity of the answers: 1.649 [1.649, 1.649]"
    assert [line.partition(":")[0] for line in told[1:]] == [
        "Perplexity per watt (PPW)", "Perplexity per joule (PPJ)", "Goodput",
    ]  # fmt: skip
    silent = summarize(make_run(tmp_path, "run-b", manifest={"workload": workload}))
    assert next(asked_for(silent)) == "Perplexity of the answers: \N{EN DASH} (the server sent no log-probabilities)"
    assert list(asked_for(summarize(make_run(tmp_path, "run-c")))) == []
