"""How much of an answer is taken: to the byte, and no further than its end, however long the server goes on."""

from __future__ import annotations

import json

import pytest

from ipw.workloads.lm.http import reply
from ipw.workloads.lm.http.reply import Reply

HEADERS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


def chunk(text: str, finish: str | None = None) -> bytes:
    body = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return f"data: {json.dumps(body)}\n\n".encode()


def begun(status: int = 200) -> Reply:
    made = Reply()
    made.head(status, HEADERS)
    return made


def test_an_answer_may_be_as_long_as_the_limit_and_not_a_byte_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reply.MAX_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr(reply, "MAX_BYTES", len(chunk("a")) * 3)
    made = begun()
    assert [made.block(chunk("a"), 1) for _ in range(3)] == [False] * 3
    assert made.block(b":", 2)  # that is all that is wanted
    answer = made.answer(None)
    assert (answer.status, answer.failure) == ("error", "answer")
    assert answer.error == "the answer is longer than 0 MiB"
    assert answer.response == "aaa"


def test_the_words_of_a_refusal_have_the_same_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply, "MAX_BYTES", 10)
    made = begun(500)
    assert not made.block(b"0123456789", 1)
    assert made.block(b"0", 1)


def test_behind_the_end_of_a_stream_nothing_is_wanted() -> None:
    made = begun()
    assert not made.block(chunk("four"), 1)
    assert not made.block(chunk("", "stop"), 2)
    assert made.block(b"data: [DONE]\n\n", 3)
    answer = made.answer(None)
    assert (answer.status, answer.response, answer.finish_reason) == ("ok", "four", "stop")
