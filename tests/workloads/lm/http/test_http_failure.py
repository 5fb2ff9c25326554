"""Whether a question failed on its way, so that it may be asked again, or whether its answer is none."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate
from typing import Any

import pytest
from doubles.openai_server import Behaviour
from workloads.lm.http.test_client import LIMITS, answer, answers, nobody, raw_server

from ipw.workloads.lm.http.client import Limits
from ipw.workloads.lm.http.failure import retry_after_s

HURRIED = Limits(timeout_s=0.2, stall_s=0.1, max_tokens=16, temperature=0.0, seed=None)
TOKEN = b'data: {"choices":[{"delta":{"content":"4"}}]}\n\n'


@pytest.mark.parametrize(
    ("status", "failure"),
    [(status, "transport") for status in (408, 425, 429, 500, 502, 503, 504, 529)]
    + [(status, "answer") for status in (400, 401, 404, 413, 422)],
)
def test_a_status_says_whether_the_server_looked_at_the_question(status: int, failure: str) -> None:
    found = answer(Behaviour(status=status))
    assert (found.failure, found.http_status) == (failure, status)


@pytest.mark.parametrize(
    ("how", "failure", "limits"),
    [
        (Behaviour(["1", "2"]), None, LIMITS),
        (Behaviour(["1", "2"], fault="drop"), "transport", LIMITS),
        (Behaviour(["1", "2"], fault="reset"), "transport", LIMITS),
        (Behaviour(["1", "2"], fault="not-http"), "transport", LIMITS),
        (Behaviour(["1", "2"], fault="stall"), "transport", HURRIED),
        (Behaviour(["1", "2"], fault="no-headers"), "transport", HURRIED),
        (Behaviour(["1"] * 1000, token_s=0.01), "transport", HURRIED),
        (Behaviour(["1", "2"], fault="error-chunk"), "server", LIMITS),
        (Behaviour(["1", "2"], finish=False, done=False, usage=False), "answer", LIMITS),
    ],
)
def test_what_broke_on_the_way_is_told_from_what_the_server_ended_itself(
    how: Behaviour, failure: Any, limits: Limits
) -> None:
    assert answer(how, limits=limits).failure == failure


@pytest.mark.parametrize("came", [b"", TOKEN])
def test_a_body_that_only_the_connections_end_ends_may_have_been_cut(came: bytes) -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + came)

    with raw_server(respond) as url:
        assert answers(url, "2+2")[0].failure == "transport"


def test_without_a_server_there_is_no_status() -> None:
    with nobody() as url:
        found = answers(url, "2+2")[0]
    assert (found.failure, found.http_status) == ("transport", None)


def test_how_long_to_stay_away_is_read_from_the_answer() -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    with raw_server(respond) as url:
        assert answers(url, "2+2")[0].retry_after_s == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("120", 120.0), ("1.5", 1.5), ("-3", None), ("soon", None), ("", None), ("1e9", None), (None, None),
     ("\u0663", None), ("9" * 400, None)],
)  # fmt: skip
def test_seconds_are_read_and_all_else_is_unknown(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


def test_a_date_is_read_as_the_time_until_then_and_a_past_one_as_now() -> None:
    later = retry_after_s(formatdate(time.time() + 1000, usegmt=True))
    assert later is not None
    assert 900 < later <= 1000
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
