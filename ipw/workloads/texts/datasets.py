"""Questions to ask: bundled, from a file, the Hugging Face hub or lm-evaluation-harness, or of fixed lengths."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.texts.answer_places import FORMS
from ipw.workloads.texts.columns import Meant, columns_of
from ipw.workloads.texts.files import READERS, UNTYPED
from ipw.workloads.texts.questions import Question, Read, questions_digest, questions_of, together
from ipw.workloads.texts.values import LETTERS

__all__ = ["BUNDLED", "BUNDLED_LONG", "LETTERS", "Dataset", "Question", "load"]

BUNDLED, BUNDLED_LONG, BUNDLED_TOOLS = "bundled", "bundled-long", "bundled-tools"
BUNDLED_FILES = {
    BUNDLED: "questions.jsonl",
    BUNDLED_LONG: "long-questions.jsonl",
    BUNDLED_TOOLS: "tool-questions.jsonl",
}
HUB, HARNESS, FIXED = "hf:", "lm-eval:", "fixed:"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Questions in the order in which they are asked."""

    name: str
    digest: str
    """SHA-256 of the file or of the questions, so that two runs can tell whether they asked the same."""
    questions: Sequence[Question]
    scorer_default: str
    scorer_reason: str
    """Why that scorer, in words."""
    answer_is: str | None = None
    """How answers beside choices were read, where there are choices."""
    notes: Sequence[str] = ()
    """What a person should know of how the columns were understood."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """What every request has to say beside the prompt, such as where to stop; it overrules the options of the run."""


def load(
    source: str, *, limit: int | None = None, seed: int = 0, columns: str | None = None, answer_is: str | None = None
) -> Dataset:
    """Read a data set, `limit` questions of it. Raises UsageError for what cannot be asked.

    `source` is `bundled`, `bundled-long`, `bundled-tools`, a file's path, `hf:NAME[:config][:split]`, `lm-eval:TASK` or
    `fixed:IN,OUT`.
    `columns` says which columns of a file or a set of the hub are meant, where they have other names:
    `prompt=Question,answer=answerKey`.
    `answer_is` says what an answer beside choices is (`answer_places.FORMS`); without it, the values of the whole set
    tell. `"text"` also takes an answer of a CSV file as it stands, where it could be JSON.
    """
    if limit is not None and limit < 1:
        raise UsageError("a run asks at least one question", "give --limit 1 or more, or leave it out")
    if answer_is is not None and answer_is not in FORMS:
        raise UsageError(f"an answer cannot be {answer_is!r}", f"--answer-is takes {', '.join(FORMS)}")
    meant = Meant(columns_of(columns) if columns else {}, answer_is)
    if meant != Meant() and source.startswith((HARNESS, FIXED)):
        raise UsageError(f"{source} has no columns", "leave --columns and --answer-is out")
    if source in BUNDLED_FILES:
        with as_file(files("ipw") / "data" / BUNDLED_FILES[source]) as path:
            return _load_file(path, source, limit, seed, meant)
    if source.startswith(HUB):
        from ipw.workloads.texts.hub import hub_questions

        read, known = hub_questions(source.removeprefix(HUB), meant)
        digest = questions_digest(read.questions)
        return _dataset(source, digest, read, limit, seed, (known, "known for this data set") if known else None)
    if source.startswith(HARNESS):
        from ipw.workloads.texts.harness import Task

        task = Task(source.removeprefix(HARNESS), limit)
        digest = questions_digest(task.questions)
        return Dataset(source, digest, task.questions, "lm-eval", "the task's own", request=task.request)
    if source.startswith(FIXED):
        from ipw.workloads.texts.fixed_lengths import COUNT, fixed_questions, lengths_of

        lengths = lengths_of(source.removeprefix(FIXED))
        questions = fixed_questions(lengths, limit or COUNT, seed)
        digest = questions_digest(questions)
        return Dataset(source, digest, questions, "none", "nothing can be right", request=lengths.request)
    return _load_file(Path(source), Path(source).name, limit, seed, meant)


def subset(questions: Sequence[Question], limit: int | None, seed: int) -> Sequence[Question]:
    """Choose `limit` questions, or conversations: the first of a file without subjects, else as many of each subject.

    Those of a subject are drawn with `seed`. Subjects take turns, so every prefix of the result is balanced too. The
    choice for a smaller limit is part of the choice for a larger one.
    """
    if limit is None or limit >= len(questions):
        return questions
    groups: dict[str | None, list[list[Question]]] = {}
    for each in together(questions):
        groups.setdefault(each[0].subject, []).append(each)
    if len(groups) > 1:
        for subject, group in groups.items():
            random.Random(f"{seed} {subject}").shuffle(group)  # noqa: S311 (a reproducible draw)
    rounds = chain.from_iterable(zip_longest(*groups.values()))
    return list(chain.from_iterable([each for each in rounds if each is not None][:limit]))


def _load_file(path: Path, name: str, limit: int | None, seed: int, meant: Meant) -> Dataset:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"data set {name!r} is neither 'bundled' nor a {', '.join(READERS)} file",
            "give --dataset a file, hf:NAME, lm-eval:TASK or fixed:IN,OUT",
        )
    if not path.is_file():
        raise UsageError(f"data set {path} is not there", "give --dataset the path of a file, or 'bundled'")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        read = questions_of(reader(path, meant.columns.values()), path, meant, typed=reader not in UNTYPED)
    except OSError as error:
        raise UsageError(f"data set {path} cannot be read: {error.strerror}", "may this user read it?") from None
    return _dataset(name, f"sha256:{digest}", read, limit, seed)


def _dataset(
    name: str, digest: str, read: Read, limit: int | None, seed: int, scorer: tuple[str, str] | None = None
) -> Dataset:
    default, reason = scorer or _default_scorer(read.questions)
    notes, answers = list(read.notes), read.answers
    if answers and answers.form in {"index0", "index1"}:
        notes.append(f"answers are places counted from {answers.form[-1]}, {answers.why}")
    form = answers.form if answers else None
    if turns := sum(question.conversation is not None for question in read.questions):
        graded = sum(question.graded for question in read.questions)
        count = len({question.conversation for question in read.questions} - {None})
        notes.append(
            f"{count:,} conversations of {turns:,} turns of the user: each is answered in its place, and "
            f"{'each' if graded == len(read.questions) else f'{graded:,}' if graded else 'none'} is scored"
        )
    return Dataset(name, digest, subset(read.questions, limit, seed), default, reason, form, notes)


def _default_scorer(questions: Sequence[Question]) -> tuple[str, str]:
    """Choose by what there is to choose from: the letter where every question has choices, else the whole answer."""
    if not any(question.graded for question in questions):
        return "none", "no turn has an answer"
    without = sum(not question.choices for question in questions)
    if not without:
        return "choice", "every question has choices"
    if without < len(questions):
        return "exact", f"{without:,} of {len(questions):,} questions have no choices"
    return "exact", "the questions have no choices"
