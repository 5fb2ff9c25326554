from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from doubles.openai_server import Behaviour, serving
from doubles.patience import wait_for
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.lm.http import reply
from ipw.workloads.lm.http.client import Limits, ask, server_models
from ipw.workloads.lm.http.reply import Answer, gaps_us
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import server_url

LIMITS = Limits(timeout_s=10, stall_s=5, max_tokens=16, temperature=0.0, seed=None)


def answers(
    url: str, *prompts: str, limits: Limits = LIMITS, key: str | None = None, pause_s: float = 0.0
) -> list[Answer]:
    """Ask one question after the other over one transport, with a pause after each."""

    async def talk() -> list[Answer]:
        found = []
        async with Transport(server_url(url), key) as transport:
            for prompt in prompts:
                found.append(await ask(transport, "stand-in", prompt, limits, key))
                await asyncio.sleep(pause_s)
        return found

    return asyncio.run(talk())


def answer(how: Behaviour, **options: Any) -> Answer:
    with serving(how) as server:
        return answers(server.url, "2+2", **options)[0]


@contextmanager
def raw_server(respond: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by hand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                respond(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(120)


@contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses connections, and that no other program takes meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_an_answer_is_kept_with_its_counts_and_times() -> None:
    with serving(Behaviour(["1", "2"], prefill_s=0.05, token_s=0.05, prompt_tokens=7, cached_tokens=2)) as server:
        (found,) = answers(server.url, "6+6")
        (book,) = server.books
    assert (found.status, found.error, found.response, found.finish_reason) == ("ok", None, "12", "stop")
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == (7, 2, 2)
    assert found.tokens_source == "usage"
    assert book.first_token_ns is not None
    assert book.end_ns is not None
    assert found.first_token_ns is not None
    assert found.start_ns <= book.received_ns <= book.first_token_ns <= found.first_token_ns
    assert book.first_token_ns <= book.end_ns <= found.end_ns


def test_what_was_asked_for_is_sent() -> None:
    with serving() as server:
        answers(server.url, "é", limits=Limits(timeout_s=9, stall_s=9, max_tokens=5, temperature=0.5, seed=3))
        answers(server.url, "é", limits=Limits(timeout_s=9, stall_s=9, max_tokens=None, temperature=0.0, seed=None))
        full, sparse = (book.body for book in server.books)
    assert full["messages"] == [{"role": "user", "content": "é"}]
    assert (full["model"], full["max_tokens"], full["temperature"], full["seed"]) == ("stand-in", 5, 0.5, 3)
    assert full["stream"] is True
    assert full["stream_options"] == {"include_usage": True}
    assert not {"max_tokens", "seed"} & set(sparse)


def test_a_plain_completion_sends_the_bare_prompt_and_is_read_alike() -> None:
    plain = replace(LIMITS, api="completions")
    with serving(Behaviour(["1", "2"], token_s=0.01)) as server:
        (found,) = answers(server.url, "6+6=", limits=plain)
        (book,) = server.books
    assert book.body["prompt"] == "6+6="
    assert "messages" not in book.body
    assert (found.status, found.response, found.completion_tokens, found.tokens_source) == ("ok", "12", 2, "usage")
    assert found.first_token_ns is not None


def test_gaps_between_tokens_are_counted_by_their_length() -> None:
    found = answer(Behaviour(["x"] * 9, token_s=0.02, prefill_s=0.05))
    assert found.first_token_ns is not None
    assert found.last_token_ns is not None
    assert sum(found.itl_counts) == 8
    total_us = sum(gap * count for gap, count in zip(found.itl_us, found.itl_counts, strict=True))
    assert total_us * 1000 == pytest.approx(found.last_token_ns - found.first_token_ns, rel=0.01)
    assert found.itl_us == sorted(set(found.itl_us))


@given(gaps=st.lists(st.integers(0, 10**11), max_size=50))
def test_counted_gaps_are_exact_to_half_a_percent(gaps: list[int]) -> None:
    counted = gaps_us(list(accumulate(gaps, initial=1)))
    assert counted.total() == len(gaps)
    kept = sorted(counted.elements())
    for gap, length in zip(sorted(gaps), kept, strict=True):
        assert abs(gap / 1000 - length) <= max(1, 0.00501 * gap / 1000)
        assert len(str(length).rstrip("0")) <= 3


def test_connections_are_used_again() -> None:
    with serving() as server:
        assert {found.status for found in answers(server.url, *"abcdefgh", pause_s=0.03)} == {"ok"}
        assert server.connections == 1


@pytest.mark.parametrize("pause_s", [0.0, 0.03])
@pytest.mark.parametrize("promise", [True, False])
def test_a_server_that_closes_connections_gets_and_answers_every_question_once(promise: bool, pause_s: float) -> None:
    with serving(Behaviour(keep_alive=False, promise=promise)) as server:
        assert [found.status for found in answers(server.url, *"abcde", pause_s=pause_s)] == ["ok"] * 5
        assert "".join(book.prompt for book in server.books) == "abcde"


def test_without_usage_the_chunks_are_counted_and_marked_as_such() -> None:
    found = answer(Behaviour(["1", "2", "3"], usage=False))
    assert (found.completion_tokens, found.tokens_source, found.prompt_tokens) == (3, "counted", None)


def test_a_stream_may_end_without_done() -> None:
    assert answer(Behaviour(done=False)).status == "ok"


def test_a_stream_that_only_stops_was_broken_off() -> None:
    found = answer(Behaviour(["1", "2"], done=False, finish=False, usage=False))
    assert (found.status, found.error, found.response) == ("error", "the stream broke off", "12")


def test_an_empty_answer_is_an_answer_without_a_first_token() -> None:
    found = answer(Behaviour([]))
    assert (found.status, found.response, found.first_token_ns, found.completion_tokens) == ("ok", "", None, 0)


def test_an_answer_that_was_not_streamed_has_no_moment_of_a_first_token() -> None:
    found = answer(Behaviour(["1", "2"], reasoning=["hm"], streamed=False))
    assert (found.status, found.response, found.reasoning, found.first_token_ns) == ("ok", "12", "hm", None)
    assert found.tokens_source == "usage"


def test_thinking_is_kept_apart_whoever_parts_it() -> None:
    by_server = answer(Behaviour(["4"], reasoning=["2 and ", "2"]))
    assert (by_server.response, by_server.reasoning) == ("4", "2 and 2")
    for text in ("<think>2 and 2</think>\n\n4", "2 and 2\n</think>4"):
        in_text = answer(Behaviour([text]))
        assert (in_text.response, in_text.reasoning) == ("4", "2 and 2")
    cut_off = answer(Behaviour(["<think>2 and"]))
    assert (cut_off.response, cut_off.reasoning) == ("", "2 and")
    assert answer(Behaviour(["I <think> so </think>"])).response == "I <think> so </think>"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refusal_is_an_error_in_the_servers_words(status: int) -> None:
    found = answer(Behaviour(status=status))
    assert (found.status, found.error) == ("error", f"HTTP {status}: told to say {status}")
    assert found.end_ns >= found.start_ns


def test_after_a_refusal_the_next_question_is_asked_over_the_same_connection() -> None:
    with serving(lambda request: Behaviour(status=503 if request.number == 0 else 200)) as server:
        assert [found.status for found in answers(server.url, "a", "b", pause_s=0.03)] == ["error", "ok"]
        assert server.connections == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drop", "closed"),
        ("reset", "closed|reset"),
        ("garbage", "not a JSON"),
        ("error-chunk", "out of memory"),
        ("not-http", "does not speak HTTP"),
    ],
)
def test_a_fault_is_an_error_and_what_came_before_it_is_kept(fault: Any, error: str) -> None:
    found = answer(Behaviour(["1", "2", "3"], token_s=0.001, fault=fault, fault_after=2))
    assert found.status == "error"
    assert found.error is not None
    assert re.search(error, found.error)
    assert found.response == ("12" if fault in ("drop", "garbage", "error-chunk") else "")


