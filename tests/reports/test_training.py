from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from ipw.metrics.definitions import definitions_of
from ipw.reports.charts.plot import AxisPlan, Bar, Bars
from ipw.reports.charts.svg import bars_svg
from ipw.reports.page.training import training_part
from ipw.reports.ranking import groups
from ipw.reports.tables import written
from ipw.reports.tables.by_method import by_method
from ipw.reports.tables.latex import as_latex
from ipw.reports.tables.runs import columns, markdown, terminal
from ipw.runs.directory import RunDir

JOULES = {"energy_per_step_j": 2.0, "forward_energy_per_step_j": 0.8, "backward_energy_per_step_j": 1.0,
          "update_energy_per_step_j": 0.2, "energy_to_target_loss_j": 40.0}  # fmt: skip


def metric(value: float | None, unit: str, reason: str | None = None) -> dict[str, Any]:
    spread = {"low": None, "high": None} if value is None else {"low": 0.9 * value, "high": 1.1 * value}
    return {"value": value, "unit": unit, "n": 10, "method": "counter", "interval": None, "reason": reason, **spread}


def entry(scale: float, status: str = "complete", reason: str | None = None) -> dict[str, Any]:
    metrics = {name: metric(value * scale, "J") for name, value in JOULES.items()}
    metrics |= {"step_time_s": metric(0.1 * scale, "s"), "tokens_per_s": metric(1000 / scale, "1/s")}
    metrics |= {"training_memory_bytes": metric(25e6 * scale, "B"), "final_loss": metric(2.5, "loss")}
    return {"status": status, "reason": reason, "target_loss": 3.0, "budget_j": 50.0, "metrics": metrics}


@pytest.fixture
def summary() -> dict[str, Any]:
    broken = {"status": "out_of_memory", "reason": "<b>no memory</b>", "metrics": {}}
    return {
        "run_id": "a",
        "method": "counter",
        "basis": "gpu",
        "valid": True,
        "status": "complete",
        "model": {"name": "text"},
        "workload": {"kind": "train", "parameters": {"method": ["backprop", "zeroth-order", "<i>own</i>"]}},
        "metrics": {"energy_j": metric(500.0, "J"), "duration_s": metric(60.0, "s")},
        "by_method": {"backprop": entry(1), "zeroth-order": entry(3), "<i>own</i>": broken},
    }


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path)
    rows = [
        {"method": name, "step": k, "loss": 5 - 0.1 * k if k < 19 else None, "energy_j": 2.0}
        for name in ("backprop", "zeroth-order")
        for k in range(20)
    ]
    run.write_table("steps", pa.Table.from_pylist(rows))
    return run


def test_the_section_says_first_what_each_method_takes_to_one_loss(run: RunDir, summary: dict[str, Any]) -> None:
    page = training_part(run, summary, {}, "r0")
    assert "Energy down to a training loss of 3: backprop 40.0 J" in page
    assert "zeroth-order 3.0 times as much" in page


def test_every_part_of_the_section_is_there_and_ids_are_unique(run: RunDir, summary: dict[str, Any]) -> None:
    page = training_part(run, summary, {}, "r0")
    titles = ["Loss against energy", "Loss against steps", "Where the energy of a step goes"]
    assert re.findall("<h4>(.*?)</h4>", page) == titles
    keys = re.findall(r'id="(.*?)"', page)
    assert len(keys) == len(set(keys))


def test_a_method_that_failed_stands_in_the_table_with_its_reason(run: RunDir, summary: dict[str, Any]) -> None:
    page = training_part(run, summary, {}, "r0")
    assert "out of memory" in page
    assert "&lt;b&gt;no memory" in page
    assert "<i>own" not in page
    assert "<b>no memory" not in page


def test_what_takes_memory_clipped_slopes_and_a_replay_are_told(run: RunDir, summary: dict[str, Any]) -> None:
    metrics = summary["by_method"]["zeroth-order"]["metrics"]
    metrics |= {"clipped_slopes": metric(7, "slopes"), "replay_energy_j": metric(12.5, "J")}
    metrics |= {f"{part}_memory_bytes": metric(3e6, "B") for part in ("tensors", "weights", "activations")}
    page = str(training_part(run, summary, {}, "r0"))
    assert "zeroth-order: 7 slopes were beyond what a byte can hold" in page
    assert "who joined late replayed the steps before with 12.5" in page
    table = page[page.index("What takes memory in a step") :]
    assert table.index("Activations, MB") < table.index("3.00")


