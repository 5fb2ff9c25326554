"""What a reader is sent, byte by byte, and how long each step of it may take."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipw.clock import now_ns
from ipw.profilers.remote import requests, service
from ipw.profilers.remote.ring import Ring
from ipw.profilers.remote.service import NO_CHANNEL, Reader, Served, Service
from ipw.runs.readings import RECORD

TOKEN = "0123456789abcdef-for-a-test"


class Connection(socket.socket):
    """A connection that notes how long it is waited for."""

    def settimeout(self, value: float | None) -> None:
        self.__dict__.setdefault("waits_s", []).append(value)
        super().settimeout(value)


def answers(text: bytes, served: Served, *, closed: bool = True) -> tuple[bytes, list[float]]:
    """Send requests and nothing more. Returns what comes, and how long each step might have taken."""
    there, here = socket.socketpair()
    with there, Connection(fileno=here.detach()) as connection:
        there.sendall(text)
        there.shutdown(socket.SHUT_WR)
        server: Any = SimpleNamespace(served=served, closed=closed)
        Reader(connection, ("127.0.0.1", 1), server)
        connection.shutdown(socket.SHUT_RDWR)
        said = b"".join(iter(lambda: there.recv(65536), b""))
        return said, connection.__dict__["waits_s"]


@pytest.fixture
def served(machine: Any, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A machine, at a moment at which time stands still."""
    monkeypatch.setattr(requests, "monotonic", lambda: 0.0)
    return Served(machine.ring, machine.facts, "one", None)


def test_a_stranger_has_five_seconds_a_reader_a_minute_and_an_answer_ten_seconds(served: Served) -> None:
    said, waits_s = answers(b"GET /v1/clock HTTP/1.1\r\n\r\n" * 2, served)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert waits_s == [5.0, 10.0, 10.0, 60.0]  # both came at once: only the first was waited for, and a third
    assert b"Connection" not in said


@pytest.mark.parametrize(
    ("text", "status", "head", "count"),
    [
        (b"GET /v1/clock HTTP/1.1\r\nConnection: Close", b"200 OK", b"Connection: close\r\n", 1),
        (b"GET /else HTTP/1.1", b"404 Not Found", b"", 2),
        (b"GET /else HTTP/1.1\r\nConnection: close", b"404 Not Found", b"Connection: close\r\n", 1),
        (b"POST /v1/clock HTTP/1.1", b"405 Method Not Allowed", b"Connection: close\r\n", 1),
        (b"GET /v1/clock HTTP/1.1\r\nHost: a.test", b"403 Forbidden", b"Connection: close\r\n", 1),
        (b"GET /v1/clock", b"400 Bad Request", b"Connection: close\r\n", 1),
        (b"GET / HTTP/1.1\r\nContent-Length: 3", b"413 Content Too Large", b"Connection: close\r\n", 1),
        (b"GET /" + b"x" * 9000, b"431 Request Header Fields Too Large", b"Connection: close\r\n", 1),
    ],
)
def test_an_answer_says_whether_the_connection_goes_on_and_it_does(
    text: bytes, status: bytes, head: bytes, count: int, served: Served
) -> None:
    said, _ = answers((text + b"\r\n\r\n") * 2, served)
    first, _, body = said.partition(b"\r\n\r\n")
    length = len(body.partition(b"HTTP/1.1")[0])
    assert first + b"\r\n" == (
        b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        b"Content-Length: %d\r\n" % length + head
    )
    assert said.count(b"HTTP/1.1 " + status) == count
    assert json.loads(body[:length]).keys() == ({"now_ns"} if status == b"200 OK" else {"error"})


def test_who_has_no_token_is_told_which_kind_is_wanted(served: Served) -> None:
    wanting = served._replace(token=TOKEN)
    assert (
        b"\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\n\r\n" in answers(b"GET / HTTP/1.1\r\n\r\n", wanting)[0]
    )
    for told, status in ((f"Bearer  {TOKEN} ", b"404"), (f"BEARER {TOKEN}", b"404"), (f"Token {TOKEN}", b"401")):
        text = f"GET /else HTTP/1.1\r\nAuthorization: {told}\r\nHost: a.test\r\n\r\n"
        assert answers(text.encode(), wanting)[0].startswith(b"HTTP/1.1 " + status)


