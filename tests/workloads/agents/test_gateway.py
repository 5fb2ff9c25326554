"""What goes through the gateway comes out as it went in, and is kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientSession, web
from workloads.agents.exchanges import (
    EXCHANGES,
    TOOLS,
    Exchange,
    ask,
    chunked,
    delta,
    head,
    parted,
    served,
    sse,
    with_length,
)

from ipw.workloads.agents.gateway.event_loop import served as on_the_loop
from ipw.workloads.agents.gateway.listener import Door, listening
from ipw.workloads.agents.gateway.recorder import LEFT, Recorder
from ipw.workloads.base import Counters, Progress
from ipw.workloads.lm.http.transport import SETTLE_S
from ipw.workloads.lm.http.url import ServerUrl

OF_THIS_HOP = {b"transfer-encoding", b"connection", b"keep-alive", b"trailer"}


class Books:
    """A journal and a file of arrivals in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.blocks = b""

    def append_fields(self, kind: str, fields: str) -> None:
        self.text += fields
        self.lines.append((kind, json.loads("{" + fields + "}")))

    def append(self, blocks: bytes) -> int:
        self.blocks += blocks
        return len(self.blocks) - len(blocks)

    @property
    def only(self) -> dict[str, Any]:
        ((kind, record),) = self.lines
        assert kind == "query"
        return record


@asynccontextmanager
async def gateway(
    port: int, books: Books, door: Door | None = None, progress: Progress = lambda _counters: None
) -> AsyncIterator[int]:
    recorder = Recorder(books, books, progress)
    server = ServerUrl(False, "127.0.0.1", port, "/v1")
    async with listening(door or Door(), server, recorder) as (_, own):
        yield own


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)  # as where it is not installed
    else:
        pytest.importorskip("uvloop")


def run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await work

    on_the_loop(limited())


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_an_answer_through_the_gateway_is_the_servers_own(exchange: Exchange) -> None:
    async def compare() -> None:
        async with served(exchange.answer) as server, gateway(server.port, Books()) as port:
            direct, through = await ask(server.port, exchange), await ask(port, exchange)
            assert through.status_line == direct.status_line
            assert through.body == direct.body
            unframed = not {n.lower() for n, _ in direct.headers} & {b"content-length", b"transfer-encoding"}
            assert through.whole == (direct.whole or unframed)
            kept = [(n, v) for n, v in through.headers if n.lower() not in OF_THIS_HOP]
            sent = [(n, v) for n, v in direct.headers if n.lower() not in OF_THIS_HOP]
            assert sorted(kept) == sorted(sent)
            mine, theirs = server.heard
            assert (theirs.line, theirs.body) == (mine.line, mine.body)
            assert theirs.headers == mine.headers

    run(compare())


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.name)
def test_an_answer_over_a_connection_that_was_kept_is_the_servers_own(exchange: Exchange) -> None:
    books = Books()

    async def compare() -> None:
        async with served(exchange.answer) as server, gateway(server.port, books) as port:
            direct = await ask(server.port, exchange)
            first = await asyncio.gather(*(ask(port, exchange) for _ in range(3)))  # each over one of its own
            await asyncio.sleep(3 * SETTLE_S)
            again = await asyncio.gather(*(ask(port, exchange) for _ in range(2)))
            assert {got.body for got in (*first, *again)} == {direct.body}
            assert {got.status_line for got in again} == {direct.status_line}
            assert {got.whole for got in again} == {got.whole for got in first}
            assert {tuple(got.headers) for got in again} == {tuple(got.headers) for got in first}
            assert len(server.heard) == 6
            assert {(heard.line, heard.body) for heard in server.heard} == {
                (server.heard[0].line, server.heard[0].body)
            }

    run(compare())
    assert len(books.lines) == 5


def test_a_piece_is_passed_on_before_the_next_is_written() -> None:
    first, second = sse(delta("one")), sse(delta("two"))

    async def wait() -> None:
        answer = [*chunked(first)[:2], 30.0, *chunked(second)[1:]]
        async with served(answer) as server, gateway(server.port, Books()) as port:
            got = await ask(port, EXCHANGES[0], until=lambda data: first in data)
            assert got.body.startswith(first)

    run(wait())


def test_a_client_that_leaves_ends_its_request_at_the_server_too_and_is_kept() -> None:
    books = Books()

    async def leave() -> None:
        first = sse(delta("one"))
        async with served([*chunked(first)[:2], 30.0]) as server, gateway(server.port, books) as port:
            await ask(port, EXCHANGES[0], until=lambda data: first in data)
            await server.left.wait()

    run(leave())
    assert (books.only["status"], books.only["error"], books.only["response"]) == ("error", LEFT, "one")


