from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.workloads.lm.scoring.answers import DEFERRED, SCORERS, Scored, check_scorer, chosen_letter, last_number, scored
from ipw.workloads.texts.questions import Question


def score(scorer: str, response: str | None, asked: Question) -> float | None:
    return scored(scorer, response, asked).score


def question(answer: str, choices: tuple[str, ...] | None = None) -> Question:
    return Question("q", None, "?", answer, choices)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_missing_response_is_wrong(scorer: str) -> None:
    assert score(scorer, None, question("B")) == 0.0


@pytest.mark.parametrize(
    ("scorer", "answer", "response", "right"),
    [
        ("exact", "15", " 15\n", True),
        ("exact", "15", "15.", False),
        ("exact", "Paris", "paris", False),
        ("contains", "Paris", "It is PARIS, surely.", True),
        ("contains", "5", "15", False),
        ("contains", "New York", "new\nyork", True),
        ("contains", "a.c", "abc", False),
        ("number", "15", "6+9 makes 15.", True),
        ("number", "1234.5", "so $1,234.50", True),
        ("number", "15", "15 or 16", False),
        ("number", "-3", "12-15 is \u22123", True),
        ("number", "15", "fifteen", False),
        ("regex", r"\b1[56]\b", "about 16", True),
        ("regex", r"^x$", "y", False),
    ],
)
def test_scorers(scorer: str, answer: str, response: str, right: bool) -> None:
    assert score(scorer, response, question(answer)) == float(right)


@pytest.mark.parametrize(
    ("scorer", "answers", "right", "wrong"),
    [
        ("exact", ("Paris", "paris"), "paris ", "PARIS"),
        ("contains", ("Big Apple", "New York"), "It is new york.", "It is York."),
        ("contains", ("a.c", "x"), "an x", "abc"),
        ("number", ("four", "4", "0.0000001"), "it is 1e-7", "it is 5"),
        ("number", ("4", "5"), "it is 5", "it is five"),
        ("choice", ("A", "C"), "C.", "B."),
        ("regex", ("^x$", r"\d+ m"), "30 m", "xx"),
    ],
)
def test_any_of_several_answers_is_right(scorer: str, answers: tuple[str, ...], right: str, wrong: str) -> None:
    asked = Question("q", None, "?", answers[0], aliases=answers[1:])
    check_scorer(scorer, [asked])
    assert (score(scorer, right, asked), score(scorer, wrong, asked)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("x=3", "3"),
        ("3-5", "5"),
        (".5", "0.5"),
        ("1,234,567", "1234567"),
        ("1,23", "23"),
        ("v1.2.3", None),
        ("", None),
        ("is 1e-7", "1E-7"),
        ("1.5E3.", "1.5E+3"),
        ("3e", "3"),
        ("2e5x", "2"),
    ],
)
def test_the_last_number_of_a_text(text: str, number: str | None) -> None:
    found = last_number(text)
    assert (None if found is None else f"{found}") == number


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        (" (b). ", "B"),
        ("**C**", "C"),
        ("The answer is C.", "C"),
        ("The answer is **(D)** because A is wrong.", "D"),
        ("Answer: B\n\nExplanation: A and C are too small.", "B"),
        ("answer is a.", "A"),
        ("The answer is B because it is larger", "B"),
        ("I thought of A. Then again, the correct answer is D", "D"),
        (r"so \boxed{C}", "C"),
        (r"so \boxed{\text{C}}, not the answer A", "C"),
        ("C) green", "C"),
        ("B. It is larger than A", "B"),
        ("Between A and B, I prefer (B)", "B"),
        ("It must be option D", "D"),
        ("It can only be D", "D"),
        ("A cat is an animal", None),
        ("I think so", None),
        ("The answer is I think unclear", None),
        ("The answer is a matter of taste", None),
        ("A or B, who knows", None),
        ("E.g. nothing", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_the_letter_that_a_response_settles_on(response: str, letter: str | None) -> None:
    assert chosen_letter(response, ("red", "green", "blue", "grey", "pink", "a", "b", "c", "d")) == letter


def test_a_response_in_the_words_of_a_choice_chooses_it() -> None:
    assert chosen_letter("Green.", ("red", "green")) == "B"
    assert score("choice", "green", question("B", ("red", "green"))) == 1.0


def test_a_letter_beyond_the_choices_is_none() -> None:
    assert chosen_letter("The answer is D", ("red", "green")) is None


@pytest.mark.parametrize(
    ("scorer", "answer", "response", "parsed"),
    [
        ("choice", "B", "no idea", False),
        ("choice", "B", "A", True),
        ("number", "3", "three", False),
        ("number", "3", "4", True),
        ("exact", "3", "", None),
    ],
)
def test_an_answer_without_what_the_scorer_looks_for_is_wrong_and_told_apart(
    scorer: str, answer: str, response: str, parsed: bool | None
) -> None:
    found = scored(scorer, response, question(answer))
    assert found == Scored(0.0, parsed)


@pytest.mark.parametrize("scorer", [*DEFERRED, "none"])
def test_what_is_scored_later_has_no_score_yet_be_it_answered_or_not(scorer: str) -> None:
    assert scored(scorer, "B", question("B")) == scored(scorer, None, question("B")) == Scored(None)


@given(st.text(max_size=200), st.sampled_from([*SCORERS]))
def test_every_response_gets_a_score_from_0_to_1(response: str, scorer: str) -> None:
    answer = "B" if scorer != "number" else "3"
    assert 0.0 <= (score(scorer, response, question(answer)) or 0.0) <= 1.0


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("unit", ["a ", "1,111", "9", "(A", "**", "answer is ", "\\boxed{", "\n"])
def test_a_huge_response_is_scored_in_good_time(scorer: str, unit: str) -> None:
    score(scorer, unit * (300_000 // len(unit)), question("3" if scorer == "number" else "B"))


@pytest.mark.parametrize(
    ("scorer", "answer"), [("nonsense", "4"), ("number", "four"), ("choice", "four"), ("regex", "(")]
)
def test_a_scorer_that_cannot_judge_the_answers_is_refused_before_the_run(scorer: str, answer: str) -> None:
    with pytest.raises(UsageError):
        check_scorer(scorer, [question(answer)])
