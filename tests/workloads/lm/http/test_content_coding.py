"""Bodies that come compressed, by what they are."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from doubles.openai_server import Behaviour, Request, serving
from hypothesis import given
from hypothesis import strategies as st
from workloads.lm.http.test_client import answer, answers

from ipw.workloads.lm.http.content_coding import ContentCoding
from ipw.workloads.lm.http.parser import HttpError

STREAM = b'data: {"choices":[{"delta":{"content":"4"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


def undone(headers: dict[str, str], *pieces: bytes) -> bytes:
    coding = ContentCoding(headers)
    return b"".join(piece if coding.plain else coding.feed(piece) for piece in pieces)


BODIES = [
    ({"content-encoding": "gzip"}, gzip.compress(STREAM, mtime=0)),
    ({"content-encoding": "x-gzip"}, gzip.compress(STREAM, mtime=0)),
    ({"content-encoding": "GZIP, identity"}, gzip.compress(STREAM, mtime=0)),
    ({"transfer-encoding": "gzip, chunked"}, gzip.compress(STREAM, mtime=0)),
    ({"content-encoding": "gzip"}, gzip.compress(STREAM[:20], mtime=0) + gzip.compress(STREAM[20:], mtime=0)),
    ({"content-encoding": "gzip"}, gzip.compress(STREAM, mtime=0) + bytes(9)),
    ({"content-encoding": "deflate"}, zlib.compress(STREAM)),
    ({"content-encoding": "deflate"}, raw_deflate(STREAM)),
    ({}, gzip.compress(STREAM, mtime=0)),
    ({}, STREAM),
    ({"content-encoding": "identity"}, STREAM),
    ({"content-encoding": "gzip"}, STREAM),
    ({"content-encoding": "br"}, STREAM),
    ({"content-encoding": "deflate"}, STREAM),
    ({"content-encoding": "deflate"}, b'{"error": "no"}'),
]


@given(st.sampled_from(BODIES), st.lists(st.integers(0, 1000), max_size=20))
def test_a_body_is_undone_by_what_it_is_however_it_is_cut(
    body: tuple[dict[str, str], bytes], places: list[int]
) -> None:
    headers, data = body
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    assert undone(headers, *(data[a:b] for a, b in pairwise(edges))) in (STREAM, b'{"error": "no"}')


@pytest.mark.parametrize(("headers", "data"), BODIES)
def test_a_body_is_undone_in_one_piece_and_byte_by_byte(headers: dict[str, str], data: bytes) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert undone(headers, *pieces) in (STREAM, b'{"error": "no"}')


@pytest.mark.parametrize(
    ("headers", "data", "told"),
    [
        ({"content-encoding": "br"}, b"\x8b\x0f\x80\x01\x02\x03", "compressed as br"),
        ({"content-encoding": "zstd"}, b"\x28\xb5\x2f\xfd\x04\x58", "compressed as zstd"),
        ({}, b"\x28\xb5\x2f\xfd\x04\x58", "compressed as zstd"),
        ({"content-encoding": "gzip, gzip"}, bytes(6), "compressed as gzip and gzip"),
        ({"content-encoding": "gzip"}, gzip.compress(STREAM, mtime=0)[:10] + b"\x07" * 30, "not compressed as it says"),
        ({"content-encoding": "deflate"}, b"\xff" * 30, "not compressed as it says"),
    ],
)
def test_what_cannot_be_undone_is_named(headers: dict[str, str], data: bytes, told: str) -> None:
    with pytest.raises(HttpError, match=told):
        undone(headers, data)


@given(st.sampled_from(["gzip", "deflate", "br", "", "gzip, br"]), st.lists(st.binary(min_size=1, max_size=9)))
def test_no_bytes_raise_anything_but_what_is_announced(coding: str, pieces: list[bytes]) -> None:
    try:
        undone({"content-encoding": coding}, *pieces)
    except HttpError as error:
        assert "compressed" in str(error)  # noqa: PT017 (it need not be raised)


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", gzip.compress(STREAM, mtime=0)), ("deflate", zlib.compress(STREAM))]
)
def test_a_compressed_answer_is_an_answer_and_a_refusal_has_its_words(coding: str, body: bytes) -> None:
    pieces = [body[i : i + 5] for i in range(0, len(body), 5)]
    assert answer(Behaviour(body=pieces, headers={"Content-Encoding": coding})).response == "4"
    refusal = Behaviour(
        status=400, body=[gzip.compress(b'{"error": "no"}', mtime=0)], headers={"Content-Encoding": "gzip"}
    )
    assert answer(refusal).error == "HTTP 400: no"


def test_tokens_of_a_compressed_stream_are_stamped_as_they_come() -> None:
    squeeze = zlib.compressobj(wbits=31)
    pieces = [squeeze.compress(STREAM[:-14]) + squeeze.flush(zlib.Z_SYNC_FLUSH), squeeze.compress(STREAM[-14:])]
    coding = ContentCoding({})
    assert coding.feed(pieces[0]) == STREAM[:-14]


def test_nothing_compressed_is_asked_for_and_brotli_is_named() -> None:
    asked: list[str] = []

    def behave(request: Request) -> Behaviour:
        asked.append(request.headers["accept-encoding"])
        return Behaviour(body=[b"\x8b\x0f\x80\x01\x02\x03\x04"], headers={"Content-Encoding": "br"})

    with serving(behave) as server:
        (found,) = answers(server.url, "2+2")
    assert asked == ["identity"]
    assert (found.status, found.error) == ("error", "the answer is compressed as br, which ipw does not undo")
