"""`ipw compare` and `ipw trend`: what they print, what they draw, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner, Result
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.metrics.summary import summarize


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


def refusal(result: Result) -> str:
    assert isinstance(result.exception, UsageError)
    return result.exception.message


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty runs, 20 % hungrier from the eleventh on, the fourth not valid, and a last one that is hungrier still."""
    folder, rng = tmp_path_factory.mktemp("history"), np.random.default_rng(1)
    levels = [20.0] * 10 + [24.0] * 10 + [30.0]
    runs = []
    for i, level_w in enumerate(levels):
        started = {"started": f"2026-01-{i + 1:02d}T00:00:00Z"}
        power_w = level_w * (1 + 0.01 * rng.normal())
        run = make_run(folder, f"run-{i:02d}", readings=False, scores=[1.0, 0.0] * 5, power_w=power_w, manifest=started)
        run.write_summary(summarize(run) | {"valid": i != 3})
        runs.append(run.path)
    return runs


def test_a_comparison_is_one_json_document(history: list[Path]) -> None:
    result = ipw("compare", history[0], history[12], "--json")
    assert result.exception is None
    found: dict[str, Any] = json.loads(result.stdout)
    energy = next(row for row in found["rows"] if row["metric"] == "energy_per_query_j")
    assert energy["change"] == pytest.approx(0.2, abs=0.05)
    assert found["notes"]


def test_people_see_a_table_and_what_to_mind(history: list[Path]) -> None:
    result = ipw("compare", history[0], history[12])
    assert result.return_value == 0
    assert "Energy per query" in result.stdout
    assert "not seen" in result.stdout
    assert result.stderr == ""


def test_a_missing_run_and_a_missing_calibration_are_refused(history: list[Path], tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.json"
    assert "not a run directory" in refusal(ipw("compare", tmp_path, history[0]))
    assert "no calibration" in refusal(ipw("compare", history[0], history[1], "--calibration", nothing))


def test_a_trend_tells_the_step_and_what_the_last_run_is(history: list[Path], tmp_path: Path) -> None:
    chart = tmp_path / "trend.svg"
    result = ipw("trend", *reversed(history), "--json", "--chart", chart)
    assert result.exception is None
    found = json.loads(result.stdout)
    assert [each["run_id"] for each in found["steps"]] == ["run-10"]
    assert found["steps"][0]["change"] == pytest.approx(0.2, abs=0.02)
    assert found["last_is"] == "higher"
    assert [(each["run_id"], each["reason"]) for each in found["left_out"]] == [
        ("run-03", "the measurement is not valid")
    ]
    root = ET.parse(chart).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "20 runs" in (root[1].text or "")


def test_people_see_the_runs_and_the_judgement(history: list[Path]) -> None:
    result = ipw("trend", *history[:9])
    assert result.return_value == 0
    assert "the last run is as expected" in result.stdout
    assert "left out: run-03" in result.stdout


def test_estimates_are_told_as_such_and_their_change_is_as_wide_as_both_may_be_off(tmp_path: Path) -> None:
    runs = []
    for index, power_w in enumerate((20.0, 18.0)):
        run = make_run(tmp_path, f"run-{index}", readings=False, power_w=power_w, method="model_estimate")
        run.write_summary(summarize(run) | {"valid": True})
        runs.append(run.path)
    found = json.loads(ipw("compare", *runs, "--json").stdout)
    energy, latency = (
        next(r for r in found["rows"] if r["metric"] == m) for m in ("energy_per_query_j", "latency_mean_s")
    )
    assert (found["estimated"], energy["estimated"], latency["estimated"]) == (True, True, False)
    assert energy["change"] == pytest.approx(-0.1)
    assert energy["low"] < -0.45
    assert energy["high"] > 0.55
    shown = ipw("compare", *runs).stdout
    assert "Energy per query (estimated)" in shown
    assert "-10 % [" in shown
    assert "estimated from load" in shown
    chart = tmp_path / "trend.svg"
    assert "estimated" in ipw("trend", *runs, "--chart", chart).stdout
    assert "estimated" in chart.read_text()
    assert json.loads(ipw("trend", *runs, "--json").stdout)["estimated"] is True


def test_runs_are_compared_under_the_names_that_are_given(history: list[Path]) -> None:
    shown = ipw("compare", f"ours={history[0]}", f"theirs={history[12]}").stdout
    assert "ours" in shown.splitlines()[2]
    assert "theirs" in shown.splitlines()[2]
    assert "not of the form NAME=RUN" in refusal(ipw("compare", f"={history[0]}", history[1]))


def test_an_unknown_metric_is_refused(history: list[Path]) -> None:
    assert "there is no metric 'happiness'" in refusal(ipw("trend", *history[:3], "--metric", "happiness"))


def test_one_run_is_no_trend_and_bases_do_not_mix(history: list[Path], tmp_path: Path) -> None:
    assert "needs two runs" in refusal(ipw("trend", history[0]))
    other = make_run(tmp_path, "run-other", readings=False, manifest={"basis": "package"})
    assert "different bases: gpu, package" in refusal(ipw("trend", history[0], other.path))