def test_a_server_that_is_not_there_is_told_as_a_bad_gateway() -> None:
    books = Books()

    async def nobody() -> None:
        async with served([]) as server:
            closed = server.port
        async with gateway(closed, books) as port:
            got = await ask(port, EXCHANGES[0])
            assert got.status_line.startswith(b"HTTP/1.1 502")
            assert b"connection" in json.loads(got.body)["error"]["message"].encode()

    run(nobody())
    assert books.only["failure"] == "transport"
    assert books.only["query_id"] != "other"  # what was asked is known, so that a later try is known as one
    assert books.only["agent"]["messages"]


def test_a_client_that_asks_for_a_word_before_it_sends_gets_it() -> None:
    async def wait() -> None:
        async with served(with_length(b"{}")) as server, gateway(server.port, Books()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/responses HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"{}")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            assert server.heard[0].body == b"{}"

    run(wait())


def test_many_requests_share_a_connection() -> None:
    books = Books()

    async def several() -> None:
        answer = with_length(b'{"choices": [{"message": {"content": "hi"}}]}')
        async with served(answer) as server, gateway(server.port, books) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(3):
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(45)
            writer.close()

    run(several())
    assert [record["status"] for _, record in books.lines] == ["ok"] * 3


def test_what_was_asked_and_answered_is_kept_with_its_calls_and_tokens() -> None:
    books = Books()
    body = {"model": "m", "messages": [{"role": "user", "content": "1 + 2"}], "stream": True}

    async def asked() -> None:
        async with served(chunked(TOOLS)) as server, gateway(server.port, books) as port:
            exchange = Exchange("", [], body=json.dumps(body).encode(), target="/t/sum%201/v1/chat/completions")
            await ask(port, exchange, ["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
            assert server.heard[0].line == "POST /v1/chat/completions HTTP/1.1"

    run(asked())
    record = books.only
    assert (record["status"], record["prompt_tokens"], record["completion_tokens"]) == ("ok", 9, 7)
    assert record["finish_reason"] == "tool_calls"
    agent = record["agent"]
    assert (agent["task"], agent["model"], agent["api"]) == ("sum 1", "m", "chat")
    assert agent["said"][3][0][:2] == ["call_1", "add"]
    assert agent["trace"]
    assert "0af7651916cd43dd8448eb211c80319c" not in books.text
    assert "1 + 2" not in books.text


@pytest.mark.parametrize("header", ["Authorization: Bearer %s", "x-api-key: %s", "api-key: %s", "Cookie: s=%s"])
def test_a_key_goes_through_and_is_in_no_record_even_if_the_server_says_it(header: str) -> None:
    books, key = Books(), 'sk-abc"def0123456789'
    said = f"s={key}" if "Cookie" in header else key

    async def asked() -> None:
        answer = with_length(json.dumps({"choices": [{"message": {"content": f"your key is {said}"}}]}).encode())
        async with served(answer) as server, gateway(server.port, books) as port:
            await ask(port, EXCHANGES[0], [header % key])
            assert key in str(server.heard[0].headers)

    run(asked())
    assert "def0123456789" not in books.text


def test_a_key_in_the_address_is_in_no_record_either() -> None:
    books = Books()

    async def asked() -> None:
        answer = with_length(b'{"choices": [{"message": {"content": "it was abcdefgh-1"}}]}')
        async with served(answer) as server, gateway(server.port, books) as port:
            await ask(port, Exchange("", [], target="/v1/chat/completions?api_key=abcdefgh-1&key=zyxwvuts9"))
            assert "abcdefgh-1" in server.heard[0].line

    run(asked())
    assert "abcdefgh-1" not in books.text
    assert books.only["response"] == "it was [secret]"


def test_what_is_not_understood_is_timed_without_what_its_address_holds() -> None:
    books = Books()

    async def asked() -> None:
        async with served(with_length(b"{}")) as server, gateway(server.port, books) as port:
            exchange = Exchange(
                "", [], method="GET", target="/v1/files/sk-0123456789abcdef0123?key=abcdefgh1", body=b""
            )
            await ask(port, exchange)

    run(asked())
    ((kind, span),) = books.lines
    assert (kind, span["name"], span["phase"]) == ("span", "GET /v1/files/…", "passed")


def test_others_than_this_machine_come_in_with_a_token_alone() -> None:
    from ipw.errors import UsageError

    Door(host="127.0.0.1").check()
    Door(host="::1").check()
    Door(host="0.0.0.0", token="secret-token").check()
    for host in ("0.0.0.0", "192.168.1.2", "::", "example.org", "127.0.0.1.evil.org"):
        with pytest.raises(UsageError, match="token"):
            Door(host=host).check()


@pytest.mark.parametrize(
    ("header", "status", "passed"),
    [
        ("x-ipw-token: the-token", b"200", None),
        ("Authorization: Bearer the-token", b"200", "Bearer the-key"),
        ("x-api-key: the-token", b"200", "the-key"),
        ("Authorization: Bearer other", b"401", None),
        ("X-Other: the-token", b"401", None),
    ],
)
def test_a_token_lets_in_and_goes_no_further(header: str, status: bytes, passed: str | None) -> None:
    books = Books()

    async def asked() -> None:
        door = Door(token="the-token", key="the-key")
        async with served(with_length(b"{}")) as server, gateway(server.port, books, door) as port:
            got = await ask(port, EXCHANGES[0], [header])
            assert got.status_line.split(b" ")[1] == status
            assert "the-token" not in str(server.heard) or status == b"401"
            if passed:
                assert passed in [value for _, value in server.heard[0].headers]
            assert len(server.heard) == (status == b"200")

    run(asked())
    assert "the-token" not in books.text


def test_a_slow_client_holds_the_server_up_and_loses_nothing() -> None:
    whole = b"z" * (24 << 20)

    async def slow() -> None:
        answer = [head("200 OK", f"Content-Length: {len(whole)}"), whole]
        async with served(answer) as server, gateway(server.port, Books()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.2)
            assert len(await reader.readexactly(len(whole))) == len(whole)
            writer.close()

    run(slow())


def test_progress_counts_what_was_answered() -> None:
    seen: list[Counters] = []
    books = Books()

    async def asked() -> None:
        async with served(chunked(TOOLS)) as server, gateway(server.port, books, progress=seen.append) as port:
            await ask(port, EXCHANGES[0])

    run(asked())
    assert (seen[0].done, seen[0].tokens, seen[0].errors) == (1, 7, 0)


def test_another_protocol_goes_both_ways_as_it_is() -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
        return socket

    async def speak() -> None:
        app = web.Application()
        app.router.add_get("/v1/realtime", echo)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        books = Books()
        try:
            async with (
                gateway(runner.addresses[0][1], books) as port,
                ClientSession() as session,
                session.ws_connect(f"http://127.0.0.1:{port}/v1/realtime?model=m") as socket,
            ):
                for word in ("one", "z" * 100_000):
                    await socket.send_str(word)
                    assert await socket.receive_str() == f"heard {word}"
        finally:
            await runner.cleanup()
        assert [(kind, record["name"]) for kind, record in books.lines] == [("span", "GET /v1/realtime")]

    run(speak())


def test_a_body_that_comes_in_chunks_and_a_client_of_old_are_served() -> None:
    async def asked() -> None:
        async with served(chunked(TOOLS)) as server, gateway(server.port, Books()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
            )
            await reader.readuntil(b"0\r\n\r\n")
            writer.close()
            assert server.heard[0].body == b"{}"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
            _, headers, body = parted(await reader.read())
            assert body == TOOLS
            assert b"transfer-encoding" not in {name.lower() for name, _ in headers}
            writer.close()

    run(asked())


def _brotli(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


def _zstd(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").compress(data))


@pytest.mark.parametrize(
    ("name", "pack"), [("br", _brotli), ("zstd", _zstd), ("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_an_answer_in_a_coding_that_the_client_asked_for_is_passed_on_and_read(
    name: str, pack: Callable[[bytes], bytes]
) -> None:
    books = Books()
    packed = pack(sse(delta("he"), delta("llo"), delta("", finish_reason="stop"), "[DONE]"))
    asked = Exchange(
        "packed", chunked(packed[:9], packed[9:20], packed[20:]), headers=(f"Content-Encoding: {name}",),
        body=pack(b'{"messages": [{"role": "user", "content": "hi"}], "model": "m"}'),
    )  # fmt: skip
    coded = [head("200 OK", f"Content-Encoding: {name}", "Transfer-Encoding: chunked"), *asked.answer[1:]]

    async def compare() -> None:
        async with served(coded) as server, gateway(server.port, books) as port:
            through = await ask(port, asked)
            assert through.body == packed
            assert server.heard[0].body == asked.body

    run(compare())
    assert (books.only["status"], books.only["response"], books.only["agent"]["model"]) == ("ok", "hello", "m")


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_a_coding_that_no_package_here_undoes_is_passed_on_and_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("brotli", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    books = Books()
    exchange = Exchange("packed", with_length(b"\x00" * 20, "200 OK", f"Content-Encoding: {name}"))

    async def compare() -> None:
        async with served(exchange.answer) as server, gateway(server.port, books) as port:
            assert (await ask(port, exchange)).body == b"\x00" * 20

    run(compare())
    assert f"compressed as {name}, which" in books.only["error"]
    assert "pip install" in books.only["error"]
