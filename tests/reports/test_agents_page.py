"""The page of a run of agents: tables by turn and tool, tasks over time, and figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from workloads.agents.test_joules import one_agent, write

from ipw.api.run import Run
from ipw.pipeline import finish
from ipw.reports.figures.written import figures_of
from ipw.reports.page.page import write_page
from ipw.reports.view import load_views
from ipw.runs.agent_tables import TASKS
from ipw.runs.directory import PAGE, RunDir
from ipw.workloads.agents.task_scores import write_task_scores


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    made = write(tmp_path_factory.mktemp("page"), one_agent(), [(0, 100.0, 12, 14), (1, 50.0, 14, 20)])
    write_task_scores(made, {"task-1": 1.0})
    finish(made)
    return made


def section(page: str) -> str:
    found = re.search(r'<section aria-labelledby="agents">.*?</section>', page, re.DOTALL)
    assert found is not None
    return found[0]


def test_the_page_tells_turns_tools_and_tasks(run: RunDir) -> None:
    shown = section((run.path / PAGE).read_text())
    tools, tasks = run.read_table("tools"), run.read_table("tasks")
    assert tools is not None
    assert tasks is not None
    for name in ("By turn", "By tool", "Some tasks over time", *set(tools["tool"].to_pylist())):
        assert name in shown
    assert set(tasks.column_names) == set(TASKS)
    for name in tasks["task"].to_pylist():
        assert f"<bdi>{name}</bdi>" in shown


def test_a_task_over_time_has_a_bar_for_each_turn_and_each_tool(run: RunDir) -> None:
    shown = section((run.path / PAGE).read_text())
    wide = re.search(r'<svg[^>]*aria-labelledby="r0-tasks-title.*?</svg>', shown, re.DOTALL)
    assert wide is not None
    queries, tools = run.read_table("queries"), run.read_table("tools")
    assert queries is not None
    assert tools is not None
    titles = re.findall(r"<g><title>(.*?)</title><rect", wide[0])
    ran = sum(start is not None for start in tools["start_ns"].to_pylist())
    assert len(titles) == 2 * queries.num_rows + ran
    assert "<polyline" in wide[0]


def test_figures_show_the_energy_of_tasks_and_turns(run: RunDir) -> None:
    shown = dict(figures_of(load_views([run])))
    tasks = run.read_table("tasks")
    assert tasks is not None
    bars = shown["task-energy"]
    joules = sorted(tasks["energy_j"].to_pylist(), reverse=True)
    unit = 1000 if "mJ" in bars.x.title else 1 / 1000 if "kJ" in bars.x.title else 1
    assert [sum(bar.parts) for bar in bars.bars] == pytest.approx([unit * value for value in joules])  # type: ignore[union-attr]
    assert "energy-turn" in shown


def test_tasks_and_tools_are_data_frames(run: RunDir) -> None:
    pytest.importorskip("pandas", reason="data frames need it")
    found = Run(run.path)
    assert list(found.tasks.columns) == list(TASKS)
    assert found.tools["energy_j"].sum() == pytest.approx(found.tasks["tool_energy_j"].sum())


def test_names_that_a_program_gives_are_text_on_the_page(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    records = one_agent()
    for record in records:
        record["agent"]["task"] = bad
        for call in (record["agent"].get("said") or [0] * 6)[3] or []:
            call[1] = bad
    run = write(tmp_path, records, [(0, 100.0, 12, 14)])
    finish(run)
    assert "<script>alert" not in section((run.path / PAGE).read_text())


def test_a_damaged_table_costs_the_section_alone(tmp_path: Path) -> None:
    run = write(tmp_path, one_agent(), [(0, 100.0, 12, 14)])
    finish(run)
    (run.path / "tools.parquet").write_bytes(b"no table")
    write_page([run], tmp_path / "page.html")
    assert "By turn" in (tmp_path / "page.html").read_text()
