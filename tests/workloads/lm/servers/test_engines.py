from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest
from doubles.openai_server import serving
from doubles.patience import wait_for

from ipw.errors import IpwError, MissingExtraError, UsageError
from ipw.workloads.lm.http.client import ask
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers import engines
from ipw.workloads.lm.servers.endpoint import Endpoint, find_model
from ipw.workloads.lm.servers.engines import serve

DENSE = Path(str(files("ipw"))) / "data" / "dense-q8_0.gguf"


@pytest.fixture(autouse=True)
def _no_openai_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def entered(**options: Any) -> Endpoint:
    with serve(Parameters(**options)) as endpoint:
        return endpoint


def say(endpoint: Endpoint, *prompts: str) -> list[Answer]:
    async def talk() -> list[Answer]:
        async with Transport(endpoint.url) as transport:
            limits = Parameters(max_tokens=8).limits()
            return list(await asyncio.gather(*(ask(transport, endpoint.model, prompt, limits) for prompt in prompts)))

    return asyncio.run(talk())


# --- a server that is there ------------------------------------------------------------------------------------------


def test_a_named_model_is_looked_for_in_the_servers_list() -> None:
    with serving(models=["a", "b:latest"]) as server:
        assert entered(base_url=server.url, model="a").model == "a"
        assert entered(base_url=server.url, model="b").model == "b:latest"
        with pytest.raises(IpwError, match=r"has no model 'c'; it has a, b:latest") as caught:
            entered(base_url=server.url, model="c")
    assert caught.value.exit_code == 5


def test_without_a_name_the_only_model_is_meant() -> None:
    with serving(models=["a"]) as server:
        assert entered(base_url=server.url).model == "a"
    with serving(models=["a", "b"]) as server, pytest.raises(UsageError, match="several models: a, b"):
        entered(base_url=server.url)


def test_a_server_that_lists_nothing_is_believed() -> None:
    with serving(models=None) as server:
        assert entered(base_url=server.url, model="c").model == "c"


def test_no_server_is_told_with_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        gone = server.url
    monkeypatch.setenv("OPENAI_BASE_URL", gone)
    with pytest.raises(IpwError, match=f"no server at {gone}: connection refused") as caught:
        entered()
    assert caught.value.exit_code == 5
    assert "--base-url" in (caught.value.hint or "")


def test_the_key_is_taken_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-0123456789 ")
    with serving() as server:
        endpoint = entered(base_url=server.url)
    assert endpoint.key == "sk-0123456789"
    assert "sk-" not in repr(endpoint)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\nHost: evil")
    with pytest.raises(UsageError) as caught:
        entered(base_url=server.url)
    assert "evil" not in caught.value.message


@pytest.mark.parametrize("options", [{}, {"engine": "vroom", "model": "dense"}, {"engine": "llamacpp"}])
def test_nothing_to_ask_is_wrong_usage(options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        entered(**options)
    assert caught.value.hint


# --- llama.cpp -------------------------------------------------------------------------------------------------------


def test_a_bundled_model_is_served_and_asked_in_parallel() -> None:
    with serve(Parameters(model="dense", concurrency=3)) as endpoint:
        answers = say(endpoint, *["12+7"] * 5)
        assert endpoint.pid is not None
        assert psutil.pid_exists(endpoint.pid)
    assert [(a.status, a.response, a.completion_tokens) for a in answers] == [("ok", "19", 3)] * 5
    assert {a.cached_tokens for a in answers} == {0}
    assert all(a.first_token_ns is not None and a.start_ns <= a.first_token_ns <= a.end_ns for a in answers)
    assert (endpoint.facts["name"], endpoint.facts["quantisation"]) == ("dense", "q8_0")
    assert not psutil.pid_exists(endpoint.pid)


def test_any_gguf_is_served_under_its_name_and_not_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my model.gguf"
    path.write_bytes(DENSE.read_bytes())
    with serve(Parameters(model=str(path))) as endpoint:
        assert [a.status for a in say(endpoint, "12+7", "1+1")] == ["ok", "ok"]
        assert find_model(endpoint.url, None, None) == "my model"


def test_a_gguf_whose_weights_are_missing_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(DENSE.read_bytes()[:100_000])
    with pytest.raises(IpwError, match=r"llama\.cpp") as caught:
        entered(model=str(path))
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 5


def test_without_xllamacpp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="llamacpp"):
        entered(model="dense")


def test_the_server_ends_when_its_parent_is_killed() -> None:
    code = (
        "import time; from ipw.workloads.lm.servers.engines import serve\n"
        "from ipw.workloads.lm.parameters import Parameters\n"
        "with serve(Parameters(model='dense')) as e: print(e.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "its end")
