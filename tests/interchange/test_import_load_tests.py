"""`ipw import` of load tests: what they tell in our names, and why the rest is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interchange.peer_files import AIPERF, VLLM, Summary, amount, guidellm, imported, reason, values, written

# --- AIPerf -----------------------------------------------------------------------------------------------------------


def test_aiperfs_figures_have_our_names_and_units(tmp_path: Path) -> None:
    (told,) = imported(written(tmp_path / "profile_export_aiperf.json", AIPERF))
    assert told["model"]["name"] == "org/one"
    assert told["workload"]["parameters"]["concurrency"] == 4
    names = ("queries", "errors", "duration_s", "ttft_p50_s", "ttft_p90_s", "latency_p99_s", "output_tokens_per_s")
    assert values(told, *names) == [40, 2, 20, 0.045, 0.08, 1.5, 400]
    assert "a mean a request" in reason(told, "itl_p50_s")
    assert "measured no energy" in reason(told, "energy_j")
    assert "right or wrong" in reason(told, "accuracy")
    assert told["validity"][0]["detail"] == "2 of 40 failed: overloaded"
    assert told["valid"]


def test_what_aiperf_does_not_count_is_absent(tmp_path: Path) -> None:
    def without(*names: str) -> Summary:
        kept = {key: value for key, value in AIPERF.items() if key not in names}
        return imported(written(tmp_path / f"{len(names)}.json", kept))[0]

    assert values(without("request_count", "error_request_count"), "queries", "errors") == [None, 2]
    nothing = without("request_count", "error_request_count", "error_summary")
    assert values(nothing, "queries", "errors", "queries_per_s") == [None, None, None]
    assert "does not tell it" in reason(nothing, "errors")


def test_older_figures_of_aiperf_stand_under_records_and_have_other_names(tmp_path: Path) -> None:
    records = {key: value for key, value in AIPERF.items() if isinstance(value, dict) and "unit" in value}
    records["ttft"] = records.pop("time_to_first_token")
    config = {"endpoint": {"model_names": ["org/two"]}, "loadgen": {"concurrency": 100}}
    old = {"records": records, "input_config": config, "was_cancelled": True}
    (told,) = imported(written(tmp_path / "old.json", old))
    assert (told["model"]["name"], told["workload"]["parameters"]["concurrency"]) == ("org/two", 100)
    assert values(told, "ttft_p99_s") == [0.12]
    assert not told["valid"]
    assert "not whole: it was cancelled" in told["validity"][0]["detail"]


def test_joules_that_aiperf_read_are_those_of_its_gpus_in_any_unit(tmp_path: Path) -> None:
    joules = {
        "nvidia_total_gpu_energy": amount("kJ", avg=4.0),
        "nvidia_average_gpu_power": amount("W", avg=200.0),
        "nvidia_energy_per_output_token": amount("mJ/token", avg=500.0),
        "nvidia_energy_per_request": amount("joules/request", avg=105.0),
    }
    (told,) = imported(written(tmp_path / "a.json", AIPERF | joules))
    names = ("energy_j", "mean_power_w", "energy_per_output_token_j", "energy_per_query_j")
    assert values(told, *names) == [4000, 200, 0.5, 105]
    (both,) = imported(written(tmp_path / "b.json", AIPERF | joules | {"amd_total_gpu_energy": amount("J", avg=1.0)}))
    assert values(both, "energy_j") == [None]
    assert "two makers" in reason(both, "energy_j")


def request(seconds: float, phase: str = "profiling", **error: Any) -> dict[str, Any]:
    start = 1_700_000_000_000_000_000
    metadata = {"benchmark_phase": phase, "request_start_ns": start, "request_end_ns": start + int(seconds * 1e9)}
    metrics = {
        "request_latency": {"value": 1000 * seconds, "unit": "ms"},
        "time_to_first_token": {"value": 100 * seconds, "unit": "ms"},
        "inter_chunk_latency": {"value": [10.0, 20.0, 30.0], "unit": "ms"},
        "output_sequence_length": {"value": 4, "unit": "tokens"},
        "input_sequence_length": {"value": 9, "unit": "tokens"},
    }
    return {"metadata": metadata, "metrics": {} if error else metrics, "error": error or None}


def test_requests_of_aiperf_are_counted_without_its_warm_up(tmp_path: Path) -> None:
    lines = [request(9.0, "warmup"), request(1.0), request(3.0), request(2.0, message="cut off", code=499)]
    (told,) = imported(written(tmp_path / "profile_export.jsonl", *lines))
    names = ("queries", "errors", "duration_s", "latency_p50_s", "itl_p50_s", "output_tokens_per_s")
    assert values(told, *names) == [3, 1, 3, 2, 0.02, 8 / 3]
    assert not told["valid"], "a third failed"
    assert told["validity"][0]["detail"] == "1 of 3 failed: cut off"


# --- GuideLLM ---------------------------------------------------------------------------------------------------------


def test_each_benchmark_of_guidellm_is_a_run_of_its_load(tmp_path: Path) -> None:
    backend = {"kind": "openai_http", "target": "http://somewhere", "model": "org/one"}
    report = {"metadata": {"version": 2, "guidellm_version": "0.8.1"}, "config": {"backend": backend}}
    one, four = imported(written(tmp_path / "benchmarks.json", report | {"benchmarks": [guidellm(1), guidellm(4)]}))
    assert [each["workload"]["parameters"]["concurrency"] for each in (one, four)] == [1, 4]
    assert one["model"]["name"] == "org/one"
    names = ("queries", "errors", "duration_s", "latency_p90_s", "ttft_p90_s", "output_tokens_per_s")
    assert values(one, *names) == [10, 0, 50, 3, 0.003, 20]
    assert "a mean a request" in reason(one, "itl_p50_s")
    assert "neither" in one["validity"][-1]["detail"]


# --- vllm bench serve -------------------------------------------------------------------------------------------------


def test_a_result_of_vllm_says_what_it_was_asked_for(tmp_path: Path) -> None:
    (told,) = imported(written(tmp_path / "vllm.json", VLLM))
    assert values(told, "queries", "ttft_p50_s", "ttft_p90_s", "itl_p99_s", "latency_p50_s") == [
        4,
        0.02,
        None,
        0.009,
        None,
    ]
    assert "--save-detailed" in reason(told, "ttft_p90_s")
    assert told["workload"]["parameters"]["concurrency"] == 2


def test_a_detailed_result_of_vllm_gives_every_quantile_of_what_was_answered(tmp_path: Path) -> None:
    detailed = VLLM | {
        "failed": 1, "completed": 3, "ttfts": [0.01, 0.03, 0.02, 0.0], "itls": [[0.1], [0.2, 0.3], [0.4], []],
        "latencies": [1.0, 3.0, 2.0, 0.0], "errors": ["", "", "", "Traceback:\n  ...\nTimeoutError: too late"],
    }  # fmt: skip
    (told,) = imported(written(tmp_path / "vllm.json", detailed))
    assert values(told, "latency_p50_s", "errors") == [2.0, 1]
    assert told["metrics"]["ttft_p90_s"]["value"] == pytest.approx(0.028)
    assert told["validity"][0]["detail"] == "1 of 4 failed: TimeoutError: too late"


def test_a_result_that_vllm_0_32_wrote_lists_latencies_alone(tmp_path: Path) -> None:
    """It lists them without --save-detailed, beside what its own client waited, and has other quantiles."""
    told = VLLM | {
        "endpoint_type": "openai-chat", "tokenizer_id": "org/one", "latencies": [1.0, 2.0, 3.0, 4.0], "rtfx": 0.0,
        "queue_times": [0.001] * 4, "max_output_tokens_per_s": 9.0, "max_concurrent_requests": 2,
        "median_e2el_ms": 2500.0, "p99_e2el_ms": 3970.0, "median_tpot_ms": 5.0,
    }  # fmt: skip
    (run,) = imported(written(tmp_path / "vllm.json", told))
    assert values(run, "latency_p50_s", "latency_p90_s", "latency_p99_s") == pytest.approx([2.5, 3.7, 3.97])
    assert values(run, "ttft_p90_s") == [None]


def test_results_that_vllm_appended_are_a_run_each(tmp_path: Path) -> None:
    rates = [VLLM | {"request_rate": rate} for rate in (1.0, 2.0)]
    told = imported(written(tmp_path / "many.json", *rates))
    assert [each["workload"]["parameters"]["rate"] for each in told] == [1.0, 2.0]
    older = {key: value for key, value in VLLM.items() if key != "failed"} | {"completed": 3}
    assert values(imported(written(tmp_path / "older.json", older))[0], "errors") == [1]


def test_a_result_of_sglang_is_told_by_its_own_names(tmp_path: Path) -> None:
    result = {key: value for key, value in VLLM.items() if key not in {"model_id", "num_prompts", "failed"}}
    result |= {"server_info": {"model_path": "org/one"}, "median_e2e_latency_ms": 900.0, "p99_e2e_latency_ms": 1500.0}
    (told,) = imported(written(tmp_path / "sglang.jsonl", result))
    assert (told["basis"], told["model"]["name"]) == ("imported:sglang-bench", "org/one")
    assert values(told, "latency_p50_s", "latency_p99_s", "queries_per_s") == [0.9, 1.5, 0.4]
    assert values(told, "queries", "errors") == [None, None], "it tells only how many were answered"
    (told,) = imported(written(tmp_path / "details.jsonl", result | {"errors": ["", "late", "", "", ""]}))
    assert values(told, "queries", "errors") == [5, 1]


def test_a_result_that_sglang_0_5_wrote_of_another_server_tells_no_model(tmp_path: Path) -> None:
    result = {key: value for key, value in VLLM.items() if key not in {"model_id", "num_prompts", "failed", "date"}}
    result |= {
        "server_info": None,
        "tag": None,
        "request_rate": float("inf"),
        "p90_ttft_ms": 33.0,
        "accept_length": None,
    }
    (told,) = imported(written(tmp_path / "sglang.jsonl", result))
    assert told["model"]["name"] == "model of sglang-bench"
    assert "rate" not in told["workload"]["parameters"]
    assert values(told, "ttft_p90_s") == [0.033]
    (told,) = imported(written(tmp_path / "tagged.jsonl", result | {"tag": "moe, fp8"}))
    assert told["model"]["name"] == "moe, fp8"
