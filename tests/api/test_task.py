"""`ipw.task` names the task of requests, to the gateway alone, whichever client sends them and however many at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, serving

import ipw
from ipw.api.task import _header
from ipw.errors import UsageError
from ipw.variables import TASK_HEADER

aiohttp = pytest.importorskip("aiohttp")
openai = pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none-needed")


def test_every_client_names_the_task_that_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    def behave(request: Request) -> Behaviour:
        seen.append((request.prompt, request.headers.get(TASK_HEADER)))
        return Behaviour(streamed=False)

    async def asked(url: str) -> None:
        client = openai.AsyncOpenAI(base_url=url)

        async def one(name: str) -> None:
            with ipw.task(name):
                await client.chat.completions.create(model="m", messages=[{"role": "user", "content": name}])

        await asyncio.gather(*(one(f"t {i}") for i in range(5)))
        await client.close()
        async with aiohttp.ClientSession() as session:
            body = {"messages": [{"role": "user", "content": "aio"}]}
            with ipw.task("aio"):
                await (await session.post(f"{url}/chat/completions", json=body)).read()

    with serving(behave) as server:
        monkeypatch.setenv("IPW_GATEWAY_URL", server.url.removesuffix("/v1"))
        asyncio.run(asked(server.url))
        with ipw.task("sync"), openai.OpenAI(base_url=server.url) as client:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "sync"}])
        with openai.OpenAI(base_url=server.url) as client:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "nobody"}])
    assert dict(seen) == {**{f"t {i}": f"t {i}" for i in range(5)}, "aio": "aio", "sync": "sync",
                          "nobody": None}  # fmt: skip


@pytest.mark.parametrize("name", [5, None, b"sum", ["sum"], "", " "])
def test_a_name_that_is_no_text_or_empty_is_refused_in_one_line(name: Any) -> None:
    with pytest.raises(UsageError, match="name"), ipw.task(name):
        pass


def test_headers_that_a_client_sends_several_times_stay_and_its_own_task_is_not_overruled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aiohttp import web

    seen: list[tuple[list[str], list[str]]] = []

    async def told(request: web.Request) -> web.Response:
        seen.append((request.headers.getall("X-Tag", []), request.headers.getall(TASK_HEADER, [])))
        return web.Response()

    async def asked() -> None:
        app = web.Application()
        app.router.add_get("/", told)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        monkeypatch.setenv("IPW_GATEWAY_URL", url)
        async with aiohttp.ClientSession() as session:
            with ipw.task("a"):
                for headers in ([("X-Tag", "1"), ("X-Tag", "2")], {"X-IPW-Task": "mine"}, None):
                    await (await session.get(f"{url}/", headers=headers)).read()
        await runner.cleanup()

    asyncio.run(asked())
    assert seen == [(["1", "2"], ["a"]), ([], ["mine"]), ([], ["a"])]


def test_others_than_the_gateway_are_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_GATEWAY_URL", "http://127.0.0.1:1234")
    with ipw.task("a"):
        assert _header("http://127.0.0.1:1234/v1/x") == "a"
        assert _header("https://api.example.org/v1/x") is None


def test_tasks_nest_and_a_name_is_sent_in_letters_that_headers_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_GATEWAY_URL", "http://127.0.0.1:1234")
    with ipw.task("außen") as outer:
        with ipw.task("b"):
            assert _header("http://127.0.0.1:1234/") == "b"
        assert _header("http://127.0.0.1:1234/") == outer[TASK_HEADER] == "au%C3%9Fen"
    assert _header("http://127.0.0.1:1234/") is None


@pytest.mark.parametrize("name", ["", " \t"])
def test_a_task_needs_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="name"), ipw.task(name):
        pass


def test_without_a_gateway_no_client_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPW_GATEWAY_URL", raising=False)
    before: Any = aiohttp.ClientSession._request
    with ipw.task("a"):
        assert aiohttp.ClientSession._request is before


def test_a_name_that_no_text_can_be_encoded_with_is_a_name_all_the_same() -> None:
    with ipw.task("file-\udcff") as header:
        assert header[TASK_HEADER] == "file-%3F"
