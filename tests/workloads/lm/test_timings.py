"""llama.cpp's timings are kept with the answer, and held against its usage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipw.workloads.lm.http.reply import Answer, Reply

TIMINGS = {"prompt_n": 8, "prompt_ms": 12.5, "predicted_n": 3, "predicted_ms": 30.25, "cache_n": 2, "draft_n": 4}


def answered(timings: Any, usage: dict[str, Any] | None = None) -> Answer:
    """The answer of three tokens to a prompt of ten, of which two were cached, with these timings at its end."""
    counts = {"prompt_tokens": 10, "completion_tokens": 3} | (usage or {})
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b", "c")]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks.append({"choices": [end], "usage": counts, "timings": timings})
    reply = Reply()
    reply.head(200, {"content-length": "9"})
    for number, chunk in enumerate(chunks):
        reply.block(b"data: " + json.dumps(chunk).encode() + b"\n\n", reply.start_ns + 1000 * number)
    reply.close()
    return reply.answer(None)


def test_timings_are_kept_with_the_answer_and_agree_with_its_usage() -> None:
    answer = answered(TIMINGS | {"predicted_per_second": 99.0, "odd": "x"})
    assert answer.timings == TIMINGS
    assert (answer.cached_tokens, answer.usage_doubt) == (2, None)


@pytest.mark.parametrize(
    ("timings", "usage", "doubt"),
    [
        ({"predicted_n": 30}, {}, "usage tells 3 tokens, and timings 30"),
        ({"predicted_n": 4}, {}, None),
        ({"prompt_n": 4}, {}, "usage tells a prompt of 10 tokens, timings 6"),
        ({"prompt_n": 4, "cache_n": None}, {}, None),
        ({"predicted_n": "many", "prompt_n": [8]}, {}, None),
        ({"predicted_n": float("1e300")}, {}, "usage tells 3 tokens, and timings 1e+300"),
    ],
)
def test_what_timings_contradict_is_doubted(timings: dict[str, Any], usage: dict[str, Any], doubt: str | None) -> None:
    assert answered(TIMINGS | timings, usage).usage_doubt == doubt


@pytest.mark.parametrize("timings", [None, "fast", [], {"speed": 5}, {"prompt_n": None}])
def test_timings_that_tell_nothing_are_none(timings: Any) -> None:
    assert answered(timings).timings is None
