"""Requests of readers, byte by byte: what is read of them, what is refused, and how long they are waited for."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.remote import requests
from ipw.profilers.remote.requests import BadRequestError, Incoming, Request, parse

FULL = b"GET /v1/x?from=3&y=a%20b HTTP/1.1\r\nHost: a\r\nX-Odd_1: \t b c \t\r\nEmpty:\r\nhost: z"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the reader's, and ours."""
    there, here = socket.socketpair()
    with there, here:
        yield there, here


def test_a_request_is_its_line_its_query_and_its_headers_by_small_names() -> None:
    headers = {"host": "z", "x-odd_1": "b c", "empty": ""}
    assert parse(FULL) == Request("GET", "/v1/x", {"from": "3", "y": "a b"}, headers)
    assert parse(b"ABCDEFGHIJKLMNOP / HTTP/1.0") == Request("ABCDEFGHIJKLMNOP", "/", {}, {})


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"ABCDEFGHIJKLMNOPQ / HTTP/1.1", 400),
        (b"GET / HTTP/1.2", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\nHost: a", 400),
        (b"GET / HTTP/1.1\r\nHost : a", 400),
        (b"GET /?" + b"&".join(b"a%d=1" % k for k in range(17)) + b" HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1", 413),
        (b"GET / HTTP/1.1\r\nContent-Length: 00", 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: identity", 413),
    ],
)
def test_what_is_no_request_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as told:
        parse(head)
    assert told.value.status == status


def test_sixteen_parts_of_a_query_and_a_body_of_nothing_are_taken() -> None:
    query = b"&".join(b"a%d=1" % k for k in range(16))
    found = parse(b"GET /?" + query + b" HTTP/1.1\r\nContent-Length: 0")
    assert (len(found.query), found.headers) == (16, {"content-length": "0"})


@given(st.lists(st.integers(1, 60), max_size=6))
def test_requests_are_told_apart_however_they_are_cut(cuts: list[int]) -> None:
    text = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % k for k in range(3))
    there, here = socket.socketpair()
    with here:
        with there:
            incoming, found = Incoming(here), list[Request | None]()
            for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
                there.sendall(text[start:end])
            found = [incoming.next(60) for _ in range(3)]
        assert [each and each.path for each in found] == ["/0", "/1", "/2"]
        assert incoming.next(60) is None


@pytest.mark.parametrize(("length", "taken"), [(8192, True), (8193, False)])
def test_a_head_may_have_8192_bytes_and_no_more(length: int, *, taken: bool) -> None:
    there, here = socket.socketpair()
    with there, here:
        head = b"GET / HTTP/1.1\r\nx: "
        there.sendall(head + b"y" * (length - len(head)) + b"\r\n\r\n")
        if taken:
            assert Incoming(here).next(60)
        else:
            with pytest.raises(BadRequestError) as told:
                Incoming(here).next(60)
            assert told.value.status == 431


def test_what_never_ends_is_refused_without_being_kept(pair: tuple[socket.socket, socket.socket]) -> None:
    there, here = pair
    there.sendall(b"x" * 12_289)
    with pytest.raises(BadRequestError) as told:
        Incoming(here).next(60)
    assert told.value.status == 431
    here.setblocking(False)
    assert len(here.recv(100_000)) < 4097


def test_all_of_a_request_is_waited_for_so_long_and_no_longer(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = pair
    moments = iter([100.0, 101.5, 104.0, 105.0])
    waits: list[float | None] = []

    class Noting(socket.socket):
        def settimeout(self, value: float | None) -> None:
            waits.append(value)
            super().settimeout(value)

    monkeypatch.setattr(requests, "monotonic", lambda: next(moments))
    there.sendall(b"x" * 5000)
    with Noting(fileno=here.detach()) as noting, pytest.raises(TimeoutError):
        Incoming(noting).next(5.0)
    assert waits == [3.5, 1.0]
