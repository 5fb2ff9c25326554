"""What servers tell at /metrics is read where it is there, and held against what the run counted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.openai_server import Behaviour, Request, Server, serving
from hypothesis import given
from hypothesis import strategies as st
from workloads.lm.test_run import sums

from ipw.attribution.queries.phases import MISSING, Timing
from ipw.attribution.queries.server_counts import server_counts
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.lm.http.url import server_url
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.metrics import read_metrics, server_metrics

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.25e+03
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7537953269352946e+09
vllm:generation_tokens_total{engine="0",model_name="m"} 400.0
vllm:generation_tokens_total{engine="1",model_name="m"} 100.0
vllm:gpu_prefix_cache_hits_total{engine="0",model_name="m"} 7.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 48.0
vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"} 17.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 1650.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 90.0
http_requests_total{handler="/v1/chat/completions"} 12.0
"""
SGLANG = """\
sglang:prompt_tokens_total{model_name="m"} 8.128902e+06
sglang:generation_tokens_total{model_name="m"} 7557572
sglang:cached_tokens_total{cache_source="device",model_name="m"} 100.0
sglang:cached_tokens_total{cache_source="host",model_name="m"} 20.0
sglang:num_running_reqs{model_name="m",pp_rank="0",tp_rank="0"} 3.0
sglang:num_running_reqs{model_name="m",pp_rank="0",tp_rank="1"} 3.0
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 1.0
"""
LLAMACPP = """\
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 33065
llamacpp:prompt_seconds_total 235.743
llamacpp:tokens_predicted_total 7801
llamacpp:n_decode_total 2600
llamacpp:n_busy_slots_per_decode 3.1
llamacpp:requests_processing 1
llamacpp:requests_deferred 0
"""


@pytest.mark.parametrize(
    ("text", "engine", "values"),
    [
        (VLLM, "vllm", {"prompt_tokens": 1250, "generated_tokens": 500, "cached_tokens": 48, "steps": 90, "running": 2,
                        "waiting": 0}),
        (VLLM.replace("prefix_cache_hits_total{engine", "other{engine").replace("gpu_other", "gpu_prefix_cache_hits"),
         "vllm", {"prompt_tokens": 1250, "generated_tokens": 500, "cached_tokens": 7, "steps": 90, "running": 2,
                  "waiting": 0}),
        (SGLANG, "sglang", {"prompt_tokens": 8128902, "generated_tokens": 7557572, "cached_tokens": 120, "running": 3,
                            "waiting": 1}),
        (SGLANG.replace("sglang:", "sglang_"), "sglang", {"prompt_tokens": 8128902, "generated_tokens": 7557572,
                                                          "cached_tokens": 120, "running": 3, "waiting": 1}),
        (LLAMACPP, "llamacpp", {"computed_prompt_tokens": 33065, "generated_tokens": 7801, "steps": 2600, "running": 1,
                                "waiting": 0}),
        ("vllm:generation_tokens{} NaN\nvllm:prompt_tokens{} 5 1700000000000\n", "vllm", {"prompt_tokens": 5}),
    ],
    ids=["vllm", "vllm 0.8", "sglang", "sglang with underscores", "llama.cpp", "no number, and a time stamp"],
)  # fmt: skip
def test_tokens_steps_and_requests_are_read_by_each_engines_names(
    text: str, engine: str, values: dict[str, float]
) -> None:
    told = read_metrics(text, 5)
    assert told is not None
    assert (told.engine, told.values) == (engine, {"t_ns": 5, **values})


@pytest.mark.parametrize(
    "text", ["", "tgi_request_count 5\n", "<html>no</html>", "vllm:prompt_tokens -5\n", VLLM + LLAMACPP]
)
def test_what_is_of_no_known_engine_or_of_two_says_nothing(text: str) -> None:
    assert read_metrics(text, 5) is None


@given(st.text(alphabet='vllm:_prompt_tokens{}="0 \n1e5-+.#', max_size=300) | st.text(max_size=200))
def test_any_text_is_read_or_passed_over(text: str) -> None:
    told = read_metrics(text, 5)
    assert told is None or all(0 <= value < 1e16 for value in told.values.values())


def at(url: str) -> Endpoint:
    return Endpoint(server_url(url), "m", {})


def test_a_server_is_asked_beside_its_api(tmp_path: Path) -> None:
    with serving() as server:
        assert server_metrics(at(server.url)) is None
        server.metrics = lambda: VLLM
        told = server_metrics(at(server.url))
    assert told is not None
    assert told.values["generated_tokens"] == 500
    assert server_metrics(at(server.url)) is None  # nobody is there any more


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipw.workloads.lm.servers.metrics.PATIENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert server_metrics(at(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")) is None


def test_counts_are_of_what_was_asked_between_the_two_looks(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "run")
    before, after = {"t_ns": 100, "generated_tokens": 50.0, "running": 1.0}, {"t_ns": 200, "generated_tokens": 90.0}
    run.write_manifest(
        {"run_id": "r", "sensors": [], "server_metrics": [{"engine": "vllm", "before": before, "after": after}]}
    )
    with Journal(run) as journal:
        journal.append("retry", {"start_ns": 150, "end_ns": 160, "prompt_tokens": 5, "completion_tokens": 7})
        journal.append("retry", {"start_ns": 250, "end_ns": 260, "prompt_tokens": 5, "completion_tokens": 7})
    columns = [[50, 120, 130], [60, 121, MISSING], [90, 140, 150], [9, 10, 11], [MISSING, 4, 0], [3, 20, MISSING]]
    (found,) = server_counts(run, Timing(*(np.array(column) for column in columns)))
    assert found == {
        "engine": "vllm", "told": {"generated_tokens": 40.0}, "running_before": 1.0,
        "counted": {"requests": 3, "uncounted": 1, "prompt_tokens": 26, "computed_prompt_tokens": 22,
                    "cached_tokens": 4, "generated_tokens": 27},
    }  # fmt: skip


def metrics_of(server: Server, others: list[int]) -> str:
    done = [book for book in server.books if book.end_ns]
    prompt, generated = sum(b.prompt_tokens for b in done), sum(b.completion_tokens for b in done) + sum(others)
    return f"vllm:prompt_tokens_total {prompt}\nvllm:generation_tokens_total {generated}\nvllm:num_requests_running 0\n"


@pytest.mark.parametrize("foreign", [0, 500])
def test_a_run_tells_whether_its_server_worked_for_others_too(tmp_path: Path, foreign: int) -> None:
    others: list[int] = []

    def behave(request: Request) -> Behaviour:
        if request.prompt == "1+1" and not others:
            others.append(foreign)
        return Behaviour(["a "] * 20, token_s=0.002)

    with serving(behave) as server:
        server.metrics = lambda: metrics_of(server, others)
        command = [
            sys.executable,
            "-m",
            "ipw.cli",
            "run",
            "lm",
            "--base-url",
            server.url,
            "--dataset",
            sums(tmp_path, 6),
        ]
        command += ["--sensors", "estimate", "--idle", "0.1", "--warmup", "1", "--out", str(tmp_path / "out"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    summary: dict[str, Any] = json.loads(done.stdout)
    checks = {check["check"]: check for check in summary["validity"]}
    assert checks["server counts"]["ok"]
    assert checks["other requests"]["ok"] == (not foreign)
    if foreign:
        assert (
            "the server counts 640 generated tokens, and 140 were asked for here" in checks["other requests"]["detail"]
        )
