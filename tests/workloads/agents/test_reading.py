"""The same conversation in every API: what was said in one request is known again in the next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from workloads.agents.exchanges import TOOLS, sse

from ipw.workloads.agents.asked import Message
from ipw.workloads.agents.conversations import EXACT, agrees
from ipw.workloads.agents.reading.apis import api_of
from ipw.workloads.lm.http.reply import Reply

ARGUMENTS = {"b": 2, "a": 1}


def answer(target: str, body: bytes, status: int = 200) -> tuple[Reply, Any]:
    api = api_of("POST", target)
    assert api is not None
    stream = api.said()
    reply = Reply(stream)
    reply.head(status, {"transfer-encoding": "chunked"})
    for at in range(0, len(body), 7):
        reply.block(body[at : at + 7], 1000 + at)
    reply.close()
    return reply, stream


def sent(target: str, body: dict[str, Any]) -> tuple[Message, ...]:
    api = api_of("POST", target)
    assert api is not None
    return api.sent(body).messages


def events(*each: dict[str, Any]) -> bytes:
    return b"".join(sse(event, name=event["type"]) for event in each)


ANTHROPIC = events(
    {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 5, "cache_read_input_tokens": 20}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hmm"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "let me "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "add"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2,
     "content_block": {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1, '}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '"b": 2}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
    {"type": "message_stop"},
)  # fmt: skip
ANTHROPIC_WHOLE = json.dumps({
    "type": "message", "role": "assistant", "stop_reason": "tool_use",
    "content": [{"type": "text", "text": "let me add"},
                {"type": "tool_use", "id": "toolu_1", "name": "add", "input": ARGUMENTS}],
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 30},
}).encode()  # fmt: skip
ITEM = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a": 1, "b": 2}'}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "let me add"}]}
RESPONSE = {
    "id": "resp_1", "object": "response", "status": "completed", "output": [SAID, ITEM],
    "usage": {"input_tokens": 25, "output_tokens": 30, "input_tokens_details": {"cached_tokens": 20}},
}  # fmt: skip
RESPONSES = events(
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "let me "},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "add"},
    {"type": "response.output_text.done", "output_index": 0, "text": "let me add"},
    {"type": "response.output_item.added", "output_index": 1, "item": ITEM | {"arguments": ""}},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a": 1, "b"'},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": ": 2}"},
    {"type": "response.output_item.done", "output_index": 1, "item": ITEM},
    {"type": "response.completed", "response": RESPONSE},
)
OLLAMA = b"".join(json.dumps(line).encode() + b"\n" for line in (
    {"model": "m", "message": {"role": "assistant", "content": "let me "}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": "add"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "add", "arguments": ARGUMENTS}}]}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
     "prompt_eval_count": 25, "eval_count": 30},
))  # fmt: skip
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"b":2,"a":1}'}}
CHAT = sse(
    {"choices": [{"index": 0, "delta": {"content": "let me "}}]},
    {"choices": [{"index": 0, "delta": {"content": "add"}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **CHAT_CALL}]}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 25, "completion_tokens": 30,
                              "prompt_tokens_details": {"cached_tokens": 20}}}, "[DONE]",
)  # fmt: skip
NEXT_CHAT = {"messages": [{"role": "user", "content": "q"},
                          {"role": "assistant", "content": "let me add", "tool_calls": [CHAT_CALL]},
                          {"role": "tool", "tool_call_id": "call_1", "content": "3"}]}  # fmt: skip
NEXT_ANTHROPIC = {"messages": [
    {"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "hmm", "signature": "x"},
                                      {"type": "text", "text": "let me add"},
                                      {"type": "tool_use", "id": "toolu_1", "name": "add", "input": ARGUMENTS}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}]},
]}  # fmt: skip
NEXT_RESPONSES = {"input": [{"role": "user", "content": "q"}, SAID, ITEM,
                            {"type": "function_call_output", "call_id": "call_1", "output": "3"}]}  # fmt: skip
NEXT_OLLAMA = {"messages": [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "let me add",
     "tool_calls": [{"function": {"name": "add", "arguments": ARGUMENTS}}]},
    {"role": "tool", "content": "3", "tool_name": "add"},
]}  # fmt: skip
APIS = {
    "chat": ("/v1/chat/completions", CHAT, NEXT_CHAT, {"q": [{"role": "user", "content": "q"}]}, 20),
    "anthropic": ("/v1/messages", ANTHROPIC, NEXT_ANTHROPIC, None, 20),
    "anthropic, whole": ("/v1/messages", ANTHROPIC_WHOLE, NEXT_ANTHROPIC, None, 20),
    "responses": ("/v1/responses", RESPONSES, NEXT_RESPONSES, None, 20),
    "responses, whole": ("/v1/responses", json.dumps(RESPONSE).encode(), NEXT_RESPONSES, None, 20),
    "ollama": ("/api/chat", OLLAMA, NEXT_OLLAMA, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", APIS)
def test_an_answer_is_known_again_in_the_next_request(name: str) -> None:
    target, body, following, _, cached = APIS[name]
    reply, stream = answer(target, body)
    told = reply.answer(None)
    assert (told.status, told.error, told.response) == ("ok", None, "let me add")
    assert (told.prompt_tokens, told.completion_tokens, told.cached_tokens) == (25, 30, cached)
    assert told.tool_calls == 1
    said = stream.message()
    _, assistant, result = sent(target, following)
    assert agrees(said, assistant) == EXACT
    assert [call.name for call in said.calls] == ["add"]
    assert result.answers == tuple(call.id for call in said.calls if call.id)


def test_a_question_is_the_same_in_parts_and_as_a_text() -> None:
    plain = sent("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}]})
    parts = sent("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]})
    assert plain == parts == sent("/v1/responses", {"input": "q"})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    assert sent("/v1/chat/completions", {"messages": [{"role": "user", "content": ["q", image]}]}) != plain


def test_calls_without_numbers_are_told_apart_by_their_ids() -> None:
    pieces = [
        {"id": "a", "function": {"name": "add", "arguments": '{"a"'}}, {"function": {"arguments": ": 1}"}},
        {"id": "b", "function": {"name": "mul", "arguments": "{}"}},
    ]  # fmt: skip
    body = sse(*({"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces), "[DONE]")
    _, stream = answer("/v1/chat/completions", body)
    assert [(call.id, call.name, call.arguments) for call in stream.calls.values()] == [
        ("a", "add", '{"a": 1}'), ("b", "mul", "{}"),
    ]  # fmt: skip


def test_thinking_is_no_part_of_what_was_said() -> None:
    body = sse({"choices": [{"delta": {"content": "<think>hmm</think>yes"}, "finish_reason": "stop"}]}, "[DONE]")
    _, stream = answer("/v1/chat/completions", body)
    (message,) = sent("/v1/chat/completions", {"messages": [{"role": "assistant", "content": "yes"}]})
    assert agrees(stream.message(), message) == EXACT


@pytest.mark.parametrize(
    ("result", "failed"),
    [("3", False), ("Error: no such file", True), ('{"error": "x"}', True), ('{"error": null}', False),
     ("Traceback (most recent call last):\n", True), ("the error was mine", False)],
)  # fmt: skip
def test_a_result_that_says_that_the_tool_failed_is_known(result: str, failed: bool) -> None:
    (message,) = sent("/v1/chat/completions", {"messages": [{"role": "tool", "tool_call_id": "c", "content": result}]})
    assert message.failed == (("c",) if failed else ())


@pytest.mark.parametrize(
    ("target", "body", "error"),
    [
        ("/v1/messages", sse({"type": "error", "error": {"message": "overloaded"}}, name="error"), "overloaded"),
        ("/v1/messages", ANTHROPIC[: ANTHROPIC.index(b"event: message_delta")], "broke off"),
        ("/v1/responses", RESPONSES[: RESPONSES.index(b"event: response.completed")], "broke off"),
        ("/v1/responses", events({"type": "response.failed", "response": {"error": {"message": "no memory"}}}),
         "no memory"),
        ("/api/chat", b'{"error": "model not found"}', "model not found"),
        ("/api/chat", OLLAMA[: OLLAMA.index(b'{"model": "m", "message": {"role": "assistant", "content": ""}, "done"')],
         "broke off"),
    ],
)  # fmt: skip
def test_what_fails_after_200_is_told(target: str, body: bytes, error: str) -> None:
    told = answer(target, body)[0].answer(None)
    assert told.status == "error"
    assert error in str(told.error)


@pytest.mark.parametrize("size", [3, 100_000])
def test_vectors_have_tokens_read_and_no_words(size: int) -> None:
    body = {"data": [{"embedding": [0.5] * size}], "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    told = answer("/v1/embeddings", json.dumps(body).encode())[0].answer(None)
    assert (told.status, told.prompt_tokens, told.response) == ("ok", 7, "")


def test_every_api_is_known_by_the_end_of_its_path() -> None:
    named = {
        "/v1/chat/completions": "chat", "/v1/completions": "completions", "/api/v1/responses?x=1": "responses",
        "/openai/deployments/m/embeddings": "embeddings", "/v1/messages": "anthropic", "/api/chat": "ollama",
    }  # fmt: skip
    for target, name in named.items():
        api = api_of("POST", target)
        assert api is not None, target
        assert api.name == name
    for method, target in (("GET", "/v1/models"), ("POST", "/v1/messages/count_tokens"), ("POST", "/v1/files")):
        assert api_of(method, target) is None


def test_tool_calls_of_a_stream_come_together() -> None:
    _, stream = answer("/v1/chat/completions", TOOLS)
    assert [(call.id, call.name, call.arguments) for call in stream.calls.values()] == [
        ("call_1", "add", '{"a": 1, "b": 2}')
    ]
