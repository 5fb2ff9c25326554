"""Files as other tools write them, and `ipw import` of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ipw.cli import cli
from ipw.errors import UsageError
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


VLLM: dict[str, Any] = {
    "date": "20260501-101112", "backend": "vllm", "label": None, "model_id": "org/one", "num_prompts": 4,
    "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 2, "duration": 10.0, "completed": 4, "failed": 0,
    "total_input_tokens": 40, "total_output_tokens": 80, "request_throughput": 0.4, "request_goodput": None,
    "median_ttft_ms": 20.0, "p99_ttft_ms": 40.0, "median_itl_ms": 5.0, "p99_itl_ms": 9.0,
}  # fmt: skip


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
