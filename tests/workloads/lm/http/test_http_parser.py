from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ipw.workloads.lm.http.parser import MAX_HEAD, HttpError, ResponseParser


def parse(*pieces: bytes, closed: bool = False) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    body = b"".join(parser.feed(piece) for piece in pieces)
    if closed:
        parser.eof()
    return parser, body


def chunked(*chunks: bytes) -> bytes:
    framed = b"".join(b"%X;name=value\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\nTrailer: x\r\n\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(0, 10_000), max_size=30))
def test_a_chunked_body_is_the_same_however_it_is_cut(chunks: list[bytes], places: list[int]) -> None:
    parser, body = parse(*cut(chunked(*chunks), places))
    assert body == b"".join(chunks)
    assert parser.done
    assert parser.keep_alive


SIZE_LINES = [b"%x", b"%X", b"0%x", b" %x ", b"%x;a=b", b"%015x", b"%016x", b"0x%x", b"+%x", b"", b"%x\n"]


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """Draw a chunk, mostly as it should be."""
    content = draw(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"2\r\nab\r\n", b"data: {}\n\n"]))
    size, line = draw(st.just(len(content)) | st.integers(0, 40)), draw(st.just(b"%x") | st.sampled_from(SIZE_LINES))
    return (line % size if b"%" in line else line) + b"\r\n" + content + draw(st.just(b"\r\n") | st.binary(max_size=3))


def outcome(*pieces: bytes) -> tuple[bytes, bool, bool] | str:
    try:
        parser, body = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *pieces)
    except HttpError as error:
        return str(error)
    return body, parser.done, parser.keep_alive


@settings(max_examples=400)
@given(st.lists(chunks(), max_size=4))
@example([b"1", b"5\r\nhello\r\n", b"fourteen bytes\r\n"])  # the second is a chunk, were it not for the first
def test_chunks_that_come_in_a_read_each_are_read_as_byte_by_byte(reads: list[bytes]) -> None:
    data = b"".join(reads)
    assert outcome(*reads) == outcome(*(data[i : i + 1] for i in range(len(data)))) == outcome(data)


def test_a_read_that_is_one_chunk_is_taken_as_such_and_of_any_other_nothing_is_taken() -> None:
    parser, _ = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert parser.whole_chunk(b"5\r\nhello\r\n") == b"hello"
    for other in (b"5\r\nhello\r\n5\r\nhello\r\n", b"5\r\nhello", b"5;a\r\nhello\r\n", b"0\r\n\r\n", b"\r\n", b""):
        assert parser.whole_chunk(other) == b""
    assert parser.feed(b"5\r\nhello\r\n") == b"hello"


@given(st.binary(max_size=60), st.lists(st.integers(0, 10_000), max_size=30))
def test_a_body_of_known_length_is_the_same_however_it_is_cut(content: bytes, places: list[int]) -> None:
    data = b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: %d\r\nX-Y:  z \r\n\r\n%s" % (len(content), content)
    parser, body = parse(*cut(data, places))
    assert (parser.status, parser.headers["x-y"], body, parser.done) == (404, "z", content, True)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_what_is_announced(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n"):
        with suppress(HttpError):
            parse(prefix + data, b"0\r\n\r\n", closed=True)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser, body = parse(b"HTTP/1.0 200 OK\r\n\r\nab", b"cd", closed=True)
    assert (body, parser.done, parser.keep_alive) == (b"abcd", True, False)


def test_an_interim_answer_is_passed_over() -> None:
    parser, body = parse(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (parser.status, body, parser.done) == (200, b"ok", True)


@given(st.sampled_from(["\r\n", "\n"]), st.lists(st.integers(0, 10_000), max_size=30))
def test_lines_of_a_head_may_end_with_a_newline_alone_and_go_on_in_the_next(end: str, places: list[int]) -> None:
    head = ["HTTP/1.1 200 OK", "X-Long: one,", "  two", "Content-Length: 2", "", "ok"]
    parser, body = parse(*cut(end.join(head).encode(), places))
    assert (parser.headers["x-long"], body, parser.done) == ("one, two", b"ok", True)


def test_no_body_belongs_to_204() -> None:
    assert parse(b"HTTP/1.1 204 No Content\r\n\r\n")[0].done


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close", False),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", True),
        (b"HTTP/1.1 200 OK", True),
    ],
)
def test_a_connection_is_kept_as_the_head_says(head: bytes, keep: bool) -> None:
    assert parse(head + b"\r\nContent-Length: 0\r\n\r\n")[0].keep_alive is keep


def test_bytes_behind_an_answer_are_no_part_of_it_and_the_connection_is_not_trusted_again() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")
    assert (body, parser.done, parser.keep_alive) == (b"ok", True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(HttpError):
        parse(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", chunked(b"abc")[:-4]])
def test_an_answer_that_is_cut_off_is_told_from_a_whole_one(data: bytes) -> None:
    with pytest.raises(HttpError):
        parse(data, closed=True)
