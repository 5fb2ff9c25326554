"""What may mend what a server refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles.openai_server import Behaviour, serving
from workloads.lm.test_run import execute, sums

from ipw.errors import IpwError
from ipw.runs.directory import RunDir
from ipw.workloads.lm.http.refusals import hint
from ipw.workloads.lm.http.url import server_url

URL = server_url("http://host:8000/v1")


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        (
            "maximum context length is 4096 tokens. However, you requested 5000 tokens (904 in the messages, 4096 in",
            3192,
        ),
        (
            "maximum context length is 4096 tokens, however you requested 5000 tokens (904 in your prompt; 4096 for",
            3192,
        ),
        (("'max_tokens' is too large: 4096. This model's maximum context length is 2048 tokens and your request has "
         "20 input tokens (4096 > 2048 - 20)."), 2028),
        (("This model's maximum context length is 128 tokens. However, you requested 65 output tokens and your prompt "
         "has at least 64 input tokens, for a total of at least 129 tokens."), 64),
        (("Requested token count exceeds the model's maximum context length of 2048 tokens. You requested a total of "
         "5000 tokens: 904 tokens from the input messages and 4096 tokens for the completion."), 1144),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 `inputs` tokens and 2000 `max_new_t", 1096),
        ("input length and `max_tokens` exceed context limit: 190 + 20 > 200, decrease input length", 10),
    ],
)  # fmt: skip
def test_where_a_prompt_leaves_room_the_hint_says_how_much(words: str, tokens: int) -> None:
    for error in (f"HTTP 400: {words}", f"HTTP 422: {words}", words):  # some tell it in the stream
        assert hint(error, URL, key=False) == f"--max-tokens {tokens}, or less where prompts are longer"


@pytest.mark.parametrize(
    "words",
    [
        "the request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "The input (9412 tokens) is longer than the model's context length (8192 tokens).",
        "This model's maximum context length is 8192 tokens. However, your request has 9412 input tokens.",
        "prompt is too long: 9412 tokens > 8192 maximum",
        "the prompt has 9412 tokens, the model takes up to 8192",
    ],
)
def test_a_prompt_that_is_too_long_by_itself_needs_another_server(words: str) -> None:
    told = hint(f"HTTP 400: {words}", URL, key=True)
    assert told == "a prompt of 9412 tokens needs a model or a server with a context of more than 8192 tokens"


def test_with_one_number_alone_the_room_is_not_told() -> None:
    context = hint("HTTP 400: This model's maximum context length is 8192 tokens.", URL, key=True)
    assert (
        context == "--max-tokens N, so that it fits into 8192 tokens with the prompt; or a server with a longer context"
    )
    prompt = hint("HTTP 400: exceeds the available context size: your request has 9412 input tokens", URL, key=True)
    assert prompt == "--max-tokens N, smaller than it is; or a server with a longer context"


def test_a_prompt_that_fills_the_context_to_the_last_token_leaves_no_room() -> None:
    told = hint("HTTP 400: the request (8192 tokens) exceeds the available context size (8192 tokens)", URL, key=True)
    assert told == "a prompt of 8192 tokens needs a model or a server with a context of more than 8192 tokens"


def test_without_numbers_the_option_is_named_still() -> None:
    for words in ("the request exceeds the available context size", "max_tokens must be at least 1, got -186."):
        assert "--max-tokens" in (hint(f"HTTP 400: {words}", URL, key=True) or "")


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_a_key_names_the_variable(status: int) -> None:
    assert hint(f"HTTP {status}: no", URL, key=False) == "set OPENAI_API_KEY to the server's key"
    assert hint(f"HTTP {status}: no", URL, key=True) == "check OPENAI_API_KEY: the server refuses that key"


@pytest.mark.parametrize("status", [404, 405])
def test_a_place_that_is_not_there_names_the_usual_one_or_the_model(status: int) -> None:
    elsewhere = server_url("http://host:8000/v2")
    assert (hint(f"HTTP {status}: no", elsewhere, key=False) or "").startswith("--base-url http://host:8000/v1:")
    assert "--api completions" in (hint(f"HTTP {status}: no", URL, key=False) or "")
    assert "--model" in (hint(f"HTTP {status}: The model `x` does not exist.", URL, key=False) or "")


def test_a_page_or_another_place_is_told_to_be_no_api() -> None:
    assert "--base-url" in (hint("HTTP 307: the server points to https://other.test/v1", URL, key=False) or "")
    page = "the answer holds no completion: a page of HTML: Sign in"
    assert "page for people" in (hint(page, URL, key=False) or "")


def test_what_nobody_can_mend_from_here_has_no_hint() -> None:
    for error in ("HTTP 500: out of memory", "the stream broke off", "no whole answer within 3 s", ""):
        assert hint(error, URL, key=False) is None


def test_a_missing_template_and_a_busy_server_have_their_options() -> None:
    assert "--api completions" in (hint("HTTP 400: the model has no chat template", URL, key=False) or "")
    assert "--concurrency" in (hint("HTTP 429: slow down", URL, key=False) or "")


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (401, "no key", "OPENAI_API_KEY"),
        (400, "maximum context length is 64 tokens. However, you requested 70 tokens (6 in the messages, 64 in", "58"),
        (404, "no such place", "--base-url"),
        (500, "out of memory", "log"),
    ],
)
def test_a_warm_up_that_is_refused_ends_the_run_with_what_may_mend_it(
    status: int, words: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    refusal = Behaviour(status=status, body=[json.dumps({"error": {"message": words}}).encode()])
    with serving(refusal) as server, pytest.raises(IpwError, match=words[:12]) as caught:
        execute(RunDir.create(tmp_path, "test"), base_url=server.url, dataset=sums(tmp_path, 1), warmup=1)
    assert remedy in (caught.value.hint or "")
