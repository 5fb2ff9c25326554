"""What a server says where an answer was due, in the forms of many: its words, its status, and no false alarm."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipw.workloads.lm.http.server_words import (
    MOST_PAGE,
    MOST_TEXT,
    UNREADABLE,
    complaint,
    error_message,
    plain_words,
    status_told,
    tells_error,
    whole_text,
)


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"error": {"message": "no such model", "type": "x"}}, "no such model"),
        ({"error": "busy"}, "busy"),
        ({"error": "out of memory", "error_type": "overloaded"}, "out of memory"),
        ({"Error": {"Message": "in capitals"}}, "in capitals"),
        ({"detail": [{"loc": ["body", "n", 0], "msg": "field required"}]}, "body.n.0: field required"),
        ({"detail": [{"msg": "one"}, {"msg": "two"}]}, "one; two"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"Response": {"Error": {"Code": "X", "Message": "denied"}}}, "denied"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),
        ({"error": {"message": '{"error": {"message": "inside"}}'}}, "inside"),
        ({"error": {"message": "{not json"}}, "{not json"),
        ({"error": {"message": ' {"no": 1}'}}, ' {"no": 1}'),
        ({"error": "", "message": "  spaces  "}, "spaces"),
        ({"errors": ["one", "", "three"]}, "one; three"),
        ({"loc": "nowhere", "msg": "plain"}, "plain"),
        ({"strange": 1}, '{"strange": 1}'),
        ("", '""'),
        (["just", "a list"], "just; a list"),
        (7, "7"),
    ],
)
def test_an_error_says_its_own_words_in_any_form(body: Any, words: str) -> None:
    assert error_message(body) == words


def test_what_has_no_end_or_is_too_deep_is_cut_or_cannot_be_read() -> None:
    assert whole_text(["x" * 3000]) == '["' + "x" * (MOST_TEXT - 2)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert whole_text(deep) == UNREADABLE
    assert error_message(deep) == UNREADABLE
    assert complaint({"message": deep}) is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "x"}}, {"error": True}, {"Exception": "x"}, {"err_no": 3}, {"fault": {"string": "x"}},
        {"object": "error"}, {"type": "FAILED"}, {"status": "failure"}, {"success": False}, {"code": 400},
        {"status": "503"}, {"httpStatusCode": 1, "http_status_code": 599}, nested(1, {"code": 500}),
        nested(2, {"error": "x"}), {"error": {"a": {"b": 1}}},
    ],
)  # fmt: skip
def test_these_tell_that_something_failed(body: dict[str, Any]) -> None:
    assert tells_error(body)


@pytest.mark.parametrize(
    "body",
    [
        {"error": None}, {"error": ""}, {"error": {}}, {"error": []}, {"error": "OK"}, {"error_code": "0"},
        {"error": {"code": None, "message": ""}}, {"success": True}, {"success": None}, {"success": 0}, {"code": 200},
        {"code": 399}, {"code": 600}, {"code": "4000"}, {"code": True}, {"status": "ok"}, {"type": "message"},
        {"object": 1}, {"mirror": 1}, {"term": "x"}, {"choices": [{"error": "x"}]}, nested(3, {"code": 500}), {},
    ],
)  # fmt: skip
def test_these_do_not(body: dict[str, Any]) -> None:
    assert not tells_error(body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"code": 400}, 400), ({"code": "404"}, 404), ({"Status": 599}, 599), ({"code": 399}, None),
        ({"code": 600}, None), ({"code": "four"}, None), ({"code": 400.0}, None), ({"code": True}, None),
        ({"code": 200, "status": 503}, 503), ({"a": {"code": 429}, "code": 500}, 500), (nested(2, {"code": 429}), 429),
        (nested(3, {"code": 429}), None), ({"a": {"b": 1}, "c": {"code": 429}}, 429), ([{"code": 400}], None),
        ("400", None), (None, None),
    ],
)  # fmt: skip
def test_a_status_is_found_among_the_words_the_outermost_first(body: Any, status: int | None) -> None:
    assert status_told(body) == status


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "quota is used up"}, "quota is used up"),
        ({"msg": "x", "type": "ping"}, None),
        ({"detail": "x", "type": "heart-beat"}, None),
        ({"detail": "x", "type": "KeepAlive"}, None),
        ({"message": "ok"}, None),
        ({"message": "Success"}, None),
        ({"message": ""}, None),
        ({"message": "ok", "result": {"code": 7, "msg": "denied"}}, "denied"),
        ({"result": {"msg": "no code"}}, None),
        ({"text": "not a key for it"}, None),
        ({}, None),
    ],
)
def test_an_object_that_is_no_answer_complains_where_it_says_more_than_ok(
    body: dict[str, Any], said: str | None
) -> None:
    assert complaint(body) == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  upstream timed out \n", "upstream timed out"),
        ('{"error": "busy"}', "busy"),
        ('event: error\ndata: {"error": "busy"}\n\n', "busy"),
        ("data: [DONE]", "data: [DONE]"),
        ("<html><title>502 Bad</title><body>x</body></html>", "a page of HTML: 502 Bad"),
        ("<!DOCTYPE html><h1 class='a'> Sorry </h1>", "a page of HTML: Sorry"),
        ("<HTML><style>p {}</style><p>one</p>\n<p>two</p>", "a page of HTML: one two"),
        ("<head><script>var a = 1;", "a page of HTML:"),
        ("<answer>", "<answer>"),
        ("<header>", "<header>"),
    ],
)
def test_a_text_a_page_or_an_event_says_what_people_would_read(text: str, words: str) -> None:
    found = plain_words(text)
    assert " ".join(found.split()) == words


def test_of_a_long_text_or_page_the_beginning_is_told() -> None:
    assert plain_words("y" * 5000) == "y" * MOST_TEXT
    assert plain_words("<html>" + "z" * 5000) == "a page of HTML: " + "z" * (MOST_TEXT - 1)
    assert plain_words("<html>" + " " * MOST_PAGE + "<title>late</title>").strip() == "a page of HTML:"
    assert plain_words(json.dumps({"error": "y" * 5000})) == "y" * 5000
