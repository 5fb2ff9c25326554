"""Data sets of the Hugging Face hub, or folders of the same form, with ready mappings for those that papers use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.texts.columns import Meant
from ipw.workloads.texts.files import Row
from ipw.workloads.texts.questions import Read, questions_of

LONGEST = 32_000
"""Characters of a prompt of WildChat: longer ones are left out, as in the paper of intelligence per watt."""
BOXED = "\n\nPut the final answer in \\boxed{}."
Columns = Mapping[str, Any]


class Known(NamedTuple):
    """How to ask a data set that is known."""

    convert: Callable[[Columns], dict[str, Any] | None]
    """From its columns to those of a question; `None` leaves the row out."""
    scorer: str
    split: str
    config: str | None = None
    answer_is: str | None = None
    """What `convert` makes of the answer, beside choices."""


def hub_questions(source: str, meant: Meant) -> tuple[Read, str | None]:
    """Read all questions of `NAME[:config][:split]`, and how to score them where that is known for the set.

    NAME may be the path of a folder; `meant` is for sets that are not known.

    Raises MissingExtraError without the extra, and UsageError for what cannot be loaded or asked.
    """
    name, _, rest = source.partition(":")
    config, _, split = rest.partition(":")
    known = KNOWN.get(Path(name).name.lower())
    local = Path(name).exists()
    default = known.config if known and not local else None
    rows = _rows(name, config or default, split or (known.split if known else "test"))
    if known is None:
        return questions_of(_numbered(rows), source, meant), None
    if meant != Meant():
        raise UsageError(f"hf:{source} is known, and so are its columns", "leave --columns and --answer-is out")
    return questions_of(_converted(rows, known, source), source, Meant(answer_is=known.answer_is)), known.scorer


def _rows(name: str, config: str | None, split: str) -> Iterator[Columns]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("a data set of the hub", "datasets") from None
    from huggingface_hub.utils import logging

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.set_verbosity_error()
    try:
        yield from datasets.load_dataset(name, config, split=split)
    except Exception as error:  # noqa: BLE001 (the library raises anything: for no network, no such name, a bad file)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"data set hf:{name} cannot be loaded: {reason[:200]}",
            "are its name, configuration and split right (hf:NAME:config:split), and is there a network?",
        ) from None


def _numbered(rows: Iterator[Columns]) -> Iterator[Row]:
    return ((f"row {number}", dict(row)) for number, row in enumerate(rows, 1))


def _converted(rows: Iterator[Columns], known: Known, source: str) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        try:
            converted = known.convert(row)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UsageError(
                f"{source}, row {number} is not as the data set of this name is: {type(error).__name__} {error}",
                "give its rows as a file with prompt and answer instead",
            ) from None
        if converted is not None:
            yield f"row {number}", converted


def _mmlu_pro(row: Columns) -> dict[str, Any]:
    return {
        "id": row["question_id"],
        "subject": row["category"],
        "prompt": row["question"],
        "choices": row["options"],
        "answer": "ABCDEFGHIJ"[row["answer_index"]],
    }


def _supergpqa(row: Columns) -> dict[str, Any]:
    return {
        "id": row["uuid"],
        "subject": row["discipline"],
        "prompt": row["question"],
        "choices": row["options"],
        "answer": row["answer_letter"],
    }


def _gpqa(row: Columns) -> dict[str, Any]:
    choices = [row["Correct Answer"], *(row[f"Incorrect Answer {i}"] for i in (1, 2, 3))]
    order = list(range(4))
    random.Random(str(row["Record ID"])).shuffle(order)  # noqa: S311 (the same order in every run)
    return {
        "id": row["Record ID"],
        "subject": row["High-level domain"],
        "prompt": row["Question"],
        "choices": [choices[i].strip() for i in order],
        "answer": "ABCD"[order.index(0)],
    }


def _natural_reasoning(row: Columns) -> dict[str, Any] | None:
    reference = row["reference_answer"]
    return {"prompt": row["question"], "answer": reference} if reference and reference.strip() else None


def _wildchat(row: Columns) -> dict[str, Any] | None:
    """Take the first turn of the user, and as the reference what the assistant said then."""
    prompt, reference = (turn["content"] for turn in row["conversation"][:2])
    fit = row["language"] == "English" and prompt and reference and len(prompt) <= LONGEST
    return {"subject": row["model"], "prompt": prompt, "answer": reference} if fit else None


def _gsm8k(row: Columns) -> dict[str, Any]:
    return {"prompt": row["question"], "answer": row["answer"].rpartition("####")[2].strip()}


def _math_500(row: Columns) -> dict[str, Any]:
    return {
        "id": row["unique_id"],
        "subject": row["subject"],
        "prompt": row["problem"] + BOXED,
        "answer": row["answer"],
    }


KNOWN = {
    "mmlu-pro": Known(_mmlu_pro, "choice", "test", answer_is="letter"),
    "supergpqa": Known(_supergpqa, "choice", "train", answer_is="letter"),
    "gpqa": Known(_gpqa, "choice", "train", "gpqa_diamond", "letter"),
    "natural_reasoning": Known(_natural_reasoning, "judge", "train"),
    "wildchat-1m": Known(_wildchat, "judge-pair", "train"),
    "wildchat": Known(_wildchat, "judge-pair", "train"),
    "gsm8k": Known(_gsm8k, "number", "test", "main"),
    "math-500": Known(_math_500, "math", "test"),
}
"""By the last part of the name, in small letters: TIGER-Lab/MMLU-Pro, m-a-p/SuperGPQA, Idavidrein/gpqa,
facebook/natural_reasoning, allenai/WildChat-1M, openai/gsm8k, HuggingFaceH4/MATH-500."""
