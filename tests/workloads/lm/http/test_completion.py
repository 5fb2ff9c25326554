from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.lm.http.completion import CompletionStream


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(finish_reason: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": finish_reason}]}


def read(*blocks: bytes) -> CompletionStream:
    """Read each block at its own time: 0, 1, …"""
    stream = CompletionStream()
    for t_ns, block in enumerate(blocks):
        stream.feed(block, t_ns)
    stream.close(len(blocks))
    return stream


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}


def test_the_first_token_is_the_first_text_and_not_the_role() -> None:
    stream = read(event(delta(role="assistant", content=None)), event(delta(content="")), event(delta(content="4")))
    assert stream.stamps[0] == 2
    assert len(stream.stamps) == 1


def test_thinking_is_kept_apart_and_counts_as_the_first_token() -> None:
    stream = read(event(delta(reasoning_content="hm")), event(delta(reasoning=" so")), event(delta(content="4")))
    assert ("".join(stream.reasoning), "".join(stream.content)) == ("hm so", "4")
    assert (stream.stamps[0], len(stream.stamps)) == (0, 3)


def test_usage_is_read_from_a_chunk_with_choices_or_without() -> None:
    for chunk in ({"choices": [], "usage": USAGE}, delta("stop") | {"usage": USAGE}):
        counts = read(event(delta(content="4")), event(chunk)).counts
        assert (counts.prompt, counts.completion, counts.cached) == (7, 3, 2)


def test_llama_cpps_timings_tell_what_was_cached() -> None:
    plain = {"prompt_tokens": 7, "completion_tokens": 3}
    assert read(event({"choices": [], "usage": plain, "timings": {"cache_n": 5}})).counts.cached == 5


def test_a_stream_is_complete_with_done_or_with_a_reason_to_finish() -> None:
    assert read(event(delta(content="4")), event(b"[DONE]")).fault() is None
    assert read(event(delta("stop", content="4"))).fault() is None
    assert read(event(delta(content="4"))).fault() == "the stream broke off"


def test_a_last_line_without_its_newline_counts() -> None:
    assert read(event(delta("length", content="4")).rstrip()).finish_reason == "length"


def test_comments_other_fields_and_windows_line_ends_do_no_harm() -> None:
    stream = read(b": ping\r\n\r\nevent: x\r\nid: 3\r\n" + event(delta(content="4")).replace(b"\n", b"\r\n"))
    assert (stream.content, stream.error) == (["4"], None)


@pytest.mark.parametrize(
    "payload", [b"{", b"\xff\xfe", b'{"a": 1} trailing', b"3", b"[]", b'"x"', b"[" * 100_000, b"1" * 10_000]
)
def test_garbage_is_an_error_and_nothing_is_raised(payload: bytes) -> None:
    stream = read(event(delta(content="4")), event(payload))
    assert stream.error is not None
    assert stream.content == ["4"]


@pytest.mark.parametrize(
    ("error", "message"),
    [({"message": "out of memory", "code": 500}, "out of memory"), ("out of memory", "out of memory")],
)
def test_an_error_in_the_stream_is_kept_in_the_servers_words(error: Any, message: str) -> None:
    assert read(event({"error": error})).error == message


def test_counts_that_are_none_are_not_believed() -> None:
    for nonsense in (-1, 1.5, "-7", "7 or so", True, None, 1 << 60, [7], float("nan")):
        usage = {"prompt_tokens": nonsense, "completion_tokens": nonsense}
        counts = read(event({"choices": [], "usage": usage})).counts
        assert (counts.prompt, counts.completion) == (None, None)


@given(st.lists(st.text(max_size=5), max_size=6), st.lists(st.integers(0, 10_000), max_size=40))
def test_text_is_the_same_however_the_bytes_are_cut(texts: list[str], places: list[int]) -> None:
    data = b"".join(event(delta(content=text)) for text in texts) + event({"choices": [], "usage": USAGE})
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    stream = read(*(data[a:b] for a, b in pairwise(edges)))
    assert "".join(stream.content) == "".join(texts)
    assert stream.counts.completion == 3


KEYS = [
    "choices", "delta", "message", "content", "usage", "timings", "error", "finish_reason", "detail", "loc", "object",
    "type", "text", "reasoning", "thinking", "reasoning_details", "tool_calls", "index", "function_call", "refusal",
    "logprobs", "completion_tokens",
]  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(json_values, max_size=4))
def test_no_json_of_any_shape_raises(values: list[Any]) -> None:
    for blocks in ([event(value) for value in values], [json.dumps(value).encode() + b"\n" for value in values]):
        stream = read(*blocks)
        stream.fault()
        stream.counts.doubt(len(stream.stamps), "".join(stream.content), calls=len(stream.calls))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking", "reasoning_text"])
def test_thinking_is_read_under_each_of_its_names_and_once_where_it_has_two(field: str) -> None:
    stream = read(event(delta(**{field: "hm", "content": None})), event(delta("stop", content="4")))
    assert (stream.reasoning, stream.content, stream.fault()) == (["hm"], ["4"], None)
    both = read(event(delta(reasoning_content="hm", **({field: "hm"} if field != "reasoning_content" else {}))))
    assert both.reasoning == ["hm"]


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ([{"type": "text", "text": "4"}], "4", ""),
        ([{"type": "output_text", "text": "4", "annotations": []}], "4", ""),
        ([{"type": "text", "text": {"value": "4"}}], "4", ""),
        ({"type": "text", "text": "4"}, "4", ""),
        (["4", "2"], "42", ""),
        ([{"type": "refusal", "refusal": "no"}], "no", ""),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}],
            "4",
            "hm",
        ),
        ([{"type": "thinking", "thinking": "hm", "signature": "x"}], "", "hm"),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}], "", "hm"),
        ([{"type": "reasoning.text", "text": "hm"}], "", "hm"),
        ([{"type": "image_url", "image_url": {"url": "x"}}, None, True], "", ""),
        ([], "", ""),
    ],
)
def test_content_in_parts_is_read_and_what_thinks_is_kept_apart(content: Any, text: str, thought: str) -> None:
    for choice in ({"delta": {"content": content}}, {"message": {"role": "assistant", "content": content}}):
        stream = read(event({"choices": [choice]}))
        assert ("".join(stream.content), "".join(stream.reasoning)) == (text, thought)


