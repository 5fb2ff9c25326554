"""The reader's side, against what any program may answer: what is believed, and what is told of the rest."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import IncompleteRead
from itertools import pairwise
from typing import Any

import pytest
from doubles.exporter import answering

from ipw.profilers.base import SensorError
from ipw.profilers.remote import link as link_module
from ipw.profilers.remote.link import Link, Trip, told_of
from ipw.profilers.remote.where import where_of
from ipw.runs.readings import RECORD

RECORDS = [RECORD.pack(1000 + k, float(k), k % 3, 0, 7) for k in range(9)]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nIpw-First: 5\r\nIpw-Instance: one\r\n\r\n"


@contextmanager
def saying(*connections: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve connections one after the other: say each piece once the piece before it was sent, then close."""
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for pieces in connections:
            with listener.accept()[0] as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                heard.append(connection.recv(4096))
                for piece in pieces:
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        thread.join(60)


def linked(url: str, token: str | None = None) -> Link:
    return Link(where_of(url, 1, credentials=""), token)


def failure(ask: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(SensorError) as told:
        ask()
    return told.value.status, told.value.reason.partition(": ")[2] or told.value.reason.partition(" ")[2]


@pytest.mark.parametrize("body", ["{}", "[]", "<html>", "", '{"service": "else"}', "5", '{"service": null}'])
def test_what_is_another_service_is_told(body: str) -> None:
    with answering(lambda *_: (200, body)) as url, linked(url) as link:
        assert failure(link.channels) == ("unsupported", "is not `ipw sensors serve`")
        if not body.startswith("{"):
            assert failure(link.trip) == ("unsupported", "is not `ipw sensors serve`")


def test_an_answer_of_more_than_four_mebibytes_is_read_no_further() -> None:
    for size, known in ((4 << 20, True), ((4 << 20) + 1, False)):
        text = '{"service": "ipw sensors", "x": "%s"}'
        body = text % ("y" * (size - len(text) + 2))
        with answering(lambda *_, body=body: (200, body)) as url, linked(url) as link:
            if known:
                assert link.channels()["x"]
            else:
                assert failure(link.channels) == ("unsupported", "is not `ipw sensors serve`")


@pytest.mark.parametrize("now_ns", [None, "5", True, -1, 2**62, 2.5])
def test_a_time_that_is_none_is_told(now_ns: object) -> None:
    with answering(lambda *_: (200, json.dumps({"now_ns": now_ns}))) as url, linked(url) as link:
        assert failure(link.trip) == ("lost", "tells no time")


@pytest.mark.parametrize("there_ns", [0, 2**62 - 1])
def test_a_trip_is_when_it_was_asked_the_time_there_and_when_the_answer_came(
    there_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([1000, 3000])
    monkeypatch.setattr(link_module, "now_ns", lambda: next(moments))
    with answering(lambda *_: (200, json.dumps({"now_ns": there_ns}))) as url, linked(url) as link:
        assert link.trip() == Trip(1000, there_ns, 3000)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, ("permission", link_module.REFUSED)),
        (403, ("permission", link_module.REFUSED)),
        (404, ("lost", "HTTP status 404")),
        (302, ("lost", "HTTP status 302")),
        (204, ("lost", "HTTP status 204")),
    ],
)
def test_a_status_other_than_200_is_told_and_the_next_question_is_asked_anew(
    status: int, told: tuple[str, str]
) -> None:
    asked: list[str | None] = []
    answers = iter([(status, ""), (200, '{"now_ns": 5}')])

    def answer(_path: str, headers: Any) -> tuple[int, str]:
        asked.append(headers.get("Authorization"))
        return next(answers)

    with answering(answer) as url, linked(url, "a-token") as link:
        assert failure(link.channels) == told
        assert link.trip().there_ns == 5
    assert asked == ["Bearer a-token"] * 2


