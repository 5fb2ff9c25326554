"""What servers send in place of an answer, or around one, after `200 OK`: as they were seen to, in words of our own."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from doubles.openai_server import Behaviour, serving
from workloads.lm.http.test_client import answer, answers, raw_server

from ipw.workloads.lm.http.reply import Answer


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def delta(finish_reason: Any = None, usage: Any = None, **parts: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": parts, "finish_reason": finish_reason}]
    return {"object": "chat.completion.chunk", "choices": choices} | ({"usage": usage} if usage else {})


DONE, ROLE, TEXT = event(b"[DONE]"), event(delta(role="assistant", content="")), event(delta(content="4"))
STOP = event(delta("stop"))
WHOLE = {"choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}]}
OLD_LLAMA_CPP = b'error: {"code": 400, "message": "longer than the context", "type": "invalid_request_error"}\n\n'
FASTAPI = {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "value_error.missing"}]}
WRAPPED = {"detail": json.dumps({"error": {"message": "longer than the context"}})}
PAGE = b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def came(*body: bytes, **how: Any) -> Answer:
    return answer(Behaviour(body=body, **how))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([DONE], "the answer holds no completion"),
        ([], "the answer holds no completion"),
        ([ROLE, DONE], "the answer holds no completion"),
        ([ROLE], "the answer holds no completion"),
        ([b": ping\n\n", b"data:\n\n"], "the answer holds no completion"),
        ([event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}), DONE], "no completion"),
        ([event({"id": "x"}), DONE], 'the answer holds no completion: {"id": "x"}'),
        ([OLD_LLAMA_CPP, DONE], "longer than the context"),
        ([b"error: engine is dead\n\n"], "engine is dead"),
        ([b"error\n\n", DONE], "an error without a word came"),
        ([b'event: error\ndata: {"message": "engine is dead"}\n\n'], "engine is dead"),
        ([b'data: {"message": "engine is dead"}\nevent: error\n\n'], "engine is dead"),
        ([b"event: error\ndata: engine is dead\n\n", DONE], "engine is dead"),
        ([b"event: error\n\n", DONE], "an event 'error' came"),
        ([b'event: response.failed\ndata: {"reason": "engine is dead"}\n\n'], "engine is dead"),
        ([event({"object": "error", "message": "engine is dead", "code": 500}), DONE], "engine is dead"),
        ([event({"type": "error", "code": "400", "message": "engine is dead"})], "engine is dead"),
        (
            [event({"error": {"message": "engine is dead", "type": "server_error", "code": 500}}), DONE],
            "engine is dead",
        ),
        ([event({"error": "engine is dead", "error_type": "generation"})], "engine is dead"),
        ([event({"error_type": "overloaded"})], "overloaded"),
        ([event({"error": True, "message": "engine is dead"})], "engine is dead"),
        ([event({"error": {"code": 500}})], '{"error": {"code": 500}}'),
        ([event({"error_code": 17, "error_msg": "engine is dead"})], "engine is dead"),
        ([event({"base_resp": {"status_code": 1004}, "status_msg": "engine is dead"})], "engine is dead"),
        ([event({"detail": "Not authenticated"})], "Not authenticated"),
        ([event(FASTAPI), DONE], "body.messages.0: field required"),
        ([event(WRAPPED), DONE], "longer than the context"),
        ([event({"errors": [{"message": "one"}, {"message": "two"}]})], "one; two"),
        ([event({"choices": None, "message": "engine is dead"}), DONE], "engine is dead"),
        ([json.dumps({"choices": [{"message": {"content": None, "error": "engine is dead"}}]}).encode()], "engine is"),
        ([event({"choices": [], "error": {"message": "engine is dead"}}), DONE], "engine is dead"),
        ([event(delta("error")), DONE], "the server ended its answer with the reason 'error'"),
        ([event(delta({"type": "abort", "message": "out of memory"})), DONE], "out of memory"),
        ([event({"choices": [{"delta": {}, "error": {"message": "gone", "code": 502}}]}), DONE], "gone"),
        ([b'{"error": {"message": "engine is dead"}}'], "engine is dead"),
        ([b'{"error": "model not found"}\n'], "model not found"),
        ([json.dumps({"error": {"message": "engine is dead"}}, indent=2).encode()], "engine is dead"),
        ([b'["engine is dead"]'], "the answer holds no completion: engine is dead"),
        ([PAGE], "the answer holds no completion: a page of HTML: 502 Bad Gateway"),
        ([b"Internal Server Error"], "the answer holds no completion: Internal Server Error"),
        ([b"\xff\xfe\x00"], "the answer holds no completion: "),
        ([json.dumps(WHOLE).encode()[:-9]], "the answer holds no completion: {"),
        ([b'data: "engine is dead"\n\n'], "a chunk of the stream is not a JSON object: engine is dead"),
        ([event(delta("tool_calls")), DONE], "the answer holds no completion: its reason to finish is 'tool_calls'"),
    ],
)
def test_what_is_sent_in_place_of_an_answer_is_an_error_in_the_servers_words(body: list[bytes], words: str) -> None:
    found = came(*body)
    assert (found.status, found.response, found.first_token_ns) == ("error", "", None)
    assert words in (found.error or "")
    assert (found.error or "").isprintable()


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ([event({"error": {"message": "out of memory"}}), DONE], "out of memory"),
        ([event({"error": {"message": "out of memory"}}), STOP, DONE], "out of memory"),
        ([STOP, event({"error": {"message": "out of memory"}}), DONE], "out of memory"),
        ([b'{"error": {"message": "out of memory"}}\n'], "out of memory"),
        ([b'event: error\ndata: {"message": "out of memory"}\n\n', DONE], "out of memory"),
        ([event({"detail": "out of memory"}), DONE], "out of memory"),
        ([b"error: out of memory\n\n", DONE], "out of memory"),
        ([event(delta("abort")), DONE], "'abort'"),
        ([b"Internal Server Error"], "the stream broke off: Internal Server Error"),
        ([], "the stream broke off"),
        ([TEXT[:-9]], "the stream broke off"),
        ([event(delta("")), b"data: [DON"], "the stream broke off"),
        ([event(b"{"), DONE], "not a JSON"),
        ([event({"fault": {"faultstring": "out of memory", "detail": {"errorcode": "x.y"}}}), DONE], "out of memory"),
        ([event({"Response": {"Error": {"Code": "x", "Message": "out of memory"}}}), DONE], "out of memory"),
        ([event({"Message": "out of memory"}), DONE], "out of memory"),
        ([event({"streamException": {"message": "out of memory"}}), DONE], "out of memory"),
        ([event({"header": {"code": 10013, "message": "out of memory"}}), DONE], "out of memory"),
        ([event({"choices": None, "usage": {}, "base_resp": {"status_code": 9, "status_msg": "out of memory"}}), DONE],
         "out of memory"),
        ([event({"code": 9, "message": "out of memory", "usage": {"completion_tokens": 0}}), DONE], "out of memory"),
        ([event({"err": "out of memory"}), DONE], "out of memory"),
        ([event({"success": False}), DONE], '{"success": false}'),
        ([event({"status": "failed"}), DONE], '{"status": "failed"}'),
        ([event({"code": "503"}), DONE], '{"code": "503"}'),
        ([event(delta() | {"error_code": 17, "error_msg": "out of memory"}), DONE], "out of memory"),
        ([event(delta(error={"message": "out of memory"})), DONE], "out of memory"),
        ([event([{"error": {"message": "out of memory"}}]), DONE], "out of memory"),
        ([event(delta("not_finished")), DONE], "'not_finished'"),
    ],
)  # fmt: skip
def test_a_failure_after_half_of_the_text_is_an_error_and_the_half_is_kept(rest: list[bytes], words: str) -> None:
    found = came(ROLE, TEXT, TEXT, *rest)
    assert (found.status, found.response[:2]) == ("error", "44")
    assert words in (found.error or "")


def lines(data: bytes) -> bytes:
    """Strip the framing of server-sent events."""
    return data.replace(b"data: ", b"").replace(b"\n\n", b"\n")


PRETTY = b"".join(b"data: %s\n" % line for line in json.dumps(delta(content="4"), indent=1).encode().split(b"\n"))
UNUSUAL = {
    "byte-order mark": [b"\xef\xbb\xbf" + ROLE + TEXT + STOP + DONE],
    "carriage returns": [(ROLE + TEXT + STOP + DONE).replace(b"\n", b"\r")],
    "carriage return and newline, cut between": [TEXT[:-2] + b"\r", b"\n\r", b"\n" + STOP + DONE],
    "data in several lines": [PRETTY + b"\n", STOP, DONE],
    "data without a space": [(TEXT + STOP + DONE).replace(b"data: ", b"data:")],
    "fields that say nothing": [b"id: 3\nretry: 9\nevent: message\n" + TEXT, b": ping\n\ndata\n\n", STOP, DONE],
    "one newline between events": [(ROLE + TEXT + STOP + DONE).replace(b"\n\n", b"\n")],
    "no [DONE]": [TEXT, STOP],
    "no newline at the end": [TEXT + STOP.rstrip()],
    "no reason to finish": [TEXT, event(delta()), DONE],
    "an empty reason to finish": [event(delta("", content="4")), event(delta("")), DONE],
    "all in one chunk": [event(delta("stop", content="4"))],
    "JSON lines": [lines(ROLE + TEXT + STOP + DONE)],
    "a JSON list": [b"[" + lines(TEXT + STOP).strip().replace(b"\n", b",") + b"]"],
    "a message at the end": [event({"choices": [{"delta": {}, "message": {"content": "4"}, "finish_reason": "stop"}]})],
    "one document": [json.dumps(WHOLE).encode()],
    "one document, indented": [b"\n \n" + json.dumps(WHOLE, indent=2).encode() + b"\n"],
    "one document without a reason to finish": [json.dumps({"choices": [{"message": {"content": "4"}}]}).encode()],
    "one document as an event": [event(WHOLE), DONE],
    "a list of parts": [event(delta(content=[{"type": "text", "text": "4"}])), STOP, DONE],
    "events framed twice": [b"data: " + TEXT.replace(b"\n", b"\ndata: ") + b"\n\n", b"data: " + STOP, b"data: " + DONE],
    "bytes that are no UTF-8": [TEXT.replace(b"{", b'{"by": "\xe9", ', 1), STOP, DONE],
    "nonsense behind the end": [TEXT, STOP, event(b"bye"), DONE],
    "null between the chunks": [TEXT, event(None), DONE],
    "[DONE] in small letters": [TEXT, event(b"[done]")],
    "[DONE] as JSON": [TEXT, event(b'"[DONE]"')],
    "an event that is the last": [TEXT, b"event: done\ndata: {}\n\n"],
    "a number as content": [event(delta(content=4)), STOP, DONE],
    "signs of life that are JSON": [event({"type": "ping", "message": "still at it"}), TEXT, DONE],
    "a state that is fine beside every chunk": [
        event(delta(content="4") | {"code": 0, "message": "Success", "error": None, "base_resp": {"status_code": 0}}),
        event({"choices": [], "header": {"code": 0, "message": "Success"}, "usage": {"completion_tokens": 1}}),
        DONE,
    ],
    "an error that is empty beside every chunk": [
        event(delta(content="4") | {"error": {"code": None, "message": ""}, "errors": [], "error_code": "0"}),
        STOP,
        DONE,
    ],
    "counts beside the reason to finish": [
        TEXT,
        event({"choices": [{"delta": {}, "finish_reason": "stop", "usage": {}}]}),
    ],
}


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/plain", "text/html"])
@pytest.mark.parametrize("body", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_answer_is_an_answer_whatever_its_head_says(body: list[bytes], content_type: str) -> None:
    found = came(*body, content_type=content_type)
    assert (found.status, found.error, found.response) == ("ok", None, "4")


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_status_of_success_is_one(status: int) -> None:
    assert came(TEXT, STOP, DONE, status=status).status == "ok"


def test_only_what_was_streamed_has_moments_and_chunks() -> None:
    streamed, at_once = came(lines(TEXT + TEXT + STOP)), came(json.dumps(WHOLE).encode())
    assert (streamed.chunks, streamed.completion_tokens, streamed.tokens_source) == (2, 2, "counted")
    assert streamed.first_token_ns is not None
    assert (at_once.chunks, at_once.completion_tokens, at_once.tokens_source) == (None, None, None)
    assert at_once.first_token_ns is None
    plain = came(b'{"choices": [{"text": "4", "finish_reason": "stop"}]}')
    assert (plain.response, plain.chunks, plain.first_token_ns) == ("4", None, None)


def test_an_error_in_a_line_of_its_own_is_found_among_rubbish() -> None:
    found = came(TEXT, b"<p>\n", b'{"error": "no"}\n', STOP, DONE)
    assert (found.status, found.error) == ("error", "no")


def test_the_servers_words_count_more_than_how_the_connection_ended() -> None:
    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        body = event({"error": {"message": "out of memory"}})
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (len(body) + 9, body))

    with raw_server(respond) as url:
        (found,) = answers(url, "2+2")
    assert (found.status, found.error, found.failure) == ("error", "out of memory", "answer")


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ([event({"error": {"message": "EngineCore died", "code": 500}})], "server"),
        ([event({"error": {"message": "no", "code": "429"}})], "server"),
        ([event({"error": {"message": "no", "type": "server_error", "code": None}})], "server"),
        ([event({"error": {"message": "Provider disconnected"}})], "server"),
        ([event(delta("abort")), DONE], "server"),
        ([event(delta({"type": "abort", "message": "no", "status_code": 503}))], "server"),
        ([event(delta({"type": "abort", "message": "too long", "status_code": 400}))], "answer"),
        ([event({"error": {"message": "the engine takes no such prompt", "code": 400}})], "answer"),
        ([event({"error": {"message": "longer than the context", "type": "invalid_request_error"}})], "answer"),
        ([DONE], "answer"),
    ],
)
def test_what_the_server_failed_at_by_itself_can_be_asked_again(body: list[bytes], failure: str) -> None:
    assert came(TEXT, *body).failure == failure if body != [DONE] else came(*body).failure == failure


def numbered(*pieces: tuple[int, str | None]) -> list[bytes]:
    return [
        event({"choices": [{"index": i, "delta": {"content": t} if t else {}, "finish_reason": None if t else "stop"}]})
        for i, t in pieces
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, "4"), (1, "5"), (0, "2"), (1, "3"), (0, None), (1, None)],
        [(0, "4"), (0, "2"), (1, "5"), (1, "3"), (0, None), (1, None)],
        [(0, "4"), (1, "5"), (0, None), (1, None)],
    ],
)
def test_several_answers_at_once_are_not_run_together(pieces: list[tuple[int, str | None]]) -> None:
    found = came(*numbered(*pieces), DONE)
    assert (found.status, found.error) == ("error", "the server gives several answers, though one was asked for")


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4], [0, 0, 0, 0], [3, 4, 5, 0]])
def test_a_number_a_token_is_no_number_of_an_answer(numbers: list[int]) -> None:
    found = came(*numbered(*zip(numbers, ("the ", "sum ", "is 4", None), strict=True)), DONE)
    assert (found.status, found.response, found.chunks) == ("ok", "the sum is 4", 3)


@pytest.mark.parametrize("texts", [["the ", "sum ", "is 4"], ["the ", "the sum ", "the sum is 4", "the sum is 4"]])
def test_messages_in_place_of_pieces_are_the_next_words_or_all_so_far(texts: list[str]) -> None:
    messages = [event({"choices": [{"index": 0, "message": {"content": text}}]}) for text in texts]
    assert (cut := came(*messages)).status == "error", cut
    found = came(*messages, event({"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "stop"}]}))
    assert (found.status, found.response, found.chunks) == ("ok", "the sum is 4", len(texts))
    assert found.first_token_ns is not None


def test_of_several_messages_in_one_document_the_first_is_the_answer() -> None:
    choices = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate("45")]
    assert came(json.dumps({"choices": choices}).encode()).response == "4"


def test_a_page_is_told_by_its_words_and_not_by_its_style() -> None:
    page = (
        b"<html><head><style>" + b"a{}" * 900 + b"</style><script>x()</script></head><body>Please log in</body></html>"
    )
    assert came(page).error == "the answer holds no completion: a page of HTML: Please log in"


def test_a_call_of_a_tool_is_an_answer_without_text() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    found = came(event(delta(tool_calls=[call])), event(delta("tool_calls")), DONE)
    assert (found.status, found.response, found.finish_reason, found.tool_calls) == ("ok", "", "tool_calls", 1)
    assert found.first_token_ns is not None


def test_a_refusal_is_what_the_model_says() -> None:
    found = came(event(delta(refusal="I will ")), event(delta(refusal="not")), STOP, DONE)
    assert (found.status, found.response) == ("ok", "I will not")


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (500, {}, [event({"error": {"message": "out of memory"}}), DONE], "HTTP 500: out of memory"),
        (502, {}, [PAGE], "HTTP 502: a page of HTML: 502 Bad Gateway"),
        (422, {}, [json.dumps(FASTAPI).encode()], "HTTP 422: body.messages.0: field required"),
        (400, {}, [b"bad"], "HTTP 400: bad"),
        (404, {}, [], "HTTP 404: no message"),
        (
            307,
            {"Location": "https://a:b@other.test/v1?c=d"},
            [],
            "HTTP 307: the server points to https://other.test/v1",
        ),
    ],
)
def test_a_refusal_by_status_has_the_servers_words(
    status: int, headers: dict[str, str], body: list[bytes], error: str
) -> None:
    found = came(*body, status=status, headers=headers)
    assert (found.status, found.error, found.http_status) == ("error", error, status)


@pytest.mark.parametrize(
    ("told", "tokens", "source", "doubt"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 20}, 20, "usage", None),
        ({"prompt_tokens": 9, "completion_tokens": 40}, 40, "usage", None),
        ({"prompt_tokens": 9, "completion_tokens": 12}, 12, "usage", None),
        ({"prompt_tokens": 9, "completion_tokens": 9}, 9, "usage", "9 tokens of an answer in 20 chunks"),
        ({"prompt_tokens": 9, "completion_tokens": 1}, 20, "counted", "1 tokens of an answer in 20 chunks"),
        ({"prompt_tokens": 9, "completion_tokens": 900}, 900, "usage", "900 tokens of an answer of 40 bytes"),
        ({"prompt_tokens": 0, "completion_tokens": 0}, 20, "counted", "0 tokens of an answer with text"),
        ({"prompt_tokens": 9, "completion_tokens": -3}, 20, "counted", "-3 tokens"),
        ({"prompt_tokens": "9", "completion_tokens": "20"}, 20, "usage", None),
        ({"prompt_tokens": 9.0, "completion_tokens": 20.0}, 20, "usage", None),
        ({"prompt_tokens": 9, "completion_tokens": "twenty"}, 20, "counted", "no number of tokens"),
        ({"prompt_tokens": 9, "completion_tokens": 20.5}, 20, "counted", "20.5 tokens"),
        ({"prompt_tokens": 9, "total_tokens": 9}, 20, "counted", None),
        ({"input_tokens": 9, "output_tokens": 20}, 20, "usage", None),
        ({}, 20, "counted", None),
    ],
)
def test_a_count_that_cannot_be_is_not_believed_and_one_that_is_odd_is_told(
    told: dict[str, Any], tokens: int, source: str, doubt: str | None
) -> None:
    text = [event(delta(content="x ")) for _ in range(20)]
    for usage in (event({"choices": [], "usage": told}), event(delta("stop", usage=told))):
        found = came(*text, STOP, usage, DONE)
        assert (found.completion_tokens, found.tokens_source, found.chunks) == (tokens, source, 20)
        assert (found.usage_doubt or "").removeprefix("usage tells ") == (doubt or "")
        known = told.get("prompt_tokens", told.get("input_tokens"))
        assert found.prompt_tokens == (9 if known in (9, "9") else None)


def test_a_key_that_a_server_sends_back_is_nowhere_in_the_record() -> None:
    key = "sk-0123456789abcdef"
    places = [
        event(delta(key, content=key, usage={"completion_tokens": key, "prompt_tokens": key})),
        event({"error": {"message": f"no such key: {key}"}}),
        event({key: key}),
        key.encode(),
        b"error: " + key.encode() + b"\n\n",
        b"event: error " + key.encode() + b"\n\n",
    ]
    for place in places:
        with serving(Behaviour(body=[TEXT, place, DONE])) as server:
            (found,) = answers(server.url, "2+2", key=key)
        assert key[:12] not in str(found)


def test_zeros_of_an_answer_that_came_at_once_leave_its_tokens_unknown() -> None:
    found = came(json.dumps(WHOLE | {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}).encode())
    assert (found.status, found.completion_tokens, found.tokens_source) == ("ok", None, None)
    assert found.usage_doubt == "usage tells 0 tokens of an answer with text"


def test_an_answer_without_text_has_no_tokens_and_that_can_be() -> None:
    found = came(STOP, event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 0}}), DONE)
    assert (found.status, found.completion_tokens, found.tokens_source, found.usage_doubt) == ("ok", 0, "usage", None)
