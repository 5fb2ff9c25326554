"""For any bytes that a server may send, cut anywhere: `ok` only where a whole answer was in them, and the same record
however they come. `IPW_EXAMPLES=10000` tries as many of each; by default a few."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.workloads.lm.http.client import Limits, ask
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import server_url

EXAMPLES = settings(max_examples=int(os.environ.get("IPW_EXAMPLES", "60")), deadline=None)
LIMITS = Limits(timeout_s=10, stall_s=10, max_tokens=16, temperature=0.0, seed=None)
MOMENTS = dict.fromkeys(["start_ns", "first_token_ns", "last_token_ns", "end_ns", "itl_us", "itl_counts"])


class Wire(asyncio.Transport):
    """A socket that answers whatever is written to it with these pieces, and closes."""

    def __init__(self, protocol: asyncio.BufferedProtocol, pieces: list[bytes]) -> None:
        super().__init__()
        self._protocol, self._pieces, self._closed = protocol, pieces, False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        for piece in self._pieces:
            if self._closed:
                return
            buffer = self._protocol.get_buffer(-1)
            assert isinstance(buffer, memoryview)
            buffer[: len(piece)] = piece
            self._protocol.buffer_updated(len(piece))
        if not self._closed:
            self._protocol.eof_received()
            self.abort()

    def is_closing(self) -> bool:
        return self._closed

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(None)


def received(*pieces: bytes) -> Answer:
    """Ask a server that answers with these pieces of bytes."""

    async def talk() -> Answer:
        loop = asyncio.get_running_loop()

        async def connect(factory: Callable[[], Any], *_: Any, **__: Any) -> tuple[Wire, Any]:
            protocol = factory()
            return Wire(protocol, list(pieces)), protocol

        loop.create_connection = connect  # type: ignore[assignment,method-assign]
        async with Transport(server_url("http://127.0.0.1:1/v1")) as transport:
            return await ask(transport, "m", "2+2", LIMITS)

    return asyncio.run(talk())


def record(*pieces: bytes) -> dict[str, Any]:
    found = received(*pieces)
    kept = found._asdict() | MOMENTS
    return kept | {"gaps": sum(found.itl_counts), "begun": found.first_token_ns is not None}


# --- what servers send ----------------------------------------------------------------------------------------------


def event(value: Any) -> str:
    return f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"


def chunk(finish_reason: Any = None, **parts: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}]}


ROLE, DONE, USAGE = event(chunk(role="assistant", content="")), event("[DONE]"), {"prompt_tokens": 3}
WHOLE = {"choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]}
SAID = [
    event(chunk(content="4")),
    event(chunk(content="é\u2028\x85")),
    event(chunk(reasoning_content="hm")),
    event(chunk(content=[{"type": "text", "text": "4"}])),
    event(chunk(refusal="no")),
    event(chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}])),
    event({"choices": [{"text": "4"}]}),
    event(json.dumps(chunk(content="4"), indent=1).replace("\n", "\ndata: ")),
    "event: message\n" + event(chunk(content="4")),
]
NOTHING = [
    ROLE,
    ": ping\n\n",
    "data\n\n",
    "id: 3\nretry: 5\n\n",
    "\n",
    event({"choices": []}),
    event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
    event({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
    event({"choices": [], "usage": {"completion_tokens": "7"}}),
    event(chunk(finish_reason="")),
    event("null"),
    event({"type": "ping"}),
]
ENDS = [event(chunk(reason)) for reason in ("stop", "length", "content_filter", "tool_calls", "odd")]
FAILURES = [
    event(chunk("error")),
    event(chunk("abort")),
    event({"error": {"message": "no"}}),
    event({"object": "error", "message": "no"}),
    event({"detail": "no"}),
    event({"fault": {"faultstring": "no"}}),
    event({"Response": {"Error": {"Message": "no"}}}),
    "event: error\n" + event({"message": "no"}),
    "error: no\n\n",
    '{"error": "no"}\n',
    event("no"),
    "<html>\n<title>no</title>\n</html>\n",
    "Internal Server Error\n",
]
UNFRAMED = [json.dumps(WHOLE) + "\n", json.dumps(WHOLE, indent=1) + "\n", json.dumps(chunk(content="4")) + "\n"]
UNFRAMED += [json.dumps(chunk("stop")) + "\n", "[DONE]\n"]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw what stands behind a `200 OK`."""
    units = [*SAID, *NOTHING, *ENDS, *FAILURES, *UNFRAMED, DONE]
    parts: list[str | bytes] = draw(st.lists(st.sampled_from(units) | st.binary(max_size=5), max_size=7))
    end, mark = draw(st.sampled_from(["\n", "\r", "\r\n"])), draw(st.sampled_from(["", "", "\ufeff"]))
    texts = [part.replace("\n", end).encode() if isinstance(part, str) else part for part in parts]
    return mark.encode() + b"".join(texts)


@st.composite
def frames(draw: st.DrawFn, body: bytes) -> list[tuple[bytes, bytes]]:
    """Draw how HTTP carries a body: what is sent, piece by piece, and what of the body that is."""
    head, how = b"HTTP/1.1 200 OK\r\n", draw(st.sampled_from(["chunks", "length", "until it closes"]))
    if how == "until it closes":
        return [(head + b"\r\n", b""), (body, body)]
    if how == "length":
        return [(head + b"Content-Length: %d\r\n\r\n" % len(body), b""), (body, body)]
    size = draw(st.integers(1, 400))
    found = [(head + b"Transfer-Encoding: chunked\r\n\r\n", b"")]
    for at in range(0, len(body), size):
        piece = body[at : at + size]
        found += [(b"%x\r\n" % len(piece), b""), (piece, piece), (b"\r\n", b"")]
    return [*found, (b"0\r\n\r\n", b"")]


