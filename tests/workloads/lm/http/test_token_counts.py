"""A server's count of tokens: what is taken from its words, and at which limit it is doubted or not believed."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.workloads.lm.http.token_counts import MOST_TOKENS, TokenCounts


def taken(*chunks: tuple[Any, Any]) -> TokenCounts:
    counts = TokenCounts()
    for usage, timings in chunks:
        counts.take(usage, timings)
    return counts


def counted(completion: int | None, **usage: Any) -> TokenCounts:
    return taken(({"completion_tokens": completion, **usage}, None))


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0), (7, 7), (7.0, 7), ("7", 7), ("007", 7), (MOST_TOKENS - 1, MOST_TOKENS - 1), ("1" * 12, 111111111111),
        (MOST_TOKENS, None), (-1, None), (7.5, None), ("7.0", None), ("", None), ("-3", None), ("1" * 16, None),
        (True, None), (None, None), ([7], None), (float("nan"), None), (float("inf"), None), ("٣", None),
    ],
)  # fmt: skip
def test_a_count_is_a_whole_number_however_a_gateway_writes_it(value: Any, count: int | None) -> None:
    assert counted(value).completion == count
    assert taken(({"output_tokens": value}, None)).completion == count


def test_both_dialects_names_are_known_and_the_first_one_counts() -> None:
    found = taken(({"completion_tokens": 3, "output_tokens": 9, "prompt_tokens": 5, "input_tokens": 8}, None))
    assert (found.completion, found.prompt) == (3, 5)
    assert taken(({"input_tokens": 8}, None)).prompt == 8


def test_counts_that_every_chunk_tells_grow_and_a_prompt_has_a_token() -> None:
    found = taken(*(({"completion_tokens": n, "prompt_tokens": p}, None) for n, p in ((1, 6), (5, 6), (4, 0))))
    assert (found.completion, found.prompt) == (5, 6)
    assert taken(({"completion_tokens": 0, "prompt_tokens": 0}, None)).prompt is None


@pytest.mark.parametrize("usage", [None, [], "many", 7, {"completion_tokens": None}, {}])
def test_what_tells_nothing_changes_nothing(usage: Any) -> None:
    found = taken(({"completion_tokens": 4, "prompt_tokens": 6}, {"predicted_n": 4}), (usage, usage))
    assert (found.completion, found.prompt, found.timings) == (4, 6, {"predicted_n": 4})
    assert found.doubt(4, "four", calls=0) is None


def test_what_a_cache_held_is_told_by_usage_or_else_by_timings() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 3}}
    assert taken((details, {"cache_n": 9})).cached == 3
    assert taken(({}, {"cache_n": 9})).cached == 9
    assert taken(({"prompt_tokens_details": 3}, None)).cached is None


def test_of_timings_those_that_are_known_and_finite_are_kept_and_the_last_ones_count() -> None:
    found = taken((None, {"predicted_n": 3, "predicted_ms": float("inf"), "made_up": 1}), (None, {"prompt_n": 2}))
    assert found.timings == {"prompt_n": 2}
    assert taken((None, {"predicted_n": 3}), (None, {"other": 1})).timings == {"predicted_n": 3}


@pytest.mark.parametrize(
    ("completion", "chunks", "said", "believed"),
    [
        (1, 8, True, True), (1, 9, True, False), (2, 16, True, True), (2, 17, True, False), (0, 0, False, True),
        (0, 0, True, False), (0, 1, False, False), (1, 0, True, True), (None, 0, False, False),
    ],
)  # fmt: skip
def test_a_count_is_believed_where_a_token_came_in_eight_pieces_at_most(
    completion: int | None, chunks: int, said: bool, believed: bool
) -> None:
    assert counted(completion).believed(chunks, said=said) == believed


@pytest.mark.parametrize(
    ("completion", "chunks", "text", "calls", "doubt"),
    [
        (5, 10, "ten chunks", 0, None),
        (4, 9, "nine chunks", 0, "usage tells 4 tokens of an answer in 9 chunks"),
        (0, 0, "", 0, None),
        (0, 0, "x", 0, "usage tells 0 tokens of an answer with text"),
        (0, 0, "", 1, "usage tells 0 tokens of an answer with text"),
        (18, 1, "ab", 0, None),
        (19, 1, "ab", 0, "usage tells 19 tokens of an answer of 2 bytes"),
        (19, 1, "ab", 1, None),
        (19, 3, "ab", 0, None),  # 19 are 16 more than the chunks, and 17 more than the bytes
        (20, 1, "äöü", 0, None),  # more than letters, but not than bytes
        (22, 1, "äöü", 0, None),
        (23, 1, "äöü", 0, "usage tells 23 tokens of an answer of 6 bytes"),
    ],
)
def test_a_count_is_doubted_at_half_a_token_a_chunk_and_beyond_a_byte_a_token(
    completion: int, chunks: int, text: str, calls: int, doubt: str | None
) -> None:
    assert counted(completion).doubt(chunks, text, calls=calls) == doubt


@pytest.mark.parametrize(
    ("told", "doubt"),
    [
        (-4, "usage tells -4 tokens"),
        (2.5, "usage tells 2.5 tokens"),
        ("many", "usage tells no number of tokens"),
        (True, "usage tells no number of tokens"),
        (1 << 90, "usage tells 12379400392853802748 tokens"),
    ],
)
def test_a_count_that_is_none_is_told_and_what_was_not_told_is_no_doubt(told: Any, doubt: str) -> None:
    assert counted(told).doubt(3, "abc", calls=0) == doubt
    assert counted(None).doubt(3, "abc", calls=0) is None
    assert TokenCounts().doubt(3, "abc", calls=0) is None


@pytest.mark.parametrize(
    ("timings", "doubt"),
    [
        ({"predicted_n": 9}, None),
        ({"predicted_n": 11}, None),
        ({"predicted_n": 12}, "usage tells 10 tokens, and timings 12"),
        ({"predicted_n": 8}, "usage tells 10 tokens, and timings 8"),
        ({"prompt_n": 4, "cache_n": 3}, None),
        ({"prompt_n": 4, "cache_n": 4}, "usage tells a prompt of 7 tokens, timings 8"),
        ({"prompt_n": 4}, None),
        ({"cache_n": 4}, None),
        ({"prompt_n": 0, "cache_n": 7}, None),
    ],
)
def test_usage_is_held_against_the_timings_of_the_server(timings: dict[str, float], doubt: str | None) -> None:
    found = taken(({"completion_tokens": 10, "prompt_tokens": 7}, timings))
    assert found.doubt(10, "0123456789", calls=0) == doubt
    unknown = taken(({"completion_tokens": 10}, {"prompt_n": 4, "cache_n": 4}))
    assert unknown.doubt(10, "0123456789", calls=0) is None
