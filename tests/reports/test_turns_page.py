"""The page of a run that asked conversations: a table by turn."""

from __future__ import annotations

import re
from pathlib import Path

from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.page.turns import turns
from ipw.reports.view import load_views
from ipw.runs.directory import RunDir


def with_turns(run: RunDir, names: list[str]) -> RunDir:
    summary = run.summary() or summarize(run)
    assert summary is not None
    metrics = {name: dict(entry) for name, entry in summary["metrics"].items()}
    run.write_summary({**summary, "by_turn": dict.fromkeys(names, metrics)})
    return run


def test_turns_stand_in_their_order_with_units_where_there_are_any(tmp_path: Path) -> None:
    run = with_turns(make_run(tmp_path), ["10", "2", "1"])
    shown = turns(load_views([run]), [])
    assert shown is not None
    assert re.findall(r'<tr><th scope="row">(.*?)</th>', shown) == ["1", "2", "10"]
    assert "Queries</th>" in re.sub(r"<th[^>]*>", "<th>", shown)
    assert re.search(r"Accuracy<small>%</small>", shown)


def test_a_run_without_conversations_has_no_such_section(tmp_path: Path) -> None:
    assert turns(load_views([make_run(tmp_path)]), []) is None
