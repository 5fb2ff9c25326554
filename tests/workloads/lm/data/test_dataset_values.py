"""What a value in a column means."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.texts.values import NotReadableError, cell_value, choices_of, prompt_of, text_of, texts_of

USER = {"role": "user", "content": "2+2?"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("4", "4"), (" é\n", " é\n"), ("nan", "nan"), (4, "4"), (-3, "-3"), (4.0, "4"), (-0.0, "0"), (0.1, "0.1"),
        (1e-7, "0.0000001"), (1e22, "1" + "0" * 22), (2**80, str(2**80)), (Decimal("4.00"), "4"),
        (Decimal("-0.50"), "-0.5"), (Decimal("1E+3"), "1000"), (True, "true"), (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), "2024-01-02T03:04:00+00:00"), (dt.time(3, 4), "03:04:00"),
    ],
)  # fmt: skip
def test_texts_numbers_and_dates_are_read_as_people_write_them(value: object, text: str) -> None:
    assert text_of(value) == text


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=6)
)
def test_the_text_of_a_number_is_that_number(value: float | Decimal) -> None:
    assert Decimal(text_of(value)) == Decimal(repr(value) if isinstance(value, float) else value)
    assert "e" not in text_of(value).lower()


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "null"), ("", "empty"), (" \n", "empty"), (float("nan"), "NaN, no number"), (float("inf"), "infinite"),
        (Decimal("NaN"), "NaN, no number"), (b"Paris", "bytes"), ({"a": 1}, "an object with the keys a"),
        ({}, "an object with no keys"), (["a"], "a list of 1 value"), (["a", "b"], "a list of 2 values"),
        ("\ud800", "half a character"), (dt.timedelta(1), "a value of the kind timedelta"), (1j, "of the kind complex"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named(value: object, what: str) -> None:
    with pytest.raises(NotReadableError, match=what):
        text_of(value)


def test_a_time_that_is_missing_in_pandas_is_named() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(NotReadableError, match="NaT"):
        text_of(pandas.NaT)


TRIVIA = {
    "value": "Paris",
    "aliases": ["City of Light", "Paris"],
    "normalized_value": "paris",
    "type": "WikipediaEntity",
}


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("Paris", ("Paris",)),
        (["Paris", "paris", "Paris"], ("Paris", "paris")),
        ([4, "four", 4.0], ("4", "four")),
        (TRIVIA, ("Paris", "City of Light")),
        ({"value": "x", "aliases": None} | {"aliases": []}, ("x",)),
        ({"text": ["Denver Broncos", "Broncos"], "answer_start": [177, 177]}, ("Denver Broncos", "Broncos")),
        ({"text": "Denver", "answer_start": 3}, ("Denver",)),
        ([{"text": "Denver", "answer_start": 3}, {"text": "it", "answer_start": 9}], ("Denver", "it")),
        (True, ("true", "True")),
    ],
)
def test_an_answer_is_one_text_or_aliases(value: object, answers: tuple[str, ...]) -> None:
    assert texts_of(value) == answers


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([], "an empty list"),
        ([["a"], ["b"]], "a list of lists"),
        (["a", None], "a list in which value 2 is null"),
        (["a", ""], "a list in which value 2 is empty"),
        (["a", float("nan")], "value 2 is NaN"),
        ([{"span": "a"}], "a list in which value 1 is an object with the keys span"),
        ({"spans": ["a"], "types": ["b"]}, "an object with the keys spans, types"),
        ({"text": [], "answer_start": []}, "an object without an answer"),
        ({"value": None, "aliases": []}, "value 1 is null"),
        (b"4", "bytes"),
    ],
)
def test_an_answer_that_is_neither_is_named(value: object, what: str) -> None:
    with pytest.raises(NotReadableError, match=what):
        texts_of(value)


def test_a_prompt_is_a_text_or_chat_messages() -> None:
    assert prompt_of("2+2?") == "2+2?"
    assert prompt_of(5) == "5"
    assert prompt_of([SYSTEM, USER]) == (SYSTEM, USER)
    assert prompt_of(json.dumps([SYSTEM, USER])) == (SYSTEM, USER)
    assert prompt_of([USER]) == "2+2?"
    assert prompt_of([USER | {"name": None}]) == "2+2?"
    parts = [{"type": "text", "text": "2+2?"}]
    assert prompt_of([{"role": "user", "content": parts}]) == ({"role": "user", "content": parts},)


@pytest.mark.parametrize("text", ["[INST] 2+2? [/INST]", "[1, 2]: their sum?", '[{"role": "x"}] how many?', "['a'] ="])
def test_a_prompt_that_begins_like_a_list_is_a_text_all_the_same(text: str) -> None:
    assert prompt_of(text) == text


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "null"),
        ([], "a list of 0 values"),
        (["first turn", "second turn"], "a list of 2 values"),
        ({"messages": [USER]}, "an object with the keys messages"),
        (str([SYSTEM, USER]), "as Python prints them"),
        ([{"from": "human", "value": "hi"}], "message 1 is an object with the keys from, value"),
        ([SYSTEM, {"role": "user", "content": ""}], "the content of message 2 is empty"),
        ([SYSTEM, {"role": "user", "content": None}], "message 2 is an object with the keys role"),
        ([{"role": "human", "content": "hi"}], "has the role 'human'"),
        ([USER, {"role": "assistant", "content": "4"}], "of which the last is by the assistant"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
            r"a part that is not a text \(image_url",
        ),
        ([USER | {"tool_calls": [1]}], "keys role, content, tool_calls"),
    ],
)
def test_a_prompt_that_is_neither_is_named(value: object, what: str) -> None:
    with pytest.raises(NotReadableError, match=what):
        prompt_of(value)


@pytest.mark.parametrize(
    ("value", "texts", "labels"),
    [
        (["red", "green"], ("red", "green"), None),
        ([3, 4.0], ("3", "4"), None),
        ('["red", "green"]', ("red", "green"), None),
        ({"text": ["red", "green"], "label": ["A", "B"]}, ("red", "green"), ("A", "B")),
        ([{"text": "red", "label": 1}, {"text": "green", "label": 2}], ("red", "green"), ("1", "2")),
        ({"B": "green", "A": "red", "C": None}, ("red", "green"), ("A", "B")),
    ],
)
def test_choices_are_texts_and_perhaps_have_labels(value: Any, texts: Any, labels: Any) -> None:
    assert choices_of(value) == (texts, labels)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (["red"], "a list of 1 value, not of 2 to 26"),
        (["red"] * 27, "a list of 27 values"),
        (["red", None], "value 2 is null"),
        (["red", ["green"]], "value 2 is a list"),
        ("['red', 'green']", "a list as Python prints it, and not as JSON"),
        ("red", "a text that is not a JSON list"),
        (4, "of the kind int"),
        ({"text": ["red", "green"], "label": ["A", "A"]}, "2 texts with the labels A, A"),
        ({"text": ["red", "green"], "label": ["A"]}, "2 texts with the labels A"),
        ({"A": "red", "C": "blue"}, "an object with the keys A, C"),
        ([{"text": "red"}, {"text": "green"}], "a list of objects with the keys text"),
    ],
)
def test_choices_that_are_none_are_named(value: object, what: str) -> None:
    with pytest.raises(NotReadableError, match=what):
        choices_of(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Paris", "Paris"), ("007", "007"), ("[0, 1)", "[0, 1)"), ("{1, 2}", "{1, 2}"), ("[x]", "[x]"),
        ('["Paris", "paris"]', ["Paris", "paris"]),
        ('{"text": ["a"], "answer_start": [1]}', {"text": ["a"], "answer_start": [1]}),
    ],
)  # fmt: skip
def test_a_cell_that_holds_json_texts_is_a_list_of_them(text: str, value: object) -> None:
    assert cell_value(text) == value


@pytest.mark.parametrize(
    "text", ["[1, 2]", "[[1, 2], [3, 4]]", '["a", 1]', "['Paris', 'paris']", "['a' 'b']",
             "{'text': array(['a'], dtype=object), 'answer_start': array([3])}"]
)  # fmt: skip
def test_a_cell_that_may_be_a_list_or_a_text_is_refused(text: str) -> None:
    with pytest.raises(NotReadableError):
        cell_value(text)