def test_a_stream_that_stalls_is_a_timeout() -> None:
    found = answer(
        Behaviour(["1", "2", "3"], fault="stall", fault_after=2),
        limits=Limits(timeout_s=60, stall_s=1, max_tokens=16, temperature=0.0, seed=None),
    )
    assert (found.status, found.response) == ("timeout", "12")
    assert found.error is not None
    assert "nothing came for 1 s" in found.error
    assert found.end_ns - found.start_ns < 60e9


@pytest.mark.parametrize("how", [Behaviour(fault="no-headers"), Behaviour(["1"] * 1000, token_s=0.01)])
def test_a_request_that_takes_too_long_is_a_timeout_even_if_something_always_comes(how: Behaviour) -> None:
    found = answer(how, limits=Limits(timeout_s=0.3, stall_s=5, max_tokens=16, temperature=0.0, seed=None))
    assert (found.status, found.error) == ("timeout", "no whole answer within 0.3 s")


def test_a_long_prefill_is_no_stall() -> None:
    found = answer(
        Behaviour(prefill_s=1.2),
        limits=Limits(timeout_s=60, stall_s=1, max_tokens=16, temperature=0.0, seed=None),
    )
    assert found.status == "ok"


def test_an_answer_of_ten_megabytes_is_kept_whole() -> None:
    assert answer(Behaviour(["x" * 1_000_000] * 10)).response == "x" * 10_000_000


