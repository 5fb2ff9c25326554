"""Hugging Face models: in a server of our own, and in `transformers serve`. Real models, no network."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.lm.http.client import Api, ask
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers import engines
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.engines import default_engine, serve
from ipw.workloads.lm.servers.transformers_server import Event, Job, Model, batches
from ipw.workloads.texts.datasets import load

MOE = Path(str(files("ipw"))) / "data" / "moe"
PROGRAM = Path(sys.executable).with_name("transformers")
needs_torch = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("transformers")), reason="the extra torch is not installed"
)
needs_serving = pytest.mark.skipif(
    not (PROGRAM.is_file() and all(map(find_spec, ("torch", "fastapi", "uvicorn", "openai")))),
    reason="transformers serve is not installed",
)
QUESTIONS = load("bundled", limit=8).questions


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hf" / "hub").mkdir(parents=True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def say(endpoint: Endpoint, prompts: Sequence[str], api: Api = "chat", max_tokens: int = 12) -> list[Answer]:
    async def talk() -> list[Answer]:
        async with Transport(endpoint.url) as transport:
            limits = Parameters(max_tokens=max_tokens, api=api).limits()
            return list(await asyncio.gather(*(ask(transport, endpoint.model, prompt, limits) for prompt in prompts)))

    return asyncio.run(talk())


def asked(endpoint: Endpoint) -> list[Answer]:
    answers = say(endpoint, [question.prompt for question in QUESTIONS])
    right = [answer.response == question.answer for answer, question in zip(answers, QUESTIONS, strict=True)]
    assert sum(right) >= 7
    assert {(answer.status, answer.tokens_source, answer.finish_reason) for answer in answers} == {
        ("ok", "usage", "stop")
    }
    assert all((answer.completion_tokens or 0) >= len(answer.response) for answer in answers)
    assert all((answer.prompt_tokens or 0) >= len(q.prompt) for answer, q in zip(answers, QUESTIONS, strict=True))
    for answer in answers:
        assert answer.first_token_ns is not None
        assert answer.last_token_ns is not None
        assert answer.start_ns <= answer.first_token_ns <= answer.last_token_ns <= answer.end_ns
        assert sum(answer.itl_counts) == len(answer.response) - 1  # a byte-level model: a token a character
    return answers


@needs_torch
def test_a_folder_is_served_token_by_token() -> None:
    with serve(Parameters(model="moe", engine="transformers", concurrency=4, dtype="float32")) as endpoint:
        asked(endpoint)
        assert endpoint.pid is not None
        assert psutil.pid_exists(endpoint.pid)
        cut = say(endpoint, ["rev gbcfg"], max_tokens=2)[0]
        assert (cut.response, cut.finish_reason, cut.completion_tokens) == ("gf", "length", 2)
        (bare,) = say(endpoint, ["<|im_start|>user\n12+7<|im_end|>\n<|im_start|>assistant\n"], "completions")
        assert bare.response == "19"
        long = say(endpoint, ["x" * 300])[0]
        assert (long.status, long.error) == ("error", "HTTP 400: the prompt has 308 tokens, the model takes up to 256")
    assert not psutil.pid_exists(endpoint.pid)
    assert endpoint.facts["name"] == "moe"
    assert endpoint.facts["parameters"] == 1_874_176
    assert (endpoint.facts["quantisation"], endpoint.facts["device"]) == ("float32", "cpu")
    assert endpoint.facts["digest"].startswith("sha256:")


def test_requests_that_wait_go_together_up_to_the_batch_size() -> None:
    waiting: SimpleQueue[Job] = SimpleQueue()
    jobs = [Job([1], max_tokens=1, temperature=0, seed=None) for _ in range(6)]
    for job in jobs:
        waiting.put(job)
    waves = batches(waiting, size=4)
    assert (next(waves), next(waves)) == (jobs[:4], jobs[4:])


@needs_torch
def test_a_batch_goes_through_the_model_in_step() -> None:
    model = Model({"model": str(MOE), "device": "cpu", "dtype": "float32", "threads": 1})
    prompts = ["rev gbcfg", "rev abcde", "rev edcba"]
    jobs = [
        model.job({"messages": [{"role": "user", "content": prompt}], "max_tokens": length})
        for prompt, length in zip(prompts, (4, 4, 2), strict=True)
    ]
    said: SimpleQueue[Event | None] = SimpleQueue()
    for job in jobs:
        job.events = said  # all into one, so that their order is seen
    model.run(jobs)
    events = [said.get_nowait() for _ in range(said.qsize())]
    texts = [event["text"] for event in events if event and "text" in event]
    assert texts == ["g", "e", "a", "f", "d", "b", "c", "c", "b", "b"]  # a character of each in turn; the third has two
    assert [event["finish_reason"] for event in events if event and "finish_reason" in event] == ["length"] * 3


@needs_torch
def test_a_folder_without_a_model_is_wrong_usage_and_one_with_it_takes_this_engine(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"it has no config\.json"),
        serve(Parameters(model=str(tmp_path), engine="transformers")),
    ):
        pass
    shutil.copy(MOE / "config.json", tmp_path)
    assert default_engine(Parameters(model=str(tmp_path))) == "transformers"


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="torch"), serve(Parameters(model="moe", engine="transformers")):
        pass


@needs_serving
def test_transformers_serve_is_started_asked_and_ended() -> None:
    command = f"{PROGRAM} serve {MOE} --host 127.0.0.1 --port {{port}} --device cpu --dtype float32"
    assert "HF_HOME" in os.environ
    with serve(Parameters(serve=command)) as endpoint:
        asked(endpoint)
        (bare,) = say(endpoint, ["<|im_start|>user\n12+7<|im_end|>\n<|im_start|>assistant\n"], "completions")
        assert (bare.response, bare.status) == ("19", "ok")
    assert endpoint.pid is not None
    assert not psutil.pid_exists(endpoint.pid)
