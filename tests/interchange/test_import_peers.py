"""`ipw import` of load tests, evaluations and logs of power: what they tell in our names, and why the rest is not."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.reports.ranking import groups
from ipw.runs.directory import RunDir

Summary = dict[str, Any]


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


def imported(path: Path, *more: object) -> list[Summary]:
    result = ipw("import", path, "--out", path.parent / "runs", "--json", *more)
    assert result.exception is None, result.exception
    return [summary_in(Path(row["run"])) for row in json.loads(result.stdout)]


def summary_in(run: Path) -> Summary:
    summary = RunDir.open(run).summary()
    assert summary is not None
    return summary


def refusal(path: Path, *more: object) -> str:
    result = ipw("import", path, "--out", path.parent / "runs", *more)
    assert isinstance(result.exception, UsageError), result.exception
    assert "\n" not in result.exception.message
    return result.exception.message


def values(summary: Summary, *names: str) -> list[float | None]:
    return [summary["metrics"][name]["value"] for name in names]


def reason(summary: Summary, name: str) -> str:
    return str(summary["metrics"][name]["reason"])


def written(path: Path, *documents: Any) -> Path:
    path.write_text("\n".join(json.dumps(each) for each in documents))
    return path


# --- AIPerf ---------------------------------------------------------------------------------------------------------


def amount(unit: str, **values: float) -> dict[str, Any]:
    return {"unit": unit, **values}


AIPERF: dict[str, Any] = {
    "request_count": amount("requests", avg=38.0),
    "error_request_count": amount("requests", avg=2.0),
    "request_latency": amount("ms", avg=900.0, p50=850.0, p90=1200.0, p99=1500.0),
    "time_to_first_token": amount("ms", avg=50.0, p50=45.0, p90=80.0, p99=120.0),
    "inter_token_latency": amount("ms", avg=9.0, p50=9.0, p90=9.5, p99=9.9),
    "benchmark_duration": amount("sec", avg=20.0),
    "total_isl": amount("tokens", avg=4000.0),
    "total_osl": amount("tokens", avg=8000.0),
    "input_config": {
        "models": {"items": [{"name": "org/one"}]},
        "phases": [{"concurrency": 4}],
        "endpoint": {"urls": ["http://somewhere"]},
    },
    "error_summary": [{"error_details": {"code": 503, "message": "overloaded"}, "count": 2}],
    "start_time": "2026-05-01T10:00:00.5",
    "was_cancelled": False,
    "aiperf_version": "0.13.0",
}


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


# --- GuideLLM -------------------------------------------------------------------------------------------------------


def spread(**more: float) -> dict[str, Any]:
    successful = {"count": 10, "mean": 2.0, "total_sum": 500.0, "percentiles": {"p50": 2.0, "p90": 3.0, "p99": 4.0}}
    return {"successful": successful | more, "errored": {"count": 0}, "incomplete": {"count": 0}}


def guidellm(streams: int) -> dict[str, Any]:
    return {
        "config": {"strategy": {"type_": "concurrent", "streams": streams}},
        "scheduler_metrics": {"measure_start_time": 1_780_000_000.0, "measure_end_time": 1_780_000_050.0},
        "metrics": {
            "request_totals": {"successful": 10, "errored": 0, "incomplete": 3, "total": 13},
            "request_latency": spread(),
            "time_to_first_token_ms": spread(),
            "inter_token_latency_ms": spread(),
            "prompt_token_count": spread(),
            "output_token_count": spread(total_sum=1000.0),
        },
        "requests": {"successful": [], "errored": [], "incomplete": []},
    }


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


# --- vllm bench serve -----------------------------------------------------------------------------------------------

VLLM: dict[str, Any] = {
    "date": "20260501-101112", "backend": "vllm", "label": None, "model_id": "org/one", "num_prompts": 4,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 2, "duration": 10.0, "completed": 4, "failed": 0,
    "total_input_tokens": 40, "total_output_tokens": 80, "request_throughput": 0.4, "request_goodput": None,
    "median_ttft_ms": 20.0, "p99_ttft_ms": 40.0, "median_itl_ms": 5.0, "p99_itl_ms": 9.0,
}  # fmt: skip


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


# --- lm-eval and Inspect --------------------------------------------------------------------------------------------

LM_EVAL: dict[str, Any] = {
    "results": {
        "one": {"alias": "one", "acc,none": 0.5, "acc_stderr,none": 0.05, "acc_norm,none": 0.6},
        "two": {"alias": "two", "exact_match,strict": 0.75, "exact_match_stderr,strict": "N/A"},
        "words": {"alias": "words", "word_perplexity,none": 12.5},
        "both": {"alias": "both", "acc,none": 0.55},
    },
    "groups": {"both": {"acc,none": 0.55}}, "group_subtasks": {"both": ["one", "two"]}, "configs": {}, "versions": {},
    "n-shot": {"one": 5}, "n-samples": {"one": {"original": 900, "effective": 100}, "two": {"original": 300,
    "effective": 300}, "words": {"original": 9, "effective": 9}},
    "config": {"model": "local-completions", "model_args": {"model": "org/one"}, "limit": 100.0},
    "model_name": "org/one", "date": 1_780_000_000.5, "lm_eval_version": "0.4.13",
}  # fmt: skip


def test_tasks_of_lm_eval_have_their_accuracy_and_say_what_is_none(tmp_path: Path) -> None:
    one, two, words = imported(written(tmp_path / "results.json", LM_EVAL))
    accuracy = one["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["n"]) == (0.5, 100)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.402, 0.598), abs=1e-3)
    assert one["workload"]["parameters"] == {"dataset": "one", "scorer": "acc,none", "shots": 5, "limit": 100}
    assert two["metrics"]["accuracy"]["low"] is None
    assert "word_perplexity,none, none of which is a share" in reason(words, "accuracy")
    assert "--joules RUN" in reason(one, "energy_j")


def test_results_of_an_old_lm_eval_have_no_filters(tmp_path: Path) -> None:
    old = {"results": {"one": {"acc": 0.25, "acc_stderr": 0.05}}, "versions": {"one": 0}, "config": {"model": "hf"}}
    (told,) = imported(written(tmp_path / "old.json", old))
    assert values(told, "accuracy", "queries") == [0.25, None]
    assert told["metrics"]["accuracy"]["high"] > 0.3


def inspect_log(status: str = "success", done: int = 20) -> dict[str, Any]:
    metrics = {"accuracy": {"name": "accuracy", "value": 0.8}, "stderr": {"name": "stderr", "value": 0.1}}
    results = {"total_samples": 20, "completed_samples": done, "scores": [{"name": "match", "metrics": metrics}]}
    usage = {"org/one": {"input_tokens": 200, "output_tokens": 50, "total_tokens": 250}}
    stats = {
        "started_at": "2026-05-01T10:00:00+00:00",
        "completed_at": "2026-05-01T10:00:09+00:00",
        "model_usage": usage,
    }
    evaluation = {"task": "sums", "model": "org/one", "packages": {"inspect_ai": "0.3.285"}, "config": {"limit": 20}}
    return {"version": 2, "status": status, "eval": evaluation, "results": results, "stats": stats}


def archive(path: Path, header: dict[str, Any], *, zstandard: bool) -> Path:
    """Write what Inspect does: members of Zstandard, which Python's own module cannot write before 3.14."""
    raw = json.dumps(header).encode()
    packed = pa.Codec("zstd").compress(raw, asbytes=True) if zstandard else raw
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if zstandard else zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", packed)
    if zstandard:
        content = bytearray(path.read_bytes())
        central = content.index(b"PK\x01\x02")
        struct.pack_into("<H", content, 8, 93)
        struct.pack_into("<H", content, central + 10, 93)
        for at in (22, central + 24):
            struct.pack_into("<I", content, at, len(raw))
        path.write_bytes(content)
    return path


