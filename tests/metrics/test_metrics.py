"""Summaries: the definitions of the design, absent numbers with their reason, nothing made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.made_runs import IDLE_W, START_NS, make_run, write_journal

from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.metric import BELOW_RESOLUTION, EnergyFacts
from ipw.metrics.ratios import SharedError, query_metrics, shared_error
from ipw.metrics.summary import summarize
from ipw.runs.queries import from_records

SECOND = 1_000_000_000
COUNTER = EnergyFacts("counter", "", 0.05)


def metrics_of(folder: Path, **options: Any) -> dict[str, dict[str, Any]]:
    return dict(summarize(make_run(folder, **options))["metrics"])


def value(metrics: dict[str, dict[str, Any]], name: str) -> float:
    found = metrics[name]["value"]
    assert isinstance(found, float)
    return found


def test_every_metric_of_a_known_run_is_what_its_definition_says(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path)  # 120 queries of 0.5 s at 20 W, three of four right, 10 + 5 tokens each
    expected = {
        "accuracy": 0.75,
        "accuracy_per_watt": 0.75 / 20,
        "accuracy_per_joule": 0.75 / 10,
        "energy_per_query_j": 10.0,
        "energy_per_correct_j": 10 / 0.75,
        "energy_per_output_token_j": 2.0,
        "energy_per_token_j": 10 / 15,
        "prefill_energy_per_token_j": 0.2,
        "decode_energy_per_token_j": 1.6,
        "mean_query_power_w": 20.0,
        "energy_j": 1200.0,
        "net_energy_j": 1200 - IDLE_W * 60,
        "mean_power_w": 20.0,
        "idle_power_w": IDLE_W,
        "duration_s": 60.0,
        "ttft_p50_s": 0.1,
        "latency_p99_s": 0.5,
        "output_tokens_per_s": 10.0,
        "queries_per_s": 2.0,
        "queries": 120,
        "errors": 0,
    }
    assert {name: metrics[name]["value"] for name in expected} == pytest.approx(expected)


def test_each_metric_carries_unit_interval_count_and_method(tmp_path: Path) -> None:
    for name, entry in metrics_of(tmp_path).items():
        assert set(entry) >= {"value", "low", "high", "unit", "n", "method", "interval", "reason"}
        assert entry["unit"] == DEFINITIONS[name].unit
        assert entry["low"] is None or entry["low"] <= entry["value"]
        assert entry["high"] is None or entry["high"] >= entry["value"]


def test_the_summary_is_json_and_the_same_every_time(tmp_path: Path) -> None:
    run = make_run(tmp_path, scores=[1.0, 0.0, None] * 20, latency_s=np.linspace(0.1, 0.9, 60).tolist())
    first, second = (json.dumps(summarize(run), allow_nan=False) for _ in range(2))
    assert first == second


def test_power_is_averaged_over_queries_for_ipw_and_over_time_beside_it(tmp_path: Path) -> None:
    metrics = metrics_of(
        tmp_path, scores=[1.0, 1.0], latency_s=[1.0, 3.0], columns={"power_w": [40.0, 20.0], "energy_j": [40.0, 60.0]}
    )
    assert value(metrics, "mean_query_power_w") == 30
    assert value(metrics, "accuracy_per_watt") == pytest.approx(1 / 30)
    assert value(metrics, "accuracy_per_joule") == pytest.approx(1 / 50)


def test_a_failed_query_scores_0_and_keeps_its_joules_in_the_denominator(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, scores=[1.0, None, 1.0, None])
    assert value(metrics, "accuracy") == 0.5
    assert value(metrics, "energy_per_correct_j") == pytest.approx(20)
    assert value(metrics, "energy_per_output_token_j") == pytest.approx(40 / 10)
    assert metrics["errors"]["value"] == 2
    assert metrics["latency_p50_s"]["n"] == 2


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0.01, 1e4), st.floats(0.1, 100)), min_size=1, max_size=40
    )
)
def test_accuracy_equals_ipw_times_power_and_ipj_times_energy(rows: list[tuple[float, float, float]]) -> None:
    queries = from_records(
        [
            {
                "status": "ok",
                "score": s,
                "energy_j": e,
                "power_w": e / t,
                "energy_low_j": e * 0.99,
                "energy_high_j": e * 1.01,
            }
            for s, e, t in rows
        ]
    )
    found = query_metrics(queries, COUNTER, shared_error(queries, None, None), 0)
    accuracy = found["accuracy"]["value"]
    assert found["accuracy_per_watt"]["value"] * found["mean_query_power_w"]["value"] == pytest.approx(accuracy)
    assert found["accuracy_per_joule"]["value"] * found["energy_per_query_j"]["value"] == pytest.approx(accuracy)


def test_ipj_does_not_depend_on_how_many_queries_were_asked(tmp_path: Path) -> None:
    few, many = (metrics_of(tmp_path / str(n), scores=[1.0, 0.0] * n) for n in (10, 200))
    assert value(few, "accuracy_per_joule") == pytest.approx(value(many, "accuracy_per_joule"))
    assert few["accuracy_per_joule"]["high"] > many["accuracy_per_joule"]["high"]


def test_all_right_is_not_certainly_all_right(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, scores=[1.0] * 10)
    assert metrics["accuracy"]["low"] == pytest.approx(0.722, abs=1e-3)
    assert metrics["accuracy_per_joule"]["low"] < 0.8 * metrics["accuracy_per_joule"]["value"]
    assert metrics["energy_per_correct_j"]["high"] > 1.2 * metrics["energy_per_correct_j"]["value"]


def test_none_right_has_no_energy_per_correct_answer_and_says_why(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, scores=[0.0] * 10)
    assert metrics["energy_per_correct_j"]["value"] is None
    assert metrics["energy_per_correct_j"]["reason"] == "no answer was right"
    assert metrics["accuracy_per_joule"]["value"] == 0
    assert metrics["accuracy_per_joule"]["high"] > 0


def test_below_the_resolution_of_the_sensor_only_a_bound_is_given(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, scores=[1.0] * 10, energy_rel=10, window_rel=10)
    energy, per_joule = metrics["energy_per_query_j"], metrics["accuracy_per_joule"]
    assert (energy["value"], energy["low"], energy["reason"]) == (None, None, BELOW_RESOLUTION)
    assert energy["high"] > 10
    assert (per_joule["value"], per_joule["high"]) == (None, None)
    assert 0 < per_joule["low"] < 0.1
    assert (metrics["energy_j"]["value"], metrics["energy_j"]["reason"]) == (None, BELOW_RESOLUTION)
    assert metrics["accuracy"]["value"] == 1


def test_an_estimate_includes_its_gain_in_every_interval_of_joules_and_a_measurement_keeps_it_apart(
    tmp_path: Path,
) -> None:
    estimate = metrics_of(tmp_path / "a", method="model_estimate")
    measured = metrics_of(tmp_path / "b")
    for name in ("energy_per_query_j", "energy_j", "mean_power_w", "mean_query_power_w", "energy_per_token_j"):
        entry = estimate[name]
        assert entry["method"] == "model_estimate"
        assert entry["low"] == pytest.approx(0.5 * entry["value"], rel=0.08)
        assert entry["high"] == pytest.approx(1.5 * entry["value"], rel=0.08)
        assert measured[name]["high"] < 1.02 * measured[name]["value"]
        assert (entry["gain_rel"], measured[name]["gain_rel"]) == (0.5, 0.05)
    assert estimate["accuracy_per_joule"]["high"] == pytest.approx(2 * 0.075, rel=0.15)
    assert estimate["accuracy"] == measured["accuracy"]


def test_a_run_without_a_sensor_keeps_its_accuracy_and_tells_why_it_has_no_joules(tmp_path: Path) -> None:
    none = dict.fromkeys(
        ("energy_j", "energy_low_j", "energy_high_j", "prefill_energy_j", "decode_energy_j", "power_w"), [None] * 8
    )
    absent: dict[str, Any] = {
        "basis": None,
        "basis_reason": "no driver",
        "method": None,
        "attribution": None,
        "sensors": [],
    }
    run = make_run(tmp_path, scores=[1.0, 0.0] * 4, columns=none, manifest=absent, readings=False)
    summary = summarize(run)
    assert summary["metrics"]["accuracy"]["value"] == 0.5
    assert summary["metrics"]["latency_p50_s"]["value"] == 0.5
    assert not summary["valid"]
    for name in ("energy_j", "mean_power_w", "accuracy_per_watt", "accuracy_per_joule", "energy_per_query_j"):
        assert summary["metrics"][name]["value"] is None
        assert summary["metrics"][name]["reason"] == "no driver"


def test_queries_without_energy_are_left_out_of_numerator_and_denominator_alike(tmp_path: Path) -> None:
    energy = [10.0, None, 10.0, None]
    metrics = metrics_of(tmp_path, scores=[1.0, 0.0, 1.0, 0.0], columns={"energy_j": energy})
    assert value(metrics, "accuracy_per_joule") == pytest.approx(0.1)
    assert metrics["accuracy_per_joule"]["n"] == 2
    assert metrics["accuracy_per_joule"]["reason"].startswith("2 of 4 queries are left out")


def test_without_idle_there_is_no_net_energy(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    attribution = run.manifest()["attribution"] | {"idle_power_w": None}
    run.update_manifest(attribution=attribution)
    metrics = summarize(run)["metrics"]
    assert metrics["energy_j"]["value"] == 1200
    assert metrics["net_energy_j"]["value"] is None
    assert "--idle" in metrics["net_energy_j"]["reason"]


def test_a_run_without_queries_is_told_as_such(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, scores=[])
    assert metrics["accuracy"]["value"] is None
    assert metrics["accuracy"]["reason"] == "no query was finished"
    assert metrics["queries"]["value"] == 0


def test_what_a_crash_left_in_the_journal_is_summarised_too(tmp_path: Path) -> None:
    run = make_run(tmp_path, status="interrupted", manifest={"attribution": None})
    (run.path / "queries.parquet").unlink()
    asked = [
        {
            "kind": "query",
            "status": "ok",
            "score": i % 2,
            "start_ns": START_NS + i * SECOND,
            "end_ns": START_NS + (i + 1) * SECOND,
        }
        for i in range(10)
    ]
    write_journal(run, [*asked, {"kind": "warmup", "status": "ok", "score": 1}])
    summary = summarize(run)
    assert summary["metrics"]["queries"]["value"] == 10
    assert summary["metrics"]["accuracy"]["value"] == 0.5
    assert summary["metrics"]["accuracy_per_joule"]["reason"] == "energy was not attributed"
    assert not summary["valid"]


def test_subjects_have_the_same_metrics_over_their_own_queries(tmp_path: Path) -> None:
    summary = summarize(make_run(tmp_path, scores=[1.0, 0.0, 1.0] * 20))  # subjects come in threes as well
    by_subject = {name: entry["accuracy"]["value"] for name, entry in summary["by_subject"].items()}
    assert by_subject == {"add": 1, "sort": 0, "max": 1}
    assert summary["by_subject"]["add"]["queries"]["value"] == 20


def test_any_command_has_the_metrics_of_its_window_only(tmp_path: Path) -> None:
    workload = {"kind": "command", "parameters": {"command": ["true"]}}
    metrics = metrics_of(tmp_path, manifest={"workload": workload})
    assert set(metrics) == {"energy_j", "net_energy_j", "mean_power_w", "idle_power_w", "duration_s"}


def test_damaged_numbers_in_a_journal_are_unknown_not_believed() -> None:
    queries = from_records(
        [
            {"status": "ok", "score": float("nan"), "completion_tokens": "many", "energy_j": True},
            {"status": "ok", "score": 7, "completion_tokens": None, "energy_j": float("inf")},
        ]
    )
    assert queries.numbers["score"].tolist() == [0, 1]
    assert np.isnan(queries.numbers["completion_tokens"]).all()
    assert np.isnan(queries.numbers["energy_j"]).all()


# --- how the errors of the queries' energies add up -----------------------------------------------------------------


def test_neighbours_errors_cancel_so_all_queries_together_are_as_certain_as_their_window(tmp_path: Path) -> None:
    metrics = metrics_of(tmp_path, energy_rel=0.9)  # each query known to ± 90 %, the window to ± 0.1 %
    energy = metrics["energy_per_query_j"]
    assert energy["value"] == 10
    assert energy["high"] - energy["low"] == pytest.approx(2 * 0.01, rel=0.1)


def test_what_was_charged_to_no_query_may_be_wrong_by_all_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, energy_rel=0.9)
    run.update_manifest(attribution=run.manifest()["attribution"] | {"idle_j": 60.0})
    energy = summarize(run)["metrics"]["energy_per_query_j"]
    assert energy["high"] - energy["low"] == pytest.approx(2 * 60 / 120, rel=0.1)


def test_a_subject_among_others_is_less_certain_than_all_of_them(tmp_path: Path) -> None:
    summary = summarize(make_run(tmp_path, energy_rel=0.9))
    part = summary["by_subject"]["add"]["energy_per_query_j"]
    # 40 of 120 queries, each ± 9 J: independent but for the sum of all, so the variance falls by the 2/3 of the others.
    assert part["high"] - part["low"] == pytest.approx(2 * 9 / np.sqrt(40) * np.sqrt(2 / 3), rel=0.1)


@given(
    st.lists(st.floats(0.1, 10), min_size=2, max_size=30),
    st.lists(st.floats(-3, 3), min_size=30, max_size=30),
    st.floats(0, 1),
)
def test_the_error_of_any_sum_lies_between_nothing_and_independence(
    sds: list[float], weights: list[float], share: float
) -> None:
    sigma, w = np.array(sds), np.array(weights[: len(sds)])
    apart = float((sigma**2).sum())
    error = SharedError(apart, share * apart)
    assert 0 <= error.sd_of_sum(w * sigma, sigma) <= np.sqrt(((w * sigma) ** 2).sum()) + 1e-9
    assert error.sd_of_sum(sigma, sigma) == pytest.approx(np.sqrt(share * apart), abs=1e-6)
