"""Which of the choices an answer means, told by the whole set."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.workloads.texts.answer_places import Case, Settled, settle
from ipw.workloads.texts.values import LETTERS, Choices, text_of, texts_of

COLOURS = ["red", "green", "blue", "grey"]


def found(*rows: tuple[Any, list[Any]], asked: str | None = None) -> Settled:
    cases = [
        Case(f"line {number}", texts_of(answer), Choices(tuple(map(text_of, choices))))
        for number, (answer, choices) in enumerate(rows, 1)
    ]
    return settle(cases, "q.jsonl", asked)


def letters(settled: Settled) -> str:
    return " ".join("".join(LETTERS[place] for place in sorted(places)) for places in settled.places)


def test_a_0_anywhere_means_that_places_count_from_0() -> None:
    settled = found((1, COLOURS), (3, COLOURS), (0, COLOURS))
    assert (settled.form, letters(settled)) == ("index0", "B D A")
    assert settled.why == "as line 3 shows: '0' of 4 choices"


def test_the_number_of_choices_anywhere_means_that_places_count_from_1() -> None:
    settled = found((1, COLOURS), (2, ["yes", "no"]), (3, COLOURS))
    assert (settled.form, letters(settled)) == ("index1", "A B C")
    assert settled.why == "as line 2 shows: '2' of 2 choices"


@pytest.mark.parametrize("answer", [1, "1", 1.0, "1.0", [1]])
def test_a_place_is_a_whole_number_however_written(answer: object) -> None:
    assert letters(found((0, COLOURS), (answer, COLOURS))) == "A B"


def test_places_that_may_count_from_0_or_from_1_are_refused_with_the_option_that_settles_it() -> None:
    rows = [(1, COLOURS), (3, COLOURS)]
    with pytest.raises(
        UsageError, match=r"line 1: the answer '1' may be a place, counted from 0 \(B\) or .* 1 \(A\)"
    ) as no:
        found(*rows)
    assert no.value.hint == "say which with --answer-is index0|index1"
    assert letters(found(*rows, asked="index0")) == "B D"
    assert letters(found(*rows, asked="index1")) == "A C"


def test_places_that_count_neither_from_0_nor_from_1_are_refused() -> None:
    with pytest.raises(UsageError, match="not of one kind: '0' of 4 choices in line 1, '4' of 4 choices in line 2"):
        found((0, COLOURS), (4, COLOURS))
    for answer in (5, -1, 1.5, "01"):
        with pytest.raises(UsageError, match=f"line 2: the answer '{answer}' is none of the choices: 'red', 'green'"):
            found((0, COLOURS), (answer, COLOURS))


def test_numbers_among_numbers_are_the_text_or_the_place_whichever_fits_all() -> None:
    assert letters(found((42, [41, 42]), (2, [1, 2, 3]))) == "B B"
    settled = found((3, ["8", "1", "3", "16"]), (1, ["1", "2", "3", "4"]), (0, COLOURS))
    assert (settled.form, letters(settled)) == ("index0", "D B A")
    assert letters(found(("red", COLOURS), ("2", ["3", "2"]))) == "A B"


def test_numbers_among_numbers_are_refused_where_text_and_place_both_fit_and_differ() -> None:
    rows = [(3, ["8", "1", "3", "16"]), (1, ["1", "2", "3", "4"])]
    with pytest.raises(UsageError, match=r"the text of a choice \(C\), a place, counted from 0 \(D\) or"):
        found(*rows)
    assert letters(found(*rows, asked="text")) == "C A"
    assert letters(found((1, [0, 1, 2]), (0, [0, 1]))) == "B A"  # the text and the place are the same


def test_numbers_beside_texts_are_places_though_every_text_is_a_number() -> None:
    def typed(*rows: tuple[int, list[str]]) -> Settled:
        return settle([Case("line", texts_of(a), Choices(tuple(c)), number=True) for a, c in rows], "q")

    assert letters(typed((2, ["0", "1", "2", "3"]), (0, ["1", "0", "2", "3"]))) == "C A"
    assert letters(typed((1, ["2", "1"]), (2, ["1", "2"]))) == "A B"  # a 2 of 2: from 1
    with pytest.raises(UsageError, match=r"may be a place, counted from 0 \(D\) or a place, counted from 1 \(C\)"):
        typed((3, ["8", "1", "3", "16"]), (1, ["1", "2", "3", "4"]))
    assert letters(typed((42, ["41", "42"]), (2, ["1", "2", "3"]))) == "B B"  # where no place fits, the text


def test_letters_are_read_in_their_usual_dress_and_texts_as_they_are() -> None:
    settled = found(("B", COLOURS), ("(a)", COLOURS), ("d.", COLOURS), ("[C]", COLOURS), (" grey ", COLOURS))
    assert letters(settled) == "B A D C D"
    with pytest.raises(UsageError, match="line 1: the answer 'E' is none of the choices"):
        found(("E", COLOURS))


def test_a_letter_that_is_also_the_text_of_another_choice_is_what_the_other_answers_are() -> None:
    grades = ["B", "A", "C"]
    assert letters(found(("A", grades), ("C", COLOURS))) == "A C"
    assert letters(found(("A", grades), ("red", COLOURS))) == "B A"
    for rows in ([("A", grades)], [("A", grades), ("red", COLOURS), ("C", COLOURS)]):
        with pytest.raises(UsageError, match=r"the text of a choice \(B\) or the letter of a choice \(A\)"):
            found(*rows)
    assert letters(found(("A", grades), asked="letter")) == "A"


def test_several_answers_and_choices_alike_are_all_right() -> None:
    assert letters(found((["A", "C"], COLOURS))) == "AC"
    assert letters(found(([0, 2], COLOURS))) == "AC"
    assert letters(found((["Paris", "paris"], ["Rome", "Paris"]))) == "B"
    assert letters(found(("red", ["red", "green", "red"]))) == "AC"


def test_letters_and_places_in_one_set_are_refused() -> None:
    with pytest.raises(UsageError, match="not of one kind: 'B' of 4 choices in line 1, '0' of 4 choices in line 2"):
        found(("B", COLOURS), (0, COLOURS))


def test_labels_of_the_set_are_its_letters() -> None:
    def labelled(answer: str, *labels: str) -> str:
        choices = Choices(("3", "1", "2", "4")[: len(labels)], labels)
        return letters(settle([Case("line 1", (answer,), choices)], "q"))

    assert labelled("2", "1", "2", "3", "4") == "B"
    assert labelled("C", "A", "B", "C", "D") == "C"
    assert labelled("(c)", "A", "B", "C", "D") == "C"
    assert labelled("4", "A", "B", "C", "D") == "D"


def test_what_is_asked_for_must_fit_every_answer() -> None:
    for asked, answer in (("index0", "B"), ("index1", 0), ("text", "B"), ("letter", "red")):
        with pytest.raises(UsageError, match=r"line 1: the answer .* is not "):
            found((answer, COLOURS), asked=asked)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.sampled_from([0, 1]))
def test_a_place_is_never_silently_another(places: list[int], first: int) -> None:
    """The places come back where a 0 or a 4 is among the numbers; else the set is refused."""
    rows = [(place + first, COLOURS) for place in places]
    if {0, len(COLOURS)} & {number for number, _ in rows}:
        assert [min(each) for each in found(*rows).places] == places
    else:
        with pytest.raises(UsageError):
            found(*rows)