def test_logs_of_inspect_are_read_from_json_and_from_archives_of_either_kind(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "log.json", inspect_log()),
        archive(tmp_path / "deflated.eval", inspect_log(), zstandard=False),
        archive(tmp_path / "zstandard.eval", inspect_log(), zstandard=True),
    ]
    for path in paths:
        (told,) = imported(path)
        assert values(told, "accuracy", "queries", "duration_s") == [0.8, 20, 9]
        assert told["workload"]["parameters"]["scorer"] == "match/accuracy"
        assert told["valid"]


@pytest.mark.parametrize("zstandard", [False, True])
def test_a_damaged_archive_is_refused_in_one_line(zstandard: bool, tmp_path: Path) -> None:
    whole = archive(tmp_path / "log.eval", inspect_log(), zstandard=zstandard).read_bytes()
    for at in range(40, len(whole) - 100, 17):
        (tmp_path / "log.eval").write_bytes(whole[:at] + b"\xff\x00" + whole[at + 2 :])
        result = ipw("import", tmp_path / "log.eval", "--out", tmp_path / "runs")
        assert result.exception is None or isinstance(result.exception, UsageError), at
        if result.exception is not None:
            assert "\n" not in result.exception.message


def test_an_evaluation_that_ended_early_is_not_valid(tmp_path: Path) -> None:
    (told,) = imported(written(tmp_path / "log.json", inspect_log("cancelled", done=5)))
    assert not told["valid"]
    assert "its status is cancelled" in told["validity"][0]["detail"]


