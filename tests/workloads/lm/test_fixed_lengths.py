from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, Server, serving
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import IpwError, UsageError
from ipw.workloads.lm.length_fit import Fit, fit_words, fitted, told
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.texts.datasets import load

TEMPLATE = 9
"""Tokens of a chat template."""


def by_words(text: str) -> int:
    """A token a word, as in the vocabularies of common models."""
    return len(text.split())


def by_letters(text: str) -> int:
    return len(text.strip())


def by_pieces(text: str) -> int:
    """One to three tokens a word, by the word, as in a small vocabulary; marks are a token each."""
    return sum(1 + zlib.crc32(word.encode()) % 3 if word.isalpha() else len(word) for word in text.split())


VOCABULARIES = [by_words, by_letters, by_pieces]


def test_prompts_have_their_length_differ_and_ask_for_answers_of_theirs() -> None:
    dataset = load("fixed:512,128", limit=5)
    assert len({question.prompt for question in dataset.questions}) == 5
    assert all(abs(len(question.prompt.split()) - 512) <= 10 for question in dataset.questions)
    assert len({len(question.prompt) for question in dataset.questions}) == 1
    assert dataset.request == {"max_tokens": 128, "min_tokens": 128, "ignore_eos": True}
    assert dataset.scorer_default == "none"
    assert dataset == load("fixed:512,128", limit=5)
    assert dataset.digest != load("fixed:512,128", limit=5, seed=1).digest
    assert len(load("fixed:9,1").questions) == 100


@pytest.mark.parametrize("lengths", ["512", "512,", "0,5", "a,b", "5,0", "99999999,1"])
def test_what_is_not_a_pair_of_lengths_is_told(lengths: str) -> None:
    with pytest.raises(UsageError, match="is not a pair of lengths"):
        load(f"fixed:{lengths}")


def find(vocabulary: Callable[[str], int], tokens: int, template: int = TEMPLATE) -> tuple[Fit, int]:
    asked: list[str] = []

    async def count(text: str) -> int:
        asked.append(text)
        return template + vocabulary(text)

    found = asyncio.run(fit_words(count, tokens, 0))
    assert found is not None
    return found, len(asked)


@given(st.integers(TEMPLATE + 1, 20_000))
def test_where_a_word_is_a_token_every_length_is_met_with_few_requests(tokens: int) -> None:
    found, requests = find(by_words, tokens)
    assert found == (tokens - TEMPLATE, "", (tokens, tokens))
    assert requests <= 5


@given(st.integers(TEMPLATE + 6, 20_000))
def test_where_letters_are_tokens_every_length_is_met_all_the_same(tokens: int) -> None:
    found, requests = find(by_letters, tokens)
    assert found.counted == (tokens, tokens)
    assert requests <= 9


@given(st.integers(40, 5_000), st.integers(0, 30))
def test_where_words_differ_lengths_are_near_and_what_they_are_is_known(tokens: int, template: int) -> None:
    found, _ = find(by_pieces, tokens, template)
    least, most = found.counted
    assert least <= tokens * 1.25
    assert most >= tokens * 0.75


def serve_and_fit(vocabulary: Callable[[str], int], **options: Any) -> tuple[Plan, dict[str, Any], Server]:
    def behave(request: Request) -> Behaviour:
        return Behaviour(prompt_tokens=TEMPLATE + vocabulary(request.prompt))

    with serving(behave) as server:
        return *fit_at(server, **options), server


def fit_at(server: Server, **options: Any) -> tuple[Plan, dict[str, Any]]:
    parameters = Parameters(base_url=server.url, **options)
    with serve(parameters) as endpoint:
        planned, facts = fitted(endpoint, plan(parameters))
    assert facts is not None
    return planned, facts


@pytest.mark.parametrize("vocabulary", [by_words, by_letters])
def test_the_prompts_of_a_plan_are_as_long_as_the_server_counts(vocabulary: Callable[[str], int]) -> None:
    planned, facts, server = serve_and_fit(vocabulary, dataset="fixed:64,32", limit=50)
    prompts = [question.prompt for question in planned.dataset.questions]
    assert {TEMPLATE + vocabulary(prompt) for prompt in prompts} == {64}
    assert len(set(prompts)) == 50
    assert facts["counted"] == [64, 64]
    assert told(facts) == "prompts of 64 tokens, as the server counts them, its chat template among them"
    assert {book.body["max_tokens"] for book in server.books} == {1}
    assert max(TEMPLATE + vocabulary(book.prompt) for book in server.books) < 100


def test_a_length_below_that_of_the_template_is_told() -> None:
    planned, facts, _ = serve_and_fit(by_words, dataset="fixed:4,4", limit=2)
    assert [question.prompt for question in planned.dataset.questions] == ["time", "time"]
    assert told(facts) == (
        "mind: prompts of 4 tokens cannot be made: the shortest prompt is counted as 10 tokens, most of them the chat "
        "template's"
    )


def test_prompts_that_are_too_short_to_differ_are_told() -> None:
    _, facts, _ = serve_and_fit(by_words, dataset="fixed:10,4", limit=3)
    assert told(facts) == "mind: prompts of 10 tokens have too few words to differ: 2 are another's again"


def test_lengths_that_nobody_counts_are_told() -> None:
    with serving(Behaviour(usage=False)) as server:
        _, facts = fit_at(server, dataset="fixed:64,4")
        assert told(facts) == (
            "mind: prompts of 64 tokens are only about as long: the server does not tell how many tokens a prompt has"
        )
        asked = len(server.books)
        _, facts = fit_at(server, dataset="fixed:64,4", warmup=0)
        assert told(facts).endswith("the server counts them in the warm-up, and none is asked for")
        assert len(server.books) == asked


def test_a_context_that_is_too_short_is_told_at_once() -> None:
    def behave(request: Request) -> Behaviour:
        return Behaviour(status=400 if len(request.prompt.split()) > 100 else 200)

    with serving(behave) as server, pytest.raises(IpwError, match="answers no prompt of 504 words"):
        fit_at(server, dataset="fixed:504,4")
    with serving() as server:
        parameters = Parameters(base_url=server.url, dataset="bundled")
        with serve(parameters) as endpoint:
            assert fitted(endpoint, planned := plan(parameters)) == (planned, None)
