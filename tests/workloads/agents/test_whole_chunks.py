"""A read that is one plain chunk goes on as it came; what that is, the parser of all other reads decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.agents.gateway.upstream import PassedParser
from ipw.workloads.lm.http.parser import HttpError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"5\r\nafter\r\n"


def in_body(head: bytes = HEAD) -> PassedParser:
    parser = PassedParser(bodiless=False)
    parser.feed(head)
    return parser


def framed(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@given(st.binary(min_size=1, max_size=300))
def test_a_plain_chunk_is_told_whole(body: bytes) -> None:
    assert in_body().whole_chunk(framed(body)) == body


@pytest.mark.parametrize("line", [b"4", b"04", b"0004"])
def test_a_size_may_be_written_in_any_way_that_is_a_number(line: bytes) -> None:
    assert in_body().whole_chunk(line + b"\r\nword\r\n") == b"word"


PARTS = st.sampled_from(
    [b"4", b"0", b"a", b"0x4", b"+4", b"4_", b" 4", b"4;x=1", b"\r\n", b"\r", b"\n", b"word", b"wo"]
)


@given(st.lists(PARTS, max_size=8).map(b"".join))
def test_whatever_is_told_whole_is_what_the_parser_gives_and_leaves_it_between_two_chunks(data: bytes) -> None:
    body = in_body().whole_chunk(data)
    if body:
        parser = in_body()
        assert parser.feed(data) == body
        assert parser.feed(NEXT) == b"after"


@pytest.mark.parametrize(
    "data",
    [
        framed(b"one") + framed(b"two"),
        framed(b"cut")[:-1],
        framed(b"cut")[:-2],
        framed(b"cut")[:3],
        b"0\r\n\r\n",
        b"4;name=value\r\nword\r\n",
        b"0x4\r\nword\r\n",
        b"+4\r\nword\r\n",
        b"-4\r\nword\r\n",
        b"3\r\nword\r\n",
        b"4\r\nwordXY",
        b"0000000000000004\r\nword\r\n",
        b"\r\nword\r\n",
        b"",
    ],
)
def test_all_else_is_left_to_the_parser(data: bytes) -> None:
    assert in_body().whole_chunk(data) == b""


def test_nothing_is_a_chunk_in_the_middle_of_another_or_in_a_body_without_chunks() -> None:
    begun = in_body()
    begun.feed(b"20\r\nbegin")
    assert begun.whole_chunk(framed(b"word")) == b""
    cut = in_body()
    cut.feed(b"2")
    assert cut.whole_chunk(framed(b"word")) == b""
    assert in_body(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").whole_chunk(framed(b"word")) == b""
    over = in_body()
    over.feed(b"0\r\n\r\n")
    assert over.whole_chunk(framed(b"word")) == b""


def test_a_chunk_that_is_too_long_is_still_refused() -> None:
    parser = in_body()
    assert parser.whole_chunk(b"3\r\nword\r\n") == b""
    with pytest.raises(HttpError, match="longer than it said"):
        parser.feed(b"3\r\nword\r\n")
