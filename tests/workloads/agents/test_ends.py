"""Where an answer was complete is told by signs in it that leave no doubt, and by no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.agents.ends import behind, end_of

GSM = "She eats 3 + 4 = 7.\n#### 18"
CASES = [
    (GSM, "answer", ""),
    (GSM + "\n\nQuestion: A farmer has\n#### 7", "answer", "\n\nQuestion: A farmer has\n#### 7"),
    (r"So $\boxed{\frac{1}{2}}$." + "\nI hope that helps!", "answer", "\nI hope that helps!"),
    ("<answer>4</answer>\nLet me check that.", "answer", "\nLet me check that."),
    (r"As $\boxed{a}$ holds," + "\n" + r"\boxed{b}" + "\nDone.", "answer", "\nDone."),
    ("**Final answer:** 12\n\nNow, in general", "answer", "\n\nNow, in general"),
    ("Thus the answer is (B).\n\nQ: What", "answer", "\n\nQ: What"),
    ("4<|im_end|>\n<|im_start|>user\nWhat", "end", "<|im_end|>\n<|im_start|>user\nWhat"),
    ("4</s><s>[INST] more", "end", "</s><s>[INST] more"),
    ("4\n<end_of_turn>", "end", "<end_of_turn>"),
    ("<|eot_id|>", "end", "<|eot_id|>"),
]


@pytest.mark.parametrize(("text", "sign", "rest"), CASES)
def test_marks_end_an_answer(text: str, sign: str, rest: str) -> None:
    end = end_of(text)
    assert end is not None
    assert (end.sign, text[end.characters :]) == (sign, rest)
    assert behind(text, end) == len(rest)


@pytest.mark.parametrize(
    "text",
    [
        "", "18", "#### 1. Introduction\ntext", "#### Step 2", "`<|im_end|>` ends a turn, <|im_start|> begins one",
        "The answer is not obvious at first sight. Let us see.", "#### ", "# 4 apples", "a <s>b</s> c",
        "In your final answer say why", "Use boxed{} for it", '{"a": 1} is what you want',
        "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    ],
)  # fmt: skip
def test_without_a_sign_nothing_is_claimed(text: str) -> None:
    assert end_of(text) is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('{"a": [1, "}"]}', ""),
        (' \n{"a": 1}\n', "\n"),
        ('{"a": 1}\n{"a": 1}', '\n{"a": 1}'),
        ('```json\n{"a": 1}\n```', ""),
        ('```json\n{"a": 1}\n```\nHere is why:', "\nHere is why:"),
        ("[1, 2] and more", " and more"),
    ],
)
def test_a_document_that_was_asked_for_ends_an_answer(text: str, rest: str) -> None:
    end = end_of(text, json_asked=True)
    assert end is not None
    assert (end.sign, text[end.characters :]) == ("json", rest)
    assert behind(text, end) == (len(rest) if rest.strip() else 0)


@pytest.mark.parametrize("text", ['{"a": ', "Sure: {}", "4", '"a"', "[" * 100_000])
def test_a_document_that_is_not_whole_or_not_first_ends_none(text: str) -> None:
    assert end_of(text, json_asked=True) is None


BEFORE, ONCE = st.text("abc de\n", max_size=30), st.text("xyz ", min_size=1, max_size=30)


@given(BEFORE, ONCE, st.integers(3, 40), st.integers(0, 29))
def test_a_loop_ends_with_its_first_copy(before: str, once: str, copies: int, part: int) -> None:
    text = before + once * copies + once[: part % len(once)]
    end = end_of(text, cut=True)
    if len(text) - len(before) - len(once) < 40:
        return
    assert end is not None
    assert end.sign == "loop"
    assert end.characters <= len(before) + len(once)
    assert any(text[end.characters :] == text[end.characters - p : -p] for p in range(1, len(once) + 1))


def test_what_repeats_is_a_loop_only_where_a_limit_cut_it_and_three_copies_stand_there() -> None:
    line = "| 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |\n"
    assert end_of("so:\n" + line * 9) is None
    assert end_of("so:\n" + line.replace("0", "1") + "and then something else, which is long enough", cut=True) is None
    assert end_of("once more and once more.", cut=True) is None
    found = end_of("I am sorry. " * 20 + "I am", cut=True)
    assert found is not None
    assert found.characters == len("I am sorry. ")
