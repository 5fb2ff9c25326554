"""Whatever chunks a server sends, what is read by likeness to the chunk before is what is read of each by itself."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipw.workloads.lm.http.completion import CompletionStream

EXAMPLES = int(os.environ.get("IPW_EXAMPLES", "300"))
TEXT = '"@"'
"""Where a text stands in a chunk."""


class Each(CompletionStream):
    """Reads each chunk by itself, as what takes chunks in its own way does."""

    def take(self, chunk: dict[str, Any], t_ns: int) -> None:
        super().take(chunk, t_ns)


def read(stream: CompletionStream, payloads: list[str]) -> dict[str, Any]:
    """All that a stream knows when these have come, two reads of each moment."""
    for t_ns, payload in enumerate(payloads):
        stream.feed(b"data: " + payload.encode() + b"\n\n", t_ns // 2)
    stream.close(len(payloads))
    found = vars(stream) | {"fault": stream.fault(), "stamps": stream.stamps, "tokens": stream.tokens}
    return found | {"counts": vars(stream.counts), "calls": repr(stream.calls), "_alike": None}


SAYS = st.sampled_from(["content", "content", "content", "reasoning_content", "reasoning", "text"])
DELTAS: list[dict[str, Any]] = [
    {"role": "assistant"}, {"role": None}, {"content": 0}, {"content": ""}, {"content": "w"}, {"content": ["w"]},
    {"reasoning_content": "w"}, {"reasoning": None}, {"reasoning": {"text": "w"}}, {"refusal": "w"}, {"refusal": False},
    {"tool_calls": []}, {"tool_calls": [{"index": 0, "id": "w"}]}, {"error": {}}, {"error": "w"}, {"success": False},
    {'a"content': "w"}, {"content\\": "w"},
]  # fmt: skip
CHOICES: list[dict[str, Any]] = [
    {"index": 1}, {"index": None}, {"finish_reason": "stop"}, {"finish_reason": ""}, {"finish_reason": "error"},
    {"logprobs": {"token_logprobs": [-1]}}, {"logprobs": None}, {"message": {"content": "w"}}, {"text": "w"},
    {"error": None}, {"error": "w"}, {"usage": {"completion_tokens": 5}},
]  # fmt: skip
CHUNKS: list[dict[str, Any]] = [
    {"usage": None}, {"usage": {}}, {"usage": {"completion_tokens": 2}}, {"timings": {"cache_n": 5}}, {"error": ""},
    {"error": "w"}, {"object": "error"}, {"content": "w"}, {"delta": {"content": "w"}}, {"choices": []}, {"id": 7},
]  # fmt: skip


def written(
    name: str, delta: dict[str, Any], choice: dict[str, Any], chunk: dict[str, Any], *, first: bool, again: bool
) -> str:
    """Write a chunk with a text of this name, and with what else it says before that or behind it."""
    says = {**delta, name: "@"} if first else {name: "@", **delta}
    if name != "text":
        says = {"delta": says}
    elif delta:
        says = {"delta": delta, "text": "@"}
    inner = {**choice, **says} if first else {"index": 0, **says, **choice}
    whole = {**chunk, "choices": [inner]} if first else {"choices": [inner], **chunk}
    text = json.dumps(whole, separators=(",\t", " : ") if again else None)
    return text.replace(TEXT, f'{TEXT}, "{name}": "w"') if again and first else text


def some(kinds: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({}) | st.just({}) | st.sampled_from(kinds)


KINDS = st.builds(written, SAYS, some(DELTAS), some(CHOICES), some(CHUNKS), first=st.booleans(), again=st.booleans())
WORDS = st.sampled_from([" word", "", '"', "\\", "é\U0001f600\u2028", '"content": "', "@", "\ud83d", "a" * 300])
GIVEN = st.builds(json.dumps, WORDS | st.text(max_size=5), ensure_ascii=st.booleans())
ODD = st.sampled_from(
    ['"x', "null", "3", '["x"]', '{"x": 1}', '"x" "y"', '"\t"', '"\\x"', "", '"x", "content": "y"', '"']
)
OTHER = st.sampled_from(["[DONE]", "null", "{", '{"error": "no"}', '{"choices": []}'])


@st.composite
def streams(draw: st.DrawFn) -> list[str]:
    """Draw what a server sends: a few kinds of chunks that come again and again, and now and then something else."""
    few = [written("content", {}, {}, {}, first=False, again=False), *draw(st.lists(KINDS, min_size=1, max_size=2))]
    said: list[str] = []
    for kind in draw(st.lists(st.sampled_from(few), max_size=9)):
        texts = draw(st.lists(GIVEN, min_size=1, max_size=3)) + draw(st.just([]) | st.lists(ODD, max_size=1))
        said += [kind.replace(TEXT, text) for text in texts] + draw(st.just([]) | st.lists(OTHER, max_size=1))
    return said


PLAIN = '{"choices": [{"index": 0, "delta": {"content": "@"}, "finish_reason": null}]}'


def assert_nothing_changes(payloads: list[str]) -> None:
    assert read(CompletionStream(), payloads) == read(Each(), payloads)


@settings(max_examples=EXAMPLES)
@given(streams())
def test_likeness_changes_nothing(payloads: list[str]) -> None:
    assert_nothing_changes([payload.encode(errors="replace").decode() for payload in payloads])


@pytest.mark.parametrize(
    "payloads",
    [
        [PLAIN, PLAIN, PLAIN.replace("null", '"stop"')],
        [PLAIN, PLAIN.replace("0", "1"), PLAIN, PLAIN],  # another answer, in between
        [PLAIN, PLAIN.replace(TEXT, "3"), PLAIN.replace(TEXT, '["w"]'), PLAIN.replace(TEXT, '"w')],
        [PLAIN.replace("}, ", '}, "logprobs": {"token_logprobs": [-1]}, ')] * 3,
        [PLAIN.replace("]", '], "usage": {"completion_tokens": 1}')] * 3,
        [PLAIN.replace('"content"', '"content": 0, "reasoning"')] * 3,  # a number is text
        [PLAIN.replace('"content"', '"refusal": "w", "content"')] * 3,
        [PLAIN.replace("{", '{"content": "w", ', 1)] * 3,
        [PLAIN.replace('"content"', '"content": "w", "content"')] * 3,
        [PLAIN.replace("{", '{"content": "w", ', 1).replace('{"content": "@"', '{"c\\u006fntent": "@"')] * 3,
        [PLAIN.replace('"content"', '"c\\u006fntent"')[:-1] + ', "content": "w"}'] * 3,
        ['{"choices": [{"message": {"content": "w"}, "text": "@"}]}'] * 4,
    ],
)
def test_what_says_more_than_a_text_or_says_it_otherwise_is_read_as_a_whole(payloads: list[str]) -> None:
    assert_nothing_changes(payloads)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """When chunks came that were read as a whole."""
    moments: list[int] = []
    take = CompletionStream.take

    def noted(stream: CompletionStream, chunk: dict[str, Any], t_ns: int) -> None:
        moments.append(t_ns)
        take(stream, chunk, t_ns)

    monkeypatch.setattr(CompletionStream, "take", noted)
    return moments


@pytest.mark.parametrize("name", ["content", "reasoning_content", "reasoning", "text"])
@pytest.mark.parametrize(
    ("delta", "choice", "chunk"),
    [
        ({}, {}, {}),
        ({"role": "assistant"}, {"finish_reason": None, "logprobs": None}, {"usage": None, "created": 1}),
        ({"role": None, "tool_calls": None, "refusal": ""}, {"finish_reason": ""}, {"system_fingerprint": "fp"}),
    ],
)
def test_of_many_chunks_that_differ_in_their_text_one_is_read_as_a_whole(
    name: str, delta: dict[str, Any], choice: dict[str, Any], chunk: dict[str, Any], taken: list[int]
) -> None:
    like = written(name, {} if name == "text" else delta, choice, chunk, first=True, again=False)
    words = [f"{n} é\n" for n in range(50)]
    found = read(CompletionStream(), [like.replace(TEXT, json.dumps(word)) for word in words])
    assert taken == [0]
    assert found["content" if name in {"content", "text"} else "reasoning"] == words
    assert len(found["stamps"]) == 50


@pytest.mark.parametrize(
    ("created", "wholes"),
    [
        ([n // 5 for n in range(50)], 10),  # a clock
        ([0, 1, 2, *[3] * 30], 4),
        ([0, 1, 2, 3, *[4] * 30], 34),  # a number of each chunk's own, it seems
    ],
)
def test_what_changes_now_and_then_is_learned_anew_and_what_always_does_is_let_be(
    created: list[int], wholes: int, taken: list[int]
) -> None:
    like = {"choices": [{"delta": {"content": " word"}}]}
    read(CompletionStream(), [json.dumps({"created": at} | like) for at in created])
    assert len(taken) == wholes
