"""Files of load tests, evaluations and meters that `ipw import` reads, small and whole: what `fuzz_files` damages."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any


def peers() -> dict[str, tuple[str, bytes]]:
    """Give a file's name and content by whose it is."""
    return {
        "aiperf": ("profile_export_aiperf.json", _json(_aiperf())),
        "aiperf requests": ("profile_export.jsonl", b"\n".join(_json(_request(k)) for k in range(3))),
        "guidellm": ("benchmarks.json", _json(_guidellm())),
        "vllm bench": ("vllm.json", b"\n".join([_json(_vllm())] * 2)),
        "lm-eval": ("results.json", _json(_lm_eval())),
        "inspect": ("log.json", _json(_inspect())),
        "inspect archive": ("log.eval", _archive(_json(_inspect()))),
        "nvidia-smi": ("smi.csv", _smi().encode()),
    }


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _aiperf() -> dict[str, Any]:
    spread = {"unit": "ms", "avg": 9.0, "p50": 8.0, "p90": 9.0, "p99": 9.5}
    return {
        "request_count": {"unit": "requests", "avg": 9.0}, "error_request_count": {"unit": "requests", "avg": 1.0},
        "request_latency": spread, "time_to_first_token": spread, "benchmark_duration": {"unit": "sec", "avg": 5.0},
        "total_osl": {"unit": "tokens", "avg": 50.0}, "nvidia_total_gpu_energy": {"unit": "J", "avg": 500.0},
        "input_config": {"models": [{"name": "m"}], "phases": [{"concurrency": 2}]}, "was_cancelled": False,
        "error_summary": [{"error_details": {"message": "busy"}, "count": 1}],
    }  # fmt: skip


def _request(k: int) -> dict[str, Any]:
    metadata = {"benchmark_phase": "profiling", "request_start_ns": 10**18, "request_end_ns": 10**18 + (k + 1) * 10**9}
    metrics = {
        "request_latency": {"value": 1000.0, "unit": "ms"},
        "inter_chunk_latency": {"value": [1.0], "unit": "ms"},
    }
    return {"metadata": metadata, "metrics": metrics, "error": None if k else {"message": "cut"}}


def _guidellm() -> dict[str, Any]:
    spread = {"successful": {"count": 4, "mean": 1.0, "total_sum": 4.0, "percentiles": {"p50": 1, "p90": 2, "p99": 3}}}
    metrics = dict.fromkeys(("request_latency", "time_to_first_token_ms", "output_token_count"), spread)
    metrics["request_totals"] = {"successful": 4, "errored": 0, "incomplete": 1, "total": 5}  # type: ignore[dict-item]
    times = {"measure_start_time": 1.7e9, "measure_end_time": 1.7e9 + 5}
    strategy = {"strategy": {"type_": "concurrent", "streams": 4}}
    return {"config": {"backend": {"model": "m"}},
            "benchmarks": [{"config": strategy, "scheduler_metrics": times, "metrics": metrics}]}  # fmt: skip


def _vllm() -> dict[str, Any]:
    return {
        "date": "20260501-101112", "model_id": "m", "num_prompts": 2, "request_rate": 2.0, "max_concurrency": 2,
        "duration": 5.0, "completed": 2, "failed": 0, "total_output_tokens": 9, "request_throughput": 0.4,
        "median_ttft_ms": 9.0, "ttfts": [0.1, 0.2], "itls": [[0.1], [0.2, 0.3]], "errors": ["", ""],
    }  # fmt: skip


def _lm_eval() -> dict[str, Any]:
    results = {"one": {"alias": "one", "acc,none": 0.5, "acc_stderr,none": 0.1}}
    return {"results": results, "configs": {}, "versions": {}, "n-samples": {"one": {"original": 9, "effective": 9}},
            "config": {"model": "hf"}, "date": 1.7e9, "model_name": "m"}  # fmt: skip


def _inspect() -> dict[str, Any]:
    metrics = {"accuracy": {"value": 0.8}, "stderr": {"value": 0.1}}
    results = {"total_samples": 9, "completed_samples": 9, "scores": [{"name": "match", "metrics": metrics}]}
    stats = {"started_at": "2026-05-01T10:00:00+00:00", "completed_at": "2026-05-01T10:00:09+00:00",
             "model_usage": {"m": {"input_tokens": 5, "output_tokens": 5}}}  # fmt: skip
    return {"status": "success", "eval": {"task": "t", "model": "m"}, "results": results, "stats": stats}


def _archive(header: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", header)
    return file.getvalue()


def _smi() -> str:
    rows = [f"2026/05/01 10:00:0{k}.000, 0, {100 + k}.00 W\n" for k in range(8)]
    return "timestamp, index, power.draw [W]\n" + "".join(rows)