def test_steps_in_time_with_a_sensor_are_told(run: RunDir, summary: dict[str, Any]) -> None:
    found = {"method": "backprop", "channel": "nvml/gpu0", "period_s": 0.1, "concentration": 0.9, "in_time": True}
    assert "backprop: steps keep time with nvml/gpu0" in training_part(run, summary, {"resonance": [found]}, "r0")
    quiet = {**found, "in_time": False}
    assert "keep time" not in training_part(run, summary, {"resonance": [quiet]}, "r0")


def test_estimates_are_called_estimates(run: RunDir, summary: dict[str, Any]) -> None:
    assert "estimated" not in training_part(run, summary, {}, "r0")
    assert "estimated" in training_part(run, summary | {"method": "model_estimate"}, {}, "r0")


def test_without_joules_there_are_times_and_losses_alone(run: RunDir, summary: dict[str, Any]) -> None:
    for one in summary["by_method"].values():
        for name in JOULES:
            one["metrics"][name] = metric(None, "J", "no sensor could be read")
    rows = run.read_table("steps").to_pylist()  # type: ignore[union-attr]
    run.write_table("steps", pa.Table.from_pylist([row | {"energy_j": float("nan")} for row in rows]))
    page = training_part(run, summary, {}, "r0")
    assert re.findall("<h4>(.*?)</h4>", page) == ["Loss against steps"]
    assert "no sensor could be read" in page


def test_a_run_of_no_step_shows_why(tmp_path: Path) -> None:
    failed = {"by_method": {"local": {"status": "unfit", "reason": "it does not fit", "metrics": {}}}}
    page = training_part(RunDir(tmp_path), failed, {}, "r0")
    assert "it does not fit" in page
    assert "<svg" not in page


def test_the_terminal_has_one_line_a_method_within_80_columns(summary: dict[str, Any]) -> None:
    console = Console(file=io.StringIO(), width=80)
    terminal([summary], console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"backprop\s+2\.00\s+100\s+1000\s+25\.0\s+2\.50\s+40\.0", printed)
    assert "out of memory" in printed
    assert "text <i>own</i>: <b>no memory</b>" in printed, "told as it is: nothing here reads markup"
    assert "The whole run, with what is in no step: 500 J [450, 550] in 60" in printed
    assert "down to a training loss of 3." in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_every_written_table_has_a_row_a_method_with_joules_and_losses(summary: dict[str, Any]) -> None:
    rows = {row["run"]: row for row in written.records([summary])}
    assert rows["text zeroth-order"]["energy_per_step_j"] == 6.0
    assert rows["text backprop"]["final_loss"] == 2.5
    assert rows["text <i>own</i>"]["status"] == "out of memory"
    for table in (markdown([summary]), as_latex([summary])):
        assert re.search(r"text backprop\D+2\.00", table)
        assert "Held-out" in table


def test_a_run_of_one_method_is_one_row_with_the_same_columns(summary: dict[str, Any]) -> None:
    alone = entry(1)
    summary |= {"by_method": {"backprop": alone}, "metrics": summary["metrics"] | alone["metrics"]}
    (row,) = written.records([summary])
    assert (row["energy_per_step_j"], row["energy_j"]) == (2.0, 500.0)


def test_every_figure_that_is_shown_is_defined(summary: dict[str, Any]) -> None:
    (group,) = groups(by_method([summary]))
    assert {column.name for column in columns(group)} <= set(definitions_of("train"))


def test_the_parts_of_a_bar_are_as_long_as_their_values() -> None:
    bars = [Bar("one", [1.0, 2.0, 0.0]), Bar("two", [1.0, 1.0, 1.0])]
    parts = (("a", "red"), ("b", "green"), ("c", "blue"))
    drawn = bars_svg(Bars("T", AxisPlan("J", 0, 3), bars, "told", parts), "k")
    widths = [float(x) for x in re.findall(r'width="([\d.]+)" height="16"', drawn)]
    assert len(widths) == 5, "nothing takes no place"
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.02)