def test_a_list_of_details_is_thinking_where_nothing_shorter_is_there() -> None:
    details = [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]
    assert read(event(delta(reasoning_details=details))).reasoning == ["hm"]
    assert read(event(delta(reasoning="hm", reasoning_details=details))).reasoning == ["hm"]


def test_calls_of_tools_are_counted_by_their_number_and_not_by_their_pieces() -> None:
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}},
        {"index": 0},
        {"index": 1, "id": "b"},
    ]
    stream = read(*(event(delta(tool_calls=[piece])) for piece in pieces), event(delta("tool_calls")))
    assert (set(stream.calls), stream.fault(), stream.begun, len(stream.stamps)) == ({0, 1}, None, True, 3)
    whole = {"choices": [{"message": {"content": None, "tool_calls": [{"id": "a"}, {"id": "b"}]}}]}
    assert read(json.dumps(whole).encode()).calls.keys() == {0, 1}
    assert read(event(delta("function_call", function_call={"name": "f"}))).calls.keys() == {0}


@pytest.mark.parametrize(
    "calls",
    [
        [[{"index": 0, "id": "a", "function": {"name": "add", "arguments": ""}}],
         [{"index": 0, "function": {"arguments": '{"x": '}}], [{"index": 0, "function": {"arguments": "1}"}}]],
        [[{"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}]],
        [[{"index": 0, "id": "a", "function": {"name": "add", "arguments": {"x": 1}}}]],
        [[{"id": "a", "function": {"name": "add", "arguments": '{"x"'}}],
         [{"id": "a", "function": {"name": "add", "arguments": ": 1}"}}]],
    ],
)  # fmt: skip
def test_a_call_is_put_together_from_its_pieces(calls: list[list[dict[str, Any]]]) -> None:
    stream = read(*(event(delta(tool_calls=pieces)) for pieces in calls), event(delta("tool_calls")))
    (call,) = stream.calls.values()
    assert (call.id, call.name, json.loads(call.arguments)) == ("a", "add", {"x": 1})


def test_a_message_that_is_sent_again_and_again_as_it_grows_has_its_calls_once() -> None:
    whole = {"choices": [{"message": {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}}]}
    stream = read(*(event(whole) for _ in range(3)))
    assert [(call.name, call.arguments) for call in stream.calls.values()] == [("f", "{}")]


@pytest.mark.parametrize("nothing", ["", "null", "None", None, 0, {}, {"type": None}])
def test_a_reason_to_finish_that_is_none_ends_no_answer(nothing: Any) -> None:
    stream = read(event({"choices": [{"delta": {"content": "4"}, "finish_reason": nothing}]}))
    assert (stream.finish_reason, stream.fault()) == (None, "the stream broke off")


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "STOP", "eos", "end_turn", {"type": "length"}])
def test_some_reasons_to_finish_explain_that_there_is_no_text(reason: Any) -> None:
    assert read(event({"choices": [{"delta": {}, "finish_reason": reason}]})).fault() is None


@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "whatever"])
def test_other_reasons_need_something_to_read(reason: str) -> None:
    assert reason in (read(event(delta(reason)), event(b"[DONE]")).fault() or "")
    assert read(event(delta(content="4")), event(delta(reason))).fault() is None


@pytest.mark.parametrize(
    "reason",
    ["error", "abort", "aborted", "cancelled", "canceled", "timeout", "timed_out", "insufficient_system_resource",
     "network_error", "ERROR", "USER_CANCEL", "server_error", "engine_shutdown", "failed"],
)  # fmt: skip
def test_some_reasons_to_finish_tell_a_failure_whatever_came_before(reason: str) -> None:
    assert repr(reason) in (read(event(delta(content="4")), event(delta(reason)), event(b"[DONE]")).fault() or "")


def test_a_failures_own_words_are_told_where_the_reason_has_them() -> None:
    reason = {"type": "abort", "message": "out of memory", "status_code": 500}
    assert read(event({"choices": [{"delta": {}, "finish_reason": reason}]})).fault() == "out of memory"
    choice = {"delta": {"content": ""}, "finish_reason": "error", "error": {"message": "gone", "code": 502}}
    assert read(event({"choices": [choice]})).fault() == "gone"


def test_a_message_that_repeats_what_was_streamed_is_not_read_twice() -> None:
    last = {"choices": [{"delta": {}, "message": {"content": "42"}, "finish_reason": "stop"}]}
    assert read(event(delta(content="4")), event(delta(content="2")), event(last)).content == ["4", "2"]


def test_progress_is_no_failure_where_an_answer_ends_well() -> None:
    progress = {"message": "loading the model"}
    assert read(event(progress), event(delta(content="4")), event(delta("stop"))).fault() is None
    assert read(event(delta(content="4")), event({"detail": "the engine died"}), event(b"[DONE]")).fault() == (
        "the engine died"
    )


def test_a_count_that_grows_with_the_answer_is_its_last_one() -> None:
    chunks = [event(delta(content="x") | {"usage": {"prompt_tokens": 3, "completion_tokens": n}}) for n in (1, 2, 3)]
    assert read(*chunks, event(delta("stop") | {"usage": {"completion_tokens": 0}})).counts.completion == 3