# --- logs of power, and their joules with others' answers -----------------------------------------------------------

SMI = "timestamp, index, power.draw [W]\n" + "".join(
    f"2026/05/01 10:00:{k // 2:02d}.{5 * (k % 2)}00, 0, 100.00 W\n" for k in range(21)
)
TEGRA = "".join(
    f"05-01-2026 10:00:{k:02d} RAM 1000/30000MB (lfb 1x1MB) CPU [1%@729] VDD_GPU_SOC 4000mW/4000mW "
    f"VDD_CPU_CV 2000mW/2000mW VIN_SYS_5V0 5000mW/5000mW\n"
    for k in range(10)
)


def test_a_log_of_nvidia_smi_is_a_run_with_readings_and_joules(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    (told,) = imported(tmp_path / "smi.csv")
    assert (told["basis"], told["method"]) == ("gpu", "integrated_power")
    assert values(told, "energy_j", "duration_s") == pytest.approx([1000, 10])
    assert told["valid"], told["validity"]


def test_joules_of_a_log_have_an_interval_for_when_its_power_was_read_and_a_device_of_its_own(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(SMI)
    one, two = (imported(tmp_path / name)[0] for name in ("one.csv", "two.csv"))
    energy = one["metrics"]["energy_j"]
    assert energy["low"] < energy["value"] - 100 * 0.5 / 2, "each end is known to half a second"
    assert energy["high"] - energy["value"] == pytest.approx(energy["value"] - energy["low"])
    assert energy["gain_rel"] == 0.05
    assert one["devices"] != two["devices"]
    (tmp_path / "named.csv").write_text(SMI.replace("index,", "index, name,").replace(" 0, 100", " 0, A GPU, 100"))
    (named,) = imported(tmp_path / "named.csv")
    assert "A GPU" in named["devices"][0]
    assert "csv" not in named["devices"][0]


def test_a_log_of_tegrastats_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "tegra.log").write_text(TEGRA)
    (told,) = imported(tmp_path / "tegra.log")
    assert told["metrics"]["mean_power_w"]["value"] > 0
    assert told["basis"]


def test_answers_of_one_tool_join_joules_of_a_run_in_a_group_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    imported(tmp_path / "smi.csv")
    (run,) = (tmp_path / "runs").iterdir()
    (told,) = imported(written(tmp_path / "log.json", inspect_log()), "--joules", run)
    names = (
        "energy_j",
        "energy_per_query_j",
        "energy_per_output_token_j",
        "energy_per_token_j",
        "energy_per_correct_j",
    )
    assert values(told, *names) == pytest.approx([1000, 50, 20, 4, 62.5])
    per_joule = told["metrics"]["accuracy_per_joule"]
    assert per_joule["value"] == pytest.approx(0.016)
    assert per_joule["low"] < per_joule["value"] < per_joule["high"]
    assert "not told apart" in reason(told, "accuracy_per_watt")
    assert told["basis"] == "imported:inspect, joules of gpu"
    ours = summary_in(run)
    assert all(row.rank is None for group in groups([told, told | {"run_id": "2"}, ours]) for row in group.rows)


def test_joined_joules_keep_the_gain_of_their_sensor_and_say_where_nothing_was_right(tmp_path: Path) -> None:
    none_right = LM_EVAL | {"results": {"one": {"acc,none": 0.0, "acc_stderr,none": 0.0}}}
    run = make_run(tmp_path)
    summary = summarize(run)
    summary["metrics"]["energy_j"]["gain_rel"] = 0.05
    (wrong,) = imported(written(tmp_path / "r.json", none_right))
    assert values(wrong, "accuracy", "errors") == [0, None], "lm-eval does not tell what failed"
    run.write_summary(summary)
    (told,) = imported(tmp_path / "r.json", "--joules", run.path)
    assert told["metrics"]["energy_per_query_j"]["gain_rel"] == 0.05
    assert values(told, "accuracy_per_joule", "energy_per_correct_j") == [0, None]
    assert reason(told, "energy_per_correct_j") == "nothing was answered right"


def test_joules_of_a_run_that_tells_requests_apart_are_those_of_the_requests_alone(tmp_path: Path) -> None:
    """A gateway's window begins before the tool has started; only what it attributed to requests belongs to them."""
    run = make_run(tmp_path, power_w=20.0, latency_s=0.5)
    run.write_summary(summarize(run))
    log = inspect_log()
    log["results"] |= {"total_samples": 120, "completed_samples": 120}
    (told,) = imported(written(tmp_path / "log.json", log), "--joules", run.path)
    assert values(told, "energy_per_query_j", "mean_query_power_w") == pytest.approx([10, 20])
    assert values(told, "accuracy_per_joule", "accuracy_per_watt") == pytest.approx([0.8 / 10, 0.8 / 20])
    assert [check["detail"] for check in told["validity"] if check["check"] == "joules"] == [
        "of the 120 requests that run-a saw, without what the tool did beside them"
    ]
    log["results"] |= {"total_samples": 100, "completed_samples": 100}
    (fewer,) = imported(written(tmp_path / "fewer.json", log), "--joules", run.path)
    assert values(fewer, "energy_per_query_j") == pytest.approx([12])
    assert "run-a saw 120 requests, inspect tells of 100" in str(fewer["validity"])
    assert fewer["valid"]


def test_requests_below_resolution_give_a_bound_and_not_the_joules_of_the_window(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    summary = summarize(run)
    bound = {"value": None, "low": None, "high": 2.0, "reason": "below resolution"}
    summary["metrics"]["energy_per_query_j"] |= bound
    run.write_summary(summary)
    log = inspect_log()
    log["results"] |= {"total_samples": 60, "completed_samples": 60}
    (told,) = imported(written(tmp_path / "log.json", log), "--joules", run.path)
    names = ("energy_per_query_j", "energy_per_correct_j", "accuracy_per_joule")
    assert [reason(told, name) for name in names] == ["below resolution"] * 3
    each, right, per_joule = (told["metrics"][name] for name in names)
    assert each["high"] == pytest.approx(4), "120 requests were seen for 60 questions"
    assert per_joule["low"] == pytest.approx((0.8 - 0.196) / 4, abs=1e-3)
    assert right["high"] == pytest.approx(1 / per_joule["low"])


def test_several_tasks_share_the_joules_of_one_run(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    imported(tmp_path / "smi.csv")
    (run,) = (tmp_path / "runs").iterdir()
    two = {name: row for name, row in LM_EVAL["results"].items() if name in {"one", "two"}}
    (told,) = imported(written(tmp_path / "r.json", LM_EVAL | {"results": two}), "--joules", run)
    assert told["workload"]["parameters"]["dataset"] == "one+two"
    assert values(told, "accuracy", "energy_per_query_j") == [(50 + 225) / 400, 2.5]
    other = LM_EVAL | {"model_name": "org/two"}
    path = written(tmp_path / "others.json", LM_EVAL, other)
    assert "of several: org/one, org/two" in refusal(path, "--joules", run)
    (joined,) = [path for path in (tmp_path / "runs").iterdir() if "lm-eval" in path.name]
    assert "was imported itself" in refusal(tmp_path / "r.json", "--joules", joined)
    assert "a log of power has joules of its own" in refusal(tmp_path / "smi.csv", "--joules", run)


# --- files that lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (AIPERF | {"request_latency": amount("fortnights", p50=1.0)}, "the unit 'fortnights'"),
        (AIPERF | {"request_count": amount("requests", avg=-1.0)}, "not a number from 0 on"),
        (AIPERF | {"total_osl": {"unit": "tokens", "avg": "<script>"}}, "not a number from 0 on"),
        (VLLM | {"duration": "soon"}, "not a number from 0 on"),
        (VLLM | {"ttfts": [{}], "errors": [""]}, "not a number from 0 on"),
        (LM_EVAL | {"results": {"one": {"acc,none": 7.0}}}, "more than 1"),
        ({"benchmarks": [guidellm(1) | {"metrics": guidellm(1)["metrics"] | {"request_totals": {"successful": []}}}]},
         "not a number from 0 on"),
        ({"something": "else"}, "nothing that can be imported"),
    ],
)  # fmt: skip
def test_a_file_that_says_what_cannot_be_is_refused_in_one_line(document: Any, told: str, tmp_path: Path) -> None:
    assert told in refusal(written(tmp_path / "foreign.json", document))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ['{"results": ', "[" * 5000, '{"a": 1}\n{"b"', "\x00\x01", "PK\x03\x04", ""])
def test_damaged_files_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text(text)
    refusal(tmp_path / "foreign")
