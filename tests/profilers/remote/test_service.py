"""What readers may ask of a machine, and what nobody can make of it."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipw.profilers.remote.service import MOST_CONNECTIONS, NO_CHANNEL
from ipw.runs.readings import RECORD

TOKEN = "0123456789abcdef-for-a-test"


def ask(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def raw(url: str, text: bytes, *, wait: bool = True) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 20) as connection, suppress(OSError):
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(200) if wait else b""
    return b""


@pytest.fixture
def url(machine: Any) -> Iterator[str]:
    with machine.up() as where:
        yield where


def test_a_reader_is_told_the_channels_the_time_and_what_is_kept(machine: Any, url: str) -> None:
    machine.read(3)
    status, told = ask(url, "/v1/channels")
    assert status == 200
    assert told["channels"] == machine.channels
    assert (told["oldest"], told["next"], told["instance"]) == (0, 3, "one")
    before = time.monotonic_ns()
    _, clock = ask(url, "/v1/clock")
    assert before <= clock["now_ns"] <= time.monotonic_ns()


def test_readings_come_as_they_are_on_disk_from_any_number_on_and_then_as_they_are_read(machine: Any, url: str) -> None:
    machine.read(5)
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    connection.request("GET", "/v1/readings?from=2")
    response = connection.getresponse()
    assert (response.getheader("Ipw-First"), response.getheader("Ipw-Instance")) == ("2", "one")
    found: list[float] = []
    asked = False
    while len(found) < 4:
        found += [
            value for _, value, index, *_ in RECORD.iter_unpack(response.read(RECORD.size)) if index != NO_CHANNEL
        ]
        if len(found) == 3 and not asked:
            asked = True
            machine.read()
    connection.close()
    assert found == [3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("asked", "first"), [("?from=99", "3"), ("?from=1", "1"), ("", "3"), ("?other=1", "3"), ("?from=", "3")]
)
def test_a_number_that_is_not_kept_or_not_there_yet_gives_the_nearest(
    machine: Any, url: str, asked: str, first: str
) -> None:
    machine.read(3)
    assert f"Ipw-First: {first}\r\n".encode() in raw(url, f"GET /v1/readings{asked} HTTP/1.1\r\n\r\n".encode())


@pytest.mark.parametrize("asked", ["-1", "x", "1e3", "9" * 30, "\u0661"])
def test_a_number_that_is_none_is_a_bad_request(url: str, asked: str) -> None:
    assert raw(url, f"GET /v1/readings?from={asked} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xff\xfe"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/channels", "/v1/readings", "/v1/clock", "/else"])
def test_without_the_token_nothing_is_told(machine: Any, headers: dict[str, str], path: str) -> None:
    with machine.up(token=TOKEN) as url:
        status, told = ask(url, path, **headers)
    assert status == 401
    assert told == {"error": "the token is missing or wrong"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9", 200),
        ("LOCALHOST", 200),
        ("[::1]:9", 200),
        ("evil.test", 403),
        ("localhost.evil.test:9321", 403),
        ("[", 403),
    ],
)
def test_without_a_token_a_page_in_a_browser_is_told_nothing(machine: Any, url: str, host: str, status: int) -> None:
    """A site whose name was made to lead to this machine sends its own name along."""
    assert ask(url, "/v1/channels", Host=host)[0] == status
    with machine.up(token=TOKEN) as other:
        assert ask(other, "/v1/channels", Host=host, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_with_the_token_all_is_told(machine: Any) -> None:
    with machine.up(token=TOKEN) as url:
        assert ask(url, "/v1/channels", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(url, "/v1/channels", Authorization=f"bearer {TOKEN}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_written(machine: Any, url: str, method: str) -> None:
    before = json.dumps(machine.facts())
    told = raw(url, f"{method} /v1/channels HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
    assert told.startswith(b"HTTP/1.1 405")
    assert json.dumps(machine.facts()) == before


HEADS: list[bytes] = [
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"get / HTTP/1.1\r\n\r\n",
    b"GET http://evil/ HTTP/1.1\r\n\r\n",
    b"GET /v1/channels HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /v1/channels HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /v1/channels HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /v1/channels HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET /v1/channels HTTP/1.1\r\n" + b"x: y\r\n" * 3000 + b"\r\n",
    b"GET /v1/readings?" + b"&".join(b"a%d=1" % each for each in range(200)) + b" HTTP/1.1\r\n\r\n",
    b"GET //[ HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 10_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS)
def test_what_is_no_request_is_refused_and_the_next_is_answered(url: str, head: bytes) -> None:
    told = raw(url, head)
    assert told == b"" or told.split()[1] in {b"400", b"404", b"405", b"413", b"431", b"200", b"403"}
    if b"hello" in head or b"chunked" in head:
        assert told.startswith(b"HTTP/1.1 413")
    assert ask(url, "/v1/channels")[0] == 200


def mutated(draw: random.Random) -> bytes:
    """A request that was damaged somewhere."""
    text = bytearray(
        b"GET /v1/readings?from=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer y\r\n\r\n" % draw.randint(0, 9)
    )
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(text) + 1)
        change: list[Callable[[], None]] = [
            lambda p=place: text.insert(p, draw.randrange(256)),  # type: ignore[misc]
            lambda p=place: text.__delitem__(slice(p, p + draw.randint(1, 9))),  # type: ignore[misc]
            lambda p=place: text.__setitem__(slice(p, p), draw.randbytes(draw.randint(1, 60))),  # type: ignore[misc]
            lambda p=place: text.__setitem__(slice(p, p), b"\r\n" * draw.randint(1, 3)),  # type: ignore[misc]
        ]
        draw.choice(change)()
    return bytes(text)


def test_damaged_requests_never_end_it(machine: Any, url: str) -> None:
    draw = random.Random(7)
    for _ in range(300):
        raw(url, mutated(draw), wait=False)
    machine.read()
    assert ask(url, "/v1/channels")[1]["next"] == 1


def test_more_connections_than_it_takes_are_closed_and_then_there_is_room_again(url: str) -> None:
    parts = urlsplit(url)
    held = [socket.create_connection((parts.hostname, parts.port), 20) for _ in range(MOST_CONNECTIONS + 20)]
    turned_away = 0
    for each in held[MOST_CONNECTIONS:]:
        with suppress(OSError):
            turned_away += each.recv(1) == b""
    for each in held:
        each.close()
    assert turned_away == 20
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            if ask(url, "/v1/clock")[0] == 200:
                return
        time.sleep(0.05)
    pytest.fail("it never answered again")


def test_a_reader_that_was_overtaken_is_hung_up_on_and_sees_what_is_gone(machine: Any) -> None:
    machine.ring.__init__(16)
    machine.read(4)
    with machine.up() as url:
        machine.read(60)
        assert b"Ipw-First: 48\r\n" in raw(url, b"GET /v1/readings?from=2 HTTP/1.1\r\n\r\n")
