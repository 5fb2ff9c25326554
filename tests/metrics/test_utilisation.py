"""Utilisation, perplexity, and what a scorer could not read: from runs whose every number is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import BUSY_W, make_run

from ipw.metrics.device_peaks import peak_of
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir

COSTS = {"name": "m", "flops_per_token": 2_000_000_000, "weight_bytes_per_token": 1_000_000_000}
QUERIES = 120
"""Of 0.5 s, one after the other, 10 prompt and 5 output tokens each."""


def on(run: RunDir, device: str, model: dict[str, Any]) -> dict[str, Any]:
    manifest = run.manifest()
    manifest["sensors"][0]["device"] = device
    run.write_manifest(manifest | {"model": model})
    metrics: dict[str, Any] = summarize(run)["metrics"]
    return metrics


def test_utilisation_is_what_the_tokens_take_of_the_data_sheets_peak(tmp_path: Path) -> None:
    metrics = on(make_run(tmp_path), "NVIDIA H200 GPU-1", COSTS)
    assert metrics["flops_utilisation"]["value"] == pytest.approx(15 * 2e9 / 0.5 / 989.4e12)
    assert metrics["bandwidth_utilisation"]["value"] == pytest.approx(5 * 1e9 / 0.5 / 4.8e12)
    assert metrics["bandwidth_utilisation"]["low"] <= metrics["bandwidth_utilisation"]["value"]


@pytest.mark.parametrize(
    ("device", "model", "reason"),
    [
        ("NVIDIA H200 GPU-1", {"name": "m"}, "parameters are not known"),
        ("Test GPU GPU-1", COSTS, "the peak rate of Test GPU GPU-1 is not known"),
    ],
)
def test_what_is_not_known_of_device_or_model_is_the_reason(
    tmp_path: Path, device: str, model: dict[str, Any], reason: str
) -> None:
    entry = on(make_run(tmp_path), device, model)["flops_utilisation"]
    assert entry["value"] is None
    assert reason in entry["reason"]


@pytest.mark.parametrize(
    ("device", "bytes_per_s"),
    [
        ("NVIDIA A100-SXM4-80GB", 2.039e12),
        ("NVIDIA A100-SXM4-40GB", 1.555e12),
        ("NVIDIA H100 80GB HBM3", 3.35e12),
        ("NVIDIA H100 PCIe", 2.0e12),
        ("NVIDIA L4", 0.3e12),
        ("Apple M4 Max", 0.546e12),
    ],
)
def test_devices_are_known_by_the_name_that_their_driver_gives(device: str, bytes_per_s: float) -> None:
    peak = peak_of(device)
    assert peak is not None
    assert peak.bytes_per_s == bytes_per_s


def test_perplexity_per_watt_and_per_joule_are_those_of_the_paper(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"logprob_sum": [-2.0] * QUERIES, "logprob_tokens": [4] * QUERIES}
    metrics = summarize(make_run(tmp_path, columns=columns))["metrics"]
    perplexity = float(np.exp(0.5))
    assert metrics["perplexity"]["value"] == pytest.approx(perplexity)
    assert metrics["perplexity_per_watt"]["value"] == pytest.approx(1 / (perplexity * BUSY_W))
    assert metrics["perplexity_per_joule"]["value"] == pytest.approx(1 / (perplexity * BUSY_W * 0.5))
    for name in ("perplexity_per_watt", "perplexity_per_joule"):
        assert metrics[name]["low"] < metrics[name]["value"] < metrics[name]["high"]


def test_without_log_probabilities_there_is_no_perplexity_to_show(tmp_path: Path) -> None:
    assert "perplexity" not in summarize(make_run(tmp_path))["metrics"]


def test_answers_in_which_nothing_was_found_are_counted_where_something_was_looked_for(tmp_path: Path) -> None:
    parsed = [False, True, True, None] * (QUERIES // 4)
    metrics = summarize(make_run(tmp_path, columns={"parsed": parsed}))["metrics"]
    assert metrics["unparsed"]["value"] == QUERIES // 4
    assert "unparsed" not in summarize(make_run(tmp_path, "plain"))["metrics"]


def test_a_run_that_was_not_scored_has_no_accuracy_and_its_joules(tmp_path: Path) -> None:
    columns = {"score": [None] * QUERIES}
    facts = {"dataset": {"scorer": "judge"}, "scoring_reason": "no server at http://j"}
    metrics = summarize(make_run(tmp_path, columns=columns, manifest=facts))["metrics"]
    assert (metrics["accuracy"]["value"], metrics["accuracy"]["reason"]) == (None, "no server at http://j")
    assert metrics["accuracy_per_joule"]["value"] is None
    assert metrics["energy_per_query_j"]["value"] == pytest.approx(BUSY_W * 0.5)
