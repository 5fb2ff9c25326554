"""Scores of tasks from files: JSON lines, JSON, CSV; reports of SWE-bench, logs of inspect_ai, samples of lm-eval.

Where a file knows no names of tasks but what they were asked, a task is known by the digest of its beginning: the key
is then `begins:` and that digest.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_zip import DAMAGED, member_of
from ipw.printable import clean
from ipw.shapes import finite
from ipw.workloads.agents.asked import ASSISTANT
from ipw.workloads.agents.reading.sent import read_chat
from ipw.workloads.agents.tables import BEGINS, beginning_of
from ipw.workloads.texts.files import csv_rows, encoding_of

SUFFIXES = {".jsonl", ".json", ".csv", ".tsv", ".eval"}
"""Of files of a folder that are read."""
HINT = "JSON lines or CSV with task and score, a report of SWE-bench, a log of inspect_ai, or samples of lm-eval"
NAMES = ("task", "task_id", "instance_id", "id", "sample_id")
SCORES = ("score", "reward", "resolved", "correct", "passed", "success", "acc", "exact_match", "accuracy")
GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
"""Grades of inspect_ai, and words for a score."""
MOST_SAMPLE = 1 << 28
"""Bytes of a sample in an archive."""
RESOLVED = ("resolved_ids", "resolved")
ASKED = (
    "submitted_ids", "completed_ids", "unresolved_ids", "error_ids", "empty_patch_ids", "no_generation", "no_logs",
)  # fmt: skip
"""Of a report of SWE-bench, and of the results that its leaderboard keeps."""


def read_scores(path: Path) -> dict[str, float]:
    """Read scores by task, the mean where a task has several; of a folder all files in it.

    Raises UsageError where there is no score, or one that is not from 0 to 1. A line that is no JSON is left out: who
    writes the file may have been killed.
    """
    found: dict[str, list[float]] = {}
    files = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES) if path.is_dir() else [path]
    for file in files:
        for name, score in _scores(file):
            if not 0 <= score <= 1:
                told = f"{file}: the score {score:g} of {clean(name, 60)} is not from 0 to 1"
                raise UsageError(told, "divide scores by the most that can be reached")
            found.setdefault(name, []).append(score)
    if not found:
        raise UsageError(f"{path} holds no score of a task", HINT)
    return {name: sum(scores) / len(scores) for name, scores in found.items()}


def _scores(path: Path) -> Iterator[tuple[str, float]]:
    try:
        if zipfile.is_zipfile(path):
            yield from _inspect_archive(path)
            return
        if path.suffix.lower() in {".csv", ".tsv"}:
            yield from _rows(row for _, row in csv_rows(path, (*NAMES, *SCORES)))
            return
        text = path.read_text(encoding=encoding_of(path)).removeprefix("\ufeff")
    except DAMAGED as error:
        raise UsageError(f"{path} cannot be read: {clean(error)}", HINT) from None
    document = None if path.suffix.lower() == ".jsonl" else _json(text)
    if document is not None:
        yield from _document(document)
    else:
        yield from _rows(row for line in text.splitlines() if (row := _json(line)) is not None)


def _document(document: Any) -> Iterator[tuple[str, float]]:
    """Read one JSON document, whichever of the known forms it has."""
    if isinstance(document, list):
        yield from _rows(document)
    elif not isinstance(document, Mapping):
        return
    elif any(isinstance(document.get(key), list) for key in RESOLVED):
        resolved, asked = (
            {str(name) for key in keys for name in _list(document.get(key)) if isinstance(name, str | int)}
            for keys in (RESOLVED, ASKED)
        )
        yield from ((name, float(name in resolved)) for name in sorted(asked | resolved))
    elif isinstance(document.get("samples"), list):
        yield from _rows(document["samples"])
    elif any(name in document for name in NAMES):
        yield from _rows([document])
    else:
        scores = {name: _score(told) if isinstance(told, Mapping) else _number(told) for name, told in document.items()}
        if None not in scores.values():  # else it is a document of another kind, which has numbers too
            yield from ((str(name), score) for name, score in scores.items() if score is not None)


def _rows(rows: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """Read rows; where lm-eval has judged each answer through several filters, those of the first, as its tables do."""
    chosen: object = None
    for row in rows:
        if isinstance(row, Mapping):
            chosen = row.get("filter") if chosen is None else chosen
            if row.get("filter") != chosen:
                continue
            name = next((str(row[each]) for each in NAMES if row.get(each) not in (None, "")), None)
            score = _score(row)
            if score is None and name is not None:
                _refuse_odd(row, name)
            if score is None:
                continue
            begins = _begins(row)
            for key in (name, begins):
                if key is not None:
                    yield key, score


def _refuse_odd(row: Mapping[str, Any], name: str) -> None:
    """Raise UsageError where a score is given in a form that is not known; where none is given the task has none."""
    odd = [row[each] for each in SCORES if isinstance(row.get(each), str | float | int) and row[each] != ""]
    if odd:
        told = f"the score {clean(odd[0], 40)!r} of {clean(name, 60)} is not a number from 0 to 1"
        raise UsageError(told, "write scores like 1, 0.5 or true")


def _score(row: Mapping[str, Any]) -> float | None:
    """Give the score of a row: in a column of a known name, or under `scores` as inspect_ai has them."""
    for name in SCORES:
        if (score := _number(row.get(name))) is not None:
            return score
    scores = row.get("scores")
    if isinstance(scores, Mapping):
        values = [_number(each.get("value") if isinstance(each, Mapping) else each) for each in scores.values()]
        return next((value for value in values if value is not None), None)
    told = [_number(row[str(name)]) for name in _list(row.get("metrics")) if isinstance(name, str) and name in row]
    return next((value for value in told if value is not None), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        if value in GRADES or value.lower() in GRADES:
            return GRADES.get(value, GRADES.get(value.lower()))
        try:
            value = float(value)
        except ValueError:
            return None
    return finite(value)


def _begins(row: Mapping[str, Any]) -> str | None:
    """Give the digest of what a task began with, where the row holds the messages that it was asked."""
    transcript = isinstance(row.get("messages"), list)
    asked: Any = row["messages"] if transcript else row.get("input")
    given = row.get("arguments")
    if isinstance(given, Mapping):  # lm-eval's samples
        first = next(iter(given.values()), None)
        asked = next(iter(first.values()), None) if isinstance(first, Mapping) else first
    elif isinstance(given, list) and given:
        asked = given[0][0] if isinstance(given[0], list) and given[0] else given[0]
    asked = asked[0] if isinstance(asked, list) and asked and isinstance(asked[0], str) else asked
    if isinstance(asked, str):
        document = _json(asked)
        asked = document if isinstance(document, list) else [{"role": "user", "content": asked}]
    if not isinstance(asked, list):
        return None
    if transcript and not given:  # all that was said: it began with what stands before the model's first answer
        ends = [place for place, message in enumerate(asked) if isinstance(message, Mapping) and _answers(message)]
        asked = asked[: min(ends, default=len(asked))]
    digest = beginning_of(read_chat({"messages": asked}).messages)
    return BEGINS + digest if digest else None


def _answers(message: Mapping[str, Any]) -> bool:
    """Whether a message is the model's, and no example."""
    return message.get("role") == ASSISTANT and message.get("source") in {None, "generate"}


def _inspect_archive(path: Path) -> Iterator[tuple[str, float]]:
    """Read a log of inspect_ai (`.eval`): an archive with a document for each sample."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.startswith("samples/") and member.filename.endswith(".json"):
                document = _json(member_of(archive, member, path, MOST_SAMPLE).decode(errors="replace"))
                yield from _rows([document] if document is not None else [])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