def test_no_reader_who_names_no_host_is_turned_away(served: Served) -> None:
    for host, status in ((b"", b"200"), (b"[::1]", b"200"), (b"10.0.0.7:80", b"200"), (b"10.0.0.7.test", b"403")):
        assert answers(b"GET /v1/clock HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", served)[0][9:12] == status


def test_a_stream_says_where_it_begins_and_ends_without_more_where_nobody_serves_now(
    served: Served, machine: Any
) -> None:
    machine.read(3)
    said, waits_s = answers(b"GET /v1/readings?from=1 HTTP/1.1\r\n\r\n" * 2, served)
    assert said == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nCache-Control: no-store\r\n"
        b"Transfer-Encoding: chunked\r\nIpw-First: 1\r\nIpw-Instance: one\r\n\r\n"
    )
    assert waits_s == [5.0, 10.0]


@contextmanager
def streaming(url: str, number: int) -> Iterator[Any]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("GET", f"/v1/readings?from={number}")
        yield connection.getresponse()
    finally:
        connection.close()


def test_where_nothing_is_read_a_record_of_no_channel_says_that_the_machine_is_there(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BEAT_S", 0.02)
    with machine.up() as url:
        before_ns = now_ns()
        with streaming(url, 0) as response:
            records = [RECORD.unpack(response.read(RECORD.size)) for _ in range(3)]
            machine.read()
            while records[-1][2] == NO_CHANNEL:
                records.append(RECORD.unpack(response.read(RECORD.size)))
    *beats, (_, value, index, _, _) = records
    assert (value, index) == (1.0, 0)
    assert {beat[1:] for beat in beats} == {(0.0, NO_CHANNEL, 0, 0)}
    moments_ns = [before_ns, *(beat[0] for beat in beats), now_ns()]
    assert moments_ns == sorted(moments_ns)


def test_a_reader_that_is_overtaken_is_hung_up_on() -> None:
    waits_s: list[float] = []

    class Overtaken(Ring):
        """Of which the oldest readings go while they are asked for."""

        def since(self, number: int, seconds: float) -> tuple[int, bytes]:
            waits_s.append(seconds)
            for _ in range(20 if number else 0):
                self.add(1, 1.0, 0, 0, 0)
            self.flush()
            return super().since(number, seconds)

    ring = Overtaken(8)
    for k in range(4):
        ring.add(k, float(k), 0, 0, 0)
    ring.flush()
    said, _ = answers(b"GET /v1/readings?from=0 HTTP/1.1\r\n\r\n", Served(ring, dict, "one", None), closed=False)
    assert waits_s == [1.0, 1.0]
    chunk = b"%x\r\n" % (4 * RECORD.size)
    assert said.partition(b"\r\n\r\n")[2][: len(chunk)] == chunk
    assert said.count(b"\r\n") == 7 + 2  # of the head, and of one chunk


def test_a_service_listens_on_both_kinds_of_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    served = Served(Ring(4), dict, "one", None)
    for host in ("127.0.0.1", "::1"):
        try:
            service = Service((host, 0), served)
        except OSError:
            pytest.skip("no IPv6 on this machine")
        with service:
            assert service.server_address[0] == host
            assert not service.closed
        assert service.closed


def test_where_no_thread_can_be_started_the_connection_is_closed_and_the_next_is_served(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, refused = threading.Thread.start, [2]

    def start(thread: threading.Thread) -> None:
        if "process_request" in thread.name and refused[0]:
            refused[0] -= 1
            raise RuntimeError("can't start new thread")
        begin(thread)

    with machine.up() as url:
        monkeypatch.setattr(threading.Thread, "start", start)
        for turned_away in (True, True, False):
            parts = urlsplit(url)
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
            try:
                connection.request("GET", "/v1/clock")
                assert (connection.getresponse().status == 200) is not turned_away
            except (OSError, HTTPException):
                assert turned_away
            finally:
                connection.close()