def carried(parts: list[tuple[bytes, bytes]], length: int) -> bytes:
    """What of the body is in the first bytes of a response."""
    found = b""
    for sent, body in parts:
        found += body[: max(length, 0)]
        length -= len(sent)
    return found


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a response that is cut off anywhere, or nowhere, and what of its body had come."""
    parts = draw(frames(draw(bodies())))
    data = b"".join(sent for sent, _ in parts)
    length = draw(st.just(len(data)) | st.integers(0, len(data)))
    return data[:length], carried(parts, length)


# --- what a whole answer is, said otherwise ---------------------------------------------------------------------------


def objects(body: bytes) -> Iterator[tuple[Any, bool]]:
    """All JSON values that can be found in a body, and `[DONE]` as such; and whether each starts a line."""
    text = body.decode(errors="replace").removeprefix("\ufeff")
    bare = [re.sub(r"^data: ?", "", line) for line in re.split(r"\r\n|\n|\r", text)]
    at = 0
    joined = "\n".join(bare)
    while at < len(joined):
        starts = joined[:at].rstrip(" ")[-1:] in ("", "\n")
        if starts and joined.startswith("[DONE]", at):
            yield "[DONE]", starts
        try:
            value, at = json.JSONDecoder().raw_decode(joined, at)
            yield value, starts
        except ValueError:
            at += 1


EXPLAIN = {"stop", "length", "content_filter"}


def whole(body: bytes) -> bool:
    """Whether there is an answer in a body, read as kindly as can be, and nothing that speaks against it."""
    said = False
    reasons: set[str] = set()
    for value, starts in objects(body):
        if value == "[DONE]" and (said or not reasons.isdisjoint(EXPLAIN)):
            return True
        choices = value.get("choices") if isinstance(value, dict) else None
        if starts and isinstance(value, dict) and (value.get("error") or value.get("object") == "error"):
            return False
        for choice in choices or ():
            delta = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            said = said or any(delta.get(name) for name in ("content", "reasoning_content", "refusal", "tool_calls"))
            reason = choice.get("finish_reason")
            if reason in ("error", "abort") and starts:
                return False
            reasons |= {reason} - {None, "", "error", "abort"}
    return bool(reasons) if said else not reasons.isdisjoint(EXPLAIN)


@EXAMPLES
@given(responses())
def test_an_answer_is_ok_only_where_a_whole_one_had_come(response: tuple[bytes, bytes]) -> None:
    data, body = response
    found = received(*([data] if data else []))
    assert found.status != "ok" or whole(body)
    assert (found.error is None) == (found.failure is None) == (found.status == "ok")


@EXAMPLES
@given(responses(), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_a_stream_has_the_same_record_in_one_piece_byte_by_byte_and_in_any_pieces(
    response: tuple[bytes, bytes], sizes: list[int]
) -> None:
    data, _ = response
    edges, at = [0], 0
    while at < len(data):
        at += sizes[len(edges) % len(sizes)]
        edges.append(at)
    in_one = record(*([data] if data else []))
    assert record(*(data[i : i + 1] for i in range(len(data)))) == in_one
    assert record(*(data[a:b] for a, b in pairwise(edges))) == in_one


@EXAMPLES
@given(st.binary(max_size=400), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\ndata: "]))
def test_no_bytes_at_all_are_an_answer_or_raise(data: bytes, before: bytes) -> None:
    assert received(*filter(None, [before + data])).status == "error"


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], int]:
    """Draw the events of a whole answer with all that says nothing between them, and the place of its end."""
    noise = st.lists(st.sampled_from(NOTHING), max_size=2)
    before = [*draw(noise), *draw(st.lists(st.sampled_from(SAID), min_size=1, max_size=3)), *draw(noise)]
    after = draw(st.sampled_from([[], [DONE], [event({"choices": [], "usage": USAGE}), DONE]]))
    return [*before, draw(st.sampled_from(ENDS)), *after], len(before)


@EXAMPLES
@given(answers(), st.data(), st.sampled_from(["\n", "\r", "\r\n"]), st.integers(0, 3000))
def test_a_whole_answer_is_ok_from_the_byte_on_that_ends_it(
    answer: tuple[list[str], int], data: st.DataObject, end: str, length: int
) -> None:
    events, last = answer
    texts = [text.replace("\n", end).encode() for text in events]
    parts = data.draw(frames(b"".join(texts)))
    sent = b"".join(piece for piece, _ in parts)
    come = carried(parts, length)
    found = received(*filter(None, [sent[:length]]))
    ended = len(b"".join(texts[:last]) + texts[last].rstrip())
    assert (found.status == "ok") == (len(come) >= ended)


@EXAMPLES
@given(answers(), st.integers(1, 9))
def test_a_compressed_answer_is_the_one_that_was_compressed(answer: tuple[list[str], int], size: int) -> None:
    body = "".join(answer[0]).encode()
    head = b"HTTP/1.1 200 OK\r\n%s\r\n"
    squeezed = head % b"Content-Encoding: gzip\r\n" + gzip.compress(body)
    pieces = [squeezed[i : i + size] for i in range(0, len(squeezed), size)]
    assert record(*pieces) == record(head % b"" + body)


@pytest.mark.parametrize("said", SAID)
def test_the_other_reading_knows_an_answer_too(said: str) -> None:
    assert whole((said + ENDS[0]).encode())
    assert not whole(said.encode())