def test_an_answer_longer_than_any_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "MAX_BYTES", 1 << 20)
    found = answer(Behaviour(["x" * 500_000] * 10))
    assert (found.status, found.error) == ("error", "the answer is longer than 1 MiB")
    assert len(found.response) <= 1 << 20


def test_characters_that_come_in_two_chunks_are_joined_and_halves_are_replaced() -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        chunks = [b'"\\ud83d"', b'"\\ude00"', b'"\\ud800!"']
        body = b"".join(b'data: {"choices":[{"delta":{"content":%s}}]}\n\n' % chunk for chunk in chunks)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body + b"data: [DONE]\n\n")

    with raw_server(respond) as url:
        assert answers(url, "?")[0].response == "\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}!"


def test_no_server_is_an_error_of_the_query() -> None:
    with nobody() as url:
        found = answers(url, "2+2")[0]
    assert (found.status, found.error) == ("error", "the connection failed: connection refused")


def test_a_page_of_some_other_program_is_no_answer() -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>\x1b[31mhello</html>")

    with raw_server(respond) as url:
        found = answers(url, "?")[0]
    assert (found.status, found.error) == ("error", "the answer holds no completion: a page of HTML: [31mhello")


def test_an_error_message_is_one_printable_line_of_bounded_length() -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 500 X\r\n\r\n\x1b[31mTraceback:\n  File" + b" x" * 10_000)

    with raw_server(respond) as url:
        error = answers(url, "?")[0].error
    assert error is not None
    assert error.startswith("HTTP 500: [31mTraceback: File x x")
    assert error.isprintable()
    assert len(error) <= reply.MAX_ERROR


def test_the_key_goes_into_a_header_and_an_echo_of_it_is_blotted_out() -> None:
    key = "sk-0123456789abcdef"
    with serving(lambda request: Behaviour([request.headers["authorization"]])) as server:
        (found,) = answers(server.url, "?", key=key)
        assert server.books[0].authorization == f"Bearer {key}"
    assert found.response == "Bearer [secret]"


def test_cancelling_a_question_closes_its_connection() -> None:
    with serving(Behaviour(["x"] * 1000, token_s=0.01)) as server:

        async def cancel() -> None:
            async with Transport(server_url(server.url)) as transport:
                task = asyncio.create_task(ask(transport, None, "?", LIMITS))
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(cancel())
        wait_for(lambda: server.books[0].end_ns)
        assert server.books[0].completion_tokens < 1000


def test_models_are_those_that_the_server_lists() -> None:
    async def listed(url: str) -> list[str] | None:
        async with Transport(server_url(url)) as transport:
            return await server_models(transport)

    with serving(models=["a", "b"]) as server:
        assert asyncio.run(listed(server.url)) == ["a", "b"]
        assert asyncio.run(listed(server.url + "/elsewhere")) is None
    with serving(models=["\x1b[31m", "x" * 1000, "a"]) as server:
        assert asyncio.run(listed(server.url)) == ["a"]
    with serving(models=None) as server:
        assert asyncio.run(listed(server.url)) is None