@pytest.mark.parametrize("first", ["", "-1", "x", "1.5", "9" * 19, "\u0661"])
def test_a_number_of_a_first_reading_that_is_none_is_told(first: str) -> None:
    head = HEAD.replace(b"Ipw-First: 5", b"Ipw-First: " + first.encode())
    with saying([head]) as (url, _), linked(url) as link:
        assert failure(lambda: link.stream(5)) == ("unsupported", "tells no readings")


def test_a_stream_gives_whole_records_however_they_come_and_ends_with_the_connection() -> None:
    text = b"".join(RECORDS)
    cuts = [0, 10, 30, 31, 90, len(text)]
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    last = HEAD.replace(b": 5", b": " + b"9" * 18).replace(b"Ipw-Instance: one\r\n", b"")
    with saying([HEAD, *chunks, b"0\r\n\r\n"], [last]) as (url, heard), linked(url) as link:
        stream = link.stream(5)
        assert (stream.first, stream.instance) == (5, "one")
        blocks = list(stream.blocks)
        assert all(len(block) % RECORD.size == 0 for block in blocks)
        assert b"".join(blocks) == text
        other = link.stream(6)
        assert (other.first, other.instance) == (10**18 - 1, "")
    assert [each.partition(b" HTTP")[0] for each in heard] == [b"GET /v1/readings?from=5", b"GET /v1/readings?from=6"]


def test_a_stream_that_breaks_is_lost_and_what_came_whole_is_kept() -> None:
    block = b"".join(RECORDS[:2]) + RECORDS[2][:5]
    with saying([HEAD, b"%x\r\n%b\r\n" % (len(block), block), b"ff\r\nx"], [HEAD]) as (url, _), linked(url) as link:
        blocks, found = link.stream(5).blocks, list[bytes]()

        def take() -> None:
            found.extend(blocks)

        assert failure(take) == ("lost", "IncompleteRead")
        assert b"".join(found) == b"".join(RECORDS[:2])
        assert link.stream(5).first == 5


def test_a_question_waits_five_seconds_and_a_stream_four_without_a_byte() -> None:
    with saying([HEAD, *[b"%x\r\n%b\r\n" % (RECORD.size, each) for each in RECORDS]]) as (url, _), linked(url) as link:
        made = link._connected()
        assert made.timeout == 5.0
        stream = link.stream(5)
        assert link._connection is not None
        assert link._connection.sock.gettimeout() == 4.0
        assert next(stream.blocks)


def test_who_waits_for_an_answer_fails_as_the_other_thread_hangs_up_and_asks_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link, told = linked(f"http://127.0.0.1:{silent.getsockname()[1]}"), list[tuple[str, str]]()
        waiting = threading.Thread(target=lambda: told.append(failure(link.trip)))
        waiting.start()
        with silent.accept()[0] as connection:
            connection.recv(1000)
            link.hang_up()
            link.hang_up()
            waiting.join(60)
        assert told[0][0] == "lost"
        assert told[0][1] != "no answer"  # it did not wait for that
        assert failure(link.channels) == ("lost", "sensor is closed")
        assert failure(lambda: link.stream(0)) == ("lost", "sensor is closed")


def test_who_never_asked_can_hang_up_and_asks_nothing_then() -> None:
    link = linked("http://127.0.0.1:1")
    link.hang_up()
    assert failure(link.trip) == ("lost", "sensor is closed")
    link.close()


def test_what_went_wrong_is_told_in_a_few_words_without_secrets() -> None:
    certificate = ssl.SSLCertVerificationError(1, "certificate verify failed")
    certificate.verify_message = "self-signed certificate"
    assert told_of(certificate).startswith("its certificate is not trusted here (self-signed certificate)")
    assert told_of(TimeoutError(110, "Connection timed out")) == "no answer"
    assert told_of(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert told_of(ConnectionResetError()) == "ConnectionResetError"
    assert told_of(IncompleteRead(b"")) == "IncompleteRead"
