"""Runs in the formats of other programs: the same numbers, in their units, under their names."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.interchange.exports import StoredRun, as_codecarbon, as_ml_energy, as_prometheus, escaped, prometheus_name
from ipw.interchange.from_codecarbon import read_codecarbon
from ipw.metrics.summary import summarize
from ipw.printable import clean
from ipw.reports.facts import Facts

SAMPLE = re.compile(r'([a-z_][a-z0-9_]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*)\} (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')


def exported(folder: Path, name: str = "run-a", **how: object) -> StoredRun:
    run = make_run(folder, name, **how)  # type: ignore[arg-type]
    return StoredRun(run.manifest(), summarize(run))


def row_of(text: str) -> dict[str, str]:
    return next(csv.DictReader(io.StringIO(text)))


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Read an exposition as a scraper does; every line is a comment or a sample."""
    found = []
    for line in text.split("\n"):
        if line and not line.startswith("# "):
            matched = SAMPLE.fullmatch(line)
            assert matched, line
            found.append((matched[1], dict(LABEL.findall(matched[2])), float(matched[3])))
    return found


# --- codecarbon -----------------------------------------------------------------------------------------------------


def test_joules_become_kilowatt_hours_in_the_column_of_their_device(tmp_path: Path) -> None:
    run = exported(tmp_path)
    row = row_of(as_codecarbon([run]))
    kwh = (run.value("energy_j") or 0) / 3.6e6
    assert float(row["energy_consumed"]) == pytest.approx(kwh)
    assert float(row["gpu_energy"]) == pytest.approx(kwh)
    assert (row["cpu_energy"], row["ram_energy"]) == ("", "")
    assert float(row["gpu_power"]) == pytest.approx(20.0)


def test_emissions_are_empty_unless_the_grid_is_known(tmp_path: Path) -> None:
    run = exported(tmp_path)
    assert row_of(as_codecarbon([run]))["emissions"] == ""
    row = row_of(as_codecarbon([run], Facts(grid_g_co2e_per_kwh=500.0)))
    assert float(row["emissions"]) == pytest.approx((run.value("energy_j") or 0) / 3.6e6 * 0.5), "kilograms"


def test_an_estimate_says_so_in_its_name(tmp_path: Path) -> None:
    run = exported(tmp_path, method="model_estimate", manifest={"basis": "estimate"})
    assert row_of(as_codecarbon([run]))["project_name"].endswith("(estimated)")


def test_a_name_is_no_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    run = exported(tmp_path, manifest={"model": {"name": "=cmd|x"}})
    assert row_of(as_codecarbon([run]))["project_name"].startswith("'=")


def test_an_exported_row_is_imported_with_the_same_joules(tmp_path: Path) -> None:
    run = exported(tmp_path)
    (back,) = read_codecarbon(as_codecarbon([run]), "export") or []
    for name in ("energy_j", "duration_s", "mean_power_w"):
        assert back.metrics[name]["value"] == pytest.approx(run.value(name))
    assert back.host["memory_bytes"] == 16 << 30


# --- ML.ENERGY ------------------------------------------------------------------------------------------------------


def test_runs_of_one_data_set_are_configurations_of_one_task(tmp_path: Path) -> None:
    first, second = exported(tmp_path, "run-a"), exported(tmp_path, "run-b", power_w=10.0)
    command = exported(tmp_path, "run-c", manifest={"workload": {"kind": "command", "parameters": {}}})
    (task,) = json.loads(as_ml_energy([first, second, command]))
    assert task["task"] == "bundled"
    assert [c["energy_per_request_joules"] for c in task["configurations"]] == [10.0, 5.0]
    a = task["configurations"][0]
    assert a["energy_per_token_joules"] == pytest.approx(2.0), "of output"
    assert (a["avg_power_watts"], a["num_gpus"], a["max_num_seqs"]) == (20.0, 1, 1)
    assert a["total_params_billions"] == pytest.approx(0.0019)
    assert (a["median_itl_ms"], a["energy_estimated"]) == (None, False)


# --- Prometheus -----------------------------------------------------------------------------------------------------


def test_each_number_is_a_sample_with_what_it_is_of(tmp_path: Path) -> None:
    run = exported(tmp_path)
    found = {name: (labels, value) for name, labels, value in samples(as_prometheus([run]))}
    labels, value = found["ipw_energy_joules"]
    assert value == run.value("energy_j")
    assert (labels["run"], labels["basis"], labels["method"], labels["estimated"]) == (
        "run-a",
        "gpu",
        "counter",
        "false",
    )
    assert found["ipw_energy_joules_low"][1] < value < found["ipw_energy_joules_high"][1]


def test_every_family_has_one_help_and_one_type_before_its_samples(tmp_path: Path) -> None:
    text = as_prometheus([exported(tmp_path, name) for name in ("run-a", "run-b")])
    seen: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["#", "HELP"]:
            seen.append(words[2])
        elif words[:2] == ["#", "TYPE"]:
            assert words[2:] == [seen[-1], "gauge"]
        else:
            assert line.startswith(seen[-1] + "{")
    assert len(set(seen)) == len(seen)
    assert text.endswith("\n")


def test_what_is_absent_is_left_out(tmp_path: Path) -> None:
    text = as_prometheus([exported(tmp_path, scores=(None,) * 4)])
    assert "ipw_ttft_p50_seconds" not in text
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_no_series_comes_twice(tmp_path: Path) -> None:
    run = exported(tmp_path)
    found = [(name, tuple(labels.items())) for name, labels, _ in samples(as_prometheus([run, run]))]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("energy_j", "ipw_energy_joules"),
        ("output_tokens_per_s", "ipw_output_tokens_per_second"),
        ("latency_p50_s", "ipw_latency_p50_seconds"),
        ("accuracy_per_watt", "ipw_accuracy_per_watt"),
    ],
)
def test_units_are_written_out(name: str, written: str) -> None:
    assert prometheus_name(name) == written


@given(st.text())
def test_any_label_is_one_line_and_comes_back_as_what_is_printable_of_it(text: str) -> None:
    line = f'x{{run="{escaped(text)}"}} 1'
    assert len(line.splitlines()) == 1
    ((_, labels, _),) = samples(line)
    assert re.sub(r"\\(.)", r"\1", labels["run"]) == clean(text, 1000)


# --- the verb -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["codecarbon", "ml-energy", "prometheus", "model-card", "otlp"])
def test_the_verb_writes_the_same_into_a_file_as_on_stdout(tmp_path: Path, format_: str) -> None:
    run = make_run(tmp_path, manifest={"model": {"name": "hostile \ud800 name"}})
    run.write_summary(summarize(run))
    arguments = ["export", str(run.path), "--format", format_]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "file")], standalone_mode=False)
    assert (tmp_path / "file").read_bytes() == result.stdout_bytes
    assert result.stdout_bytes


def test_a_run_of_which_half_failed_is_marked_in_every_format(tmp_path: Path) -> None:
    half = exported(tmp_path, "run-half", scores=[1.0, None] * 10)
    ((configuration,),) = (task["configurations"] for task in json.loads(as_ml_energy([half])))
    assert (configuration["nickname"], configuration["measurement_valid"]) == ("half (not valid)", False)
    assert row_of(as_codecarbon([half]))["project_name"] == "half (not valid)"
    assert 'valid="false"' in as_prometheus([half])
