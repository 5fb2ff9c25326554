"""How long a head, a line and a number of a response may be, to the byte, and which status has which body."""

from __future__ import annotations

import pytest

from ipw.workloads.lm.http.parser import MAX_HEAD, MAX_LINE, HttpError, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(*blocks: bytes) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    return parser, b"".join([parser.feed(block) for block in blocks])


def test_a_head_may_be_as_long_as_the_limit_and_not_a_byte_longer() -> None:
    fill = MAX_HEAD - len(OK) - len(b"a: ")
    for whole in (True, False):
        end = b"\r\n\r\nbody" if whole else b""
        parser, body = parsed(OK + b"a: " + b"x" * fill + end)
        assert (parser.has_head, body) == (whole, b"body" if whole else b"")
        with pytest.raises(HttpError, match="too long"):
            parsed(OK + b"a: " + b"x" * (fill + 1) + end)


def test_interim_answers_have_heads_of_their_own_length() -> None:
    interim = b"HTTP/1.1 102 Processing\r\na: " + b"x" * (MAX_HEAD // 2) + b"\r\n\r\n"
    parser, body = parsed(interim * 4 + OK + b"content-length: 2\r\n\r\nok")
    assert (parser.status, body, parser.done) == (200, b"ok", True)


@pytest.mark.parametrize(("status", "interim"), [(100, True), (199, True), (200, False), (99, False)])
def test_a_status_of_the_first_hundred_is_followed_by_another(status: int, interim: bool) -> None:
    parser, _ = parsed(b"HTTP/1.1 %03d X\r\ncontent-length: 0\r\n\r\n" % status)
    assert parser.done == (not interim)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none_whatever_they_say(status: int) -> None:
    parser, body = parsed(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\nhello" % status)
    assert (parser.done, body, parser.keep_alive) == (True, b"", False)


def test_a_line_between_chunks_may_be_as_long_as_the_limit_and_not_a_byte_longer() -> None:
    chunked = OK + b"transfer-encoding: chunked\r\n\r\n"
    size = b"2;" + b"x" * (MAX_LINE - 2)
    assert parsed(chunked + size + b"\r\nok\r\n0\r\n\r\n")[1] == b"ok"
    assert parsed(chunked + size, b"\r\nok\r\n0\r\n\r\n")[1] == b"ok"
    for blocks in ((chunked + size + b"x\r\n",), (chunked + size + b"x",), (chunked, size, b"xx")):
        with pytest.raises(HttpError, match="too long"):
            parsed(*blocks)
    parser, _ = parsed(chunked + b"0\r\n" + b"t: " + b"x" * (MAX_LINE - 3) + b"\r\n\r\n")
    assert parser.done
    with pytest.raises(HttpError, match="too long"):
        parsed(chunked + b"0\r\n" + b"t: " + b"x" * (MAX_LINE - 2) + b"\r\n\r\n")


@pytest.mark.parametrize("digits", [b"", b"-2", b"+2", b"0x2", b"2_0", b"g", b"1" * 16, "\u0662".encode()])
def test_a_chunks_size_is_hexadecimal_digits_and_fifteen_at_most(digits: bytes) -> None:
    chunked = OK + b"transfer-encoding: chunked\r\n\r\n"
    with pytest.raises(HttpError, match="not a number"):
        parsed(chunked + digits + b"\r\n")
    assert parsed(chunked + b"0" * 14 + b"A ; x=y\r\n0123456789\r\n0\r\n\r\n")[1] == b"0123456789"


def test_a_chunk_that_is_longer_than_it_said_is_refused_however_it_comes() -> None:
    chunked = OK + b"transfer-encoding: chunked\r\n\r\n"
    for blocks in ((b"2\r\nokk\r\n",), (b"2\r\nok", b"k\r\n"), (b"2\r\n", b"okk\r\n")):
        with pytest.raises(HttpError, match="longer than it said"):
            parsed(chunked, *blocks)


@pytest.mark.parametrize("length", [b"-1", b"1.5", b"", b"1" * 19, b"0x5", "\u0665".encode()])
def test_a_length_is_decimal_digits_and_eighteen_at_most(length: bytes) -> None:
    with pytest.raises(HttpError, match="Content-Length"):
        parsed(OK + b"content-length: " + length + b"\r\n\r\n")
    parser, _ = parsed(OK + b"content-length: " + b"1" * 18 + b"\r\n\r\n")
    assert (parser.has_head, parser.done) == (True, False)


def test_of_chunks_and_a_length_the_chunks_count_and_an_answer_of_no_length_is_whole_at_once() -> None:
    assert parsed(OK + b"content-length: 9\r\ntransfer-encoding: gzip, Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")[1] == b"ok"
    parser, _ = parsed(OK + b"content-length: 0\r\n\r\n")
    assert (parser.done, parser.keep_alive) == (True, True)


def test_what_closes_the_connection_ends_an_answer_that_told_no_end_and_no_other() -> None:
    parser, body = parsed(OK + b"\r\n", b"all of it")
    assert (body, parser.done, parser.keep_alive) == (b"all of it", False, False)
    parser.eof()
    assert parser.done
    for cut in (b"HTTP/1.1", OK + b"content-length: 3\r\n\r\nok", OK + b"transfer-encoding: chunked\r\n\r\n0\r\n"):
        parser, _ = parsed(cut)
        with pytest.raises(HttpError, match="before its answer was whole"):
            parser.eof()


@pytest.mark.parametrize("first", [b"HTTP/1.1 20 OK", b"HTTP/2 200 OK", b"HTTP/1.1 2x0", b"hello"])
def test_a_first_line_has_a_version_and_three_digits(first: bytes) -> None:
    assert parsed(b"HTTP/1.0 200\r\n\r\n")[0].status == 200
    with pytest.raises(HttpError, match="does not speak"):
        parsed(first + b"\r\n\r\n")


def test_the_first_bytes_tell_what_does_not_speak_http() -> None:
    for sent in (b"H", b"HTTP/1.", b"HTTP/1.1 2"):
        assert not parsed(sent)[0].has_head
    for sent in (b"S", b"HTTP/2", b"HTTP/2.0 200"):
        with pytest.raises(HttpError, match="does not speak"):
            parsed(sent)
