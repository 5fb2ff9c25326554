from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ipw.runs.directory import RunDir
from ipw.workloads.routing.throughput import throughput


def query(number: int, **changes: Any) -> dict[str, Any]:
    start = number * 10_000_000_000
    return {
        "start_ns": start,
        "first_token_ns": start + 2_000_000_000,
        "end_ns": start + 5_000_000_000,
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "energy_j": 50.0,
        "prefill_energy_j": 20.0,
        "decode_energy_j": 28.0,
    } | changes


def run_of(folder: Path, queries: list[dict[str, Any]], **manifest: Any) -> RunDir:
    run = RunDir(folder)
    run.write_manifest({"method": "counter", "attribution": {"gain_rel": 0.05}} | manifest)
    run.write_table("queries", pa.Table.from_pylist(queries))
    return run


def test_reading_and_writing_are_told_apart(tmp_path: Path) -> None:
    found = throughput(run_of(tmp_path, [query(i) for i in range(5)]))
    values = {name: metric["value"] for name, metric in found.items()}
    assert values == pytest.approx(
        {
            "prefill_tokens_per_s": 50.0,
            "decode_tokens_per_s": 2.0,  # six further tokens in three seconds
            "energy_per_token_j": 50 / 107,
            "prefill_energy_per_token_j": 0.2,
            "decode_energy_per_token_j": 4.0,
        }
    )
    assert found["energy_per_token_j"]["method"] == "counter"
    assert found["energy_per_token_j"]["low"] == pytest.approx(50 / 107), "all alike, and a counter's gain is shared"


def test_an_estimate_carries_the_doubt_about_its_gain(tmp_path: Path) -> None:
    run = run_of(tmp_path, [query(i) for i in range(5)], method="model_estimate", attribution={"gain_rel": 0.5})
    metric = throughput(run)["prefill_energy_per_token_j"]
    assert (metric["low"], metric["value"], metric["high"]) == pytest.approx((0.1, 0.2, 0.3))


def test_what_was_not_measured_or_written_is_absent_with_a_reason(tmp_path: Path) -> None:
    nothing = {"energy_j": None, "prefill_energy_j": None, "decode_energy_j": None}
    queries = [query(i, first_token_ns=None, completion_tokens=0, **nothing) for i in range(3)]
    found = throughput(run_of(tmp_path, queries, attribution=None))
    assert found["prefill_tokens_per_s"]["value"] == pytest.approx(20.0)
    assert (found["decode_tokens_per_s"]["value"], found["decode_tokens_per_s"]["reason"]) == (
        None,
        "the model wrote nothing",
    )
    assert found["energy_per_token_j"]["reason"] == "energy was not attributed"


def test_a_model_on_the_cpu_is_not_charged_with_what_a_gpu_drew_beside_it(tmp_path: Path) -> None:
    sensors = [{"name": "nvml/gpu0", "scope": "gpu", "in_total": True}]
    found = throughput(run_of(tmp_path, [query(0)], sensors=sensors, model={"device": "cpu"}))
    assert found["energy_per_token_j"]["value"] is None
    assert found["energy_per_token_j"]["reason"] == "the model ran on the CPU: these sensors see GPUs only"
    assert found["prefill_tokens_per_s"]["value"] == pytest.approx(50.0)


def test_a_run_without_queries_has_none(tmp_path: Path) -> None:
    assert throughput(RunDir(tmp_path)) == {}
