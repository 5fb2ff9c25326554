"""The measured part of a diffusion run: the same questions by every method, in turns, so that drift hits all alike.

The questions are cut into chunks. Each chunk is answered by every method before the next begins, in an order that moves
on by one each time. A method's measured windows are its own turns; what the others do meanwhile is marked as theirs.
"""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ipw.clock import now_ns
from ipw.workloads.base import Book, Counters, Marker, Progress
from ipw.workloads.diffusion.decoding import Decoded, decode_batch
from ipw.workloads.diffusion.methods import Method
from ipw.workloads.diffusion.settings import Settings
from ipw.workloads.diffusion.subject import Subject
from ipw.workloads.lm.scoring.answers import scored
from ipw.workloads.texts.questions import Question

OTHERS = "other"
"""Phase of the turns of other methods, in a method's own journal."""
PERIODS = 10
"""A turn lasts as many periods of the slowest sensor, …"""
FEWEST_TURNS = 4
"""… unless a method would have fewer turns than this: drift is worse than a blurred edge."""
USUAL_PERIOD_S = 0.1
Record = dict[str, Any]


@dataclass(slots=True)
class Arm:
    """One method of a run, and what keeps its answers."""

    method: Method
    settings: Settings
    marker: Marker
    book: Book
    finished: Collection[str] = frozenset()
    """Ids of the questions that are not asked: an earlier part of the run has them."""
    failed: str | None = None
    """Why it ended before its time."""
    seconds: list[float] = field(default_factory=list)
    """Of warm-up answers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, ready for the model."""

    question: Question
    prompt: Sequence[int]
    seed: int


def asked_of(questions: Sequence[Question], subject: Subject, seed: int) -> list[Asked]:
    """Encode the questions; each has a seed of its own, whatever is asked beside it."""
    return [
        Asked(question, subject.encode(question.prompt, question.messages), _seed(seed, question.id))
        for question in questions
    ]


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 2


def run_diffusion(
    arms: Sequence[Arm],
    subject: Subject,
    asked: Sequence[Asked],
    scorer: str,
    progress: Progress,
    *,
    batch_size: int = 1,
    warmup: int = 3,
    period_s: float | None = None,
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Answer everything by every method. `period_s` is that of the slowest sensor.

    `known` holds texts by question and method, of earlier parts of the run.

    Raises KeyboardInterrupt after SIGINT, with what was answered in the journals. A method that runs out of memory is
    marked as failed, and the others go on.
    """
    asked = [each for each in asked if any(each.question.id not in arm.finished for arm in arms)]
    _warm_up(arms, subject, asked, batch_size, warmup)
    counters = Counters(total=sum(len(_open(asked, arm)) for arm in arms))
    for number, chunk in enumerate(chunks(asked, turn_length(arms, len(asked), batch_size, period_s))):
        turn = number % len(arms)
        found: dict[str, list[Record]] = {}
        try:
            for arm in [*arms[turn:], *arms[:turn]]:
                if arm.failed is None and (mine := _open(chunk, arm)):
                    found[arm.method.name] = []
                    _turn(arm, arms, subject, mine, scorer, batch_size, found[arm.method.name])
                    _count(counters, found[arm.method.name], len(mine))
                    progress(counters)
        finally:
            _compare(arms, found, known or {})
            for arm in arms:
                for record in found.get(arm.method.name, ()):
                    arm.book.append("query", record)


def _open(asked: Sequence[Asked], arm: Arm) -> list[Asked]:
    return [each for each in asked if each.question.id not in arm.finished]


def turn_length(arms: Sequence[Arm], questions: int, batch_size: int, period_s: float | None) -> int:
    """Questions a turn: as many as the fastest method answers in PERIODS of the slowest sensor, in whole batches."""
    fastest_s = min((min(arm.seconds) for arm in arms if arm.seconds), default=1.0)
    wanted = math.ceil(PERIODS * (period_s or USUAL_PERIOD_S) / max(fastest_s, 1e-6))
    wanted = min(wanted, max(questions // FEWEST_TURNS, 1))
    return max(math.ceil(wanted / batch_size) * batch_size, 1)


def chunks(asked: Sequence[Asked], length: int) -> Iterator[Sequence[Asked]]:
    """Cut the questions into turns of this length."""
    for first in range(0, len(asked), length):
        yield asked[first : first + length]


def batches(chunk: Sequence[Asked], size: int) -> Iterator[list[Asked]]:
    """Put together what has prompts of one length, in the order of the questions."""
    waiting: dict[int, list[Asked]] = {}
    for each in chunk:
        mine = waiting.setdefault(len(each.prompt), [])
        mine.append(each)
        if len(mine) == size:
            yield waiting.pop(len(each.prompt))
    yield from waiting.values()


def _warm_up(arms: Sequence[Arm], subject: Subject, asked: Sequence[Asked], batch_size: int, warmup: int) -> None:
    """Answer outside the measured window, from the end of the list."""
    few = [asked[-1 - k % len(asked)] for k in range(warmup * batch_size)]
    for arm in arms:
        with arm.marker.span("warm-up", "warmup"):
            for batch in batches(few, batch_size):
                start_ns = now_ns()
                if (decoded := _decoded(arm, subject, batch)) is None:
                    break
                if not any(each.error for each in decoded):
                    arm.seconds.append((now_ns() - start_ns) / 1e9 / len(batch))


def _turn(
    arm: Arm, arms: Sequence[Arm], subject: Subject, chunk: Sequence[Asked], scorer: str, batch_size: int,
    records: list[Record],
) -> None:  # fmt: skip
    """Answer a chunk by one method; scores and records are made when its window has closed."""
    done: list[tuple[list[Asked], list[Decoded], int]] = []
    try:
        with ExitStack() as stack:
            for other in arms:
                if other is not arm:
                    stack.enter_context(other.marker.span(arm.method.name, OTHERS))
            stack.enter_context(arm.marker.span("measure", "measure"))
            for batch in batches(chunk, batch_size):
                start_ns = now_ns()
                decoded = _decoded(arm, subject, batch)
                if decoded is None:
                    break
                done.append((batch, decoded, start_ns))
    finally:
        for batch, decoded, start_ns in done:
            records += [
                _record(subject, each, one, start_ns, scorer, len(batch))
                for each, one in zip(batch, decoded, strict=True)
            ]


def _decoded(arm: Arm, subject: Subject, batch: Sequence[Asked]) -> list[Decoded] | None:
    """Decode; `None` where the memory did not suffice, which ends the method."""
    try:
        return decode_batch(subject, [each.prompt for each in batch], arm.settings, [each.seed for each in batch])
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        arm.failed = f"out of memory: {str(error).splitlines()[0][:200]}"
    _give_back()
    return None


def _give_back() -> None:
    """Free what the method that failed had, so that the others can go on."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _record(subject: Subject, asked: Asked, decoded: Decoded, start_ns: int, scorer: str, together: int) -> Record:
    answer = decoded.tokens[len(asked.prompt) :]
    written = subject.until_end(answer)
    ok = decoded.error is None
    response = subject.text(answer) if ok else ""
    mine = scored(scorer, response if ok else None, asked.question)
    question = asked.question
    return {
        "query_id": question.id,
        "subject": question.subject,
        "start_ns": start_ns,
        "first_token_ns": None,
        "end_ns": decoded.end_ns,
        "status": "ok" if ok else "error",
        "error": decoded.error,
        **({} if ok else {"failure": "answer"}),
        "prompt_tokens": len(asked.prompt),
        "completion_tokens": len(written) if ok else 0,
        "cached_tokens": 0,
        "tokens_source": "counted",
        "question": question.shown,
        "finish_reason": None if not ok else "length" if len(written) == len(answer) else "stop",
        "response": response,
        "answer": question.answer,
        **({"aliases": question.aliases} if question.aliases else {}),
        "score": mine.score,
        "parsed": mine.parsed,
        "concurrency": together,
        "forwards": len(decoded.committed),
        "committed": [len(step) for step in decoded.committed],
        "computed": decoded.computed,
        "sure": [round(sum(step) / len(step), 4) if step else None for step in decoded.confidence],
        "positions": len(decoded.tokens),
        "agrees": None,
    }


def _compare(
    arms: Sequence[Arm], found: Mapping[str, Sequence[Record]], known: Mapping[str, Mapping[str, str]]
) -> None:
    """Note which answers are those of the method that each is held against, where that ran too."""
    texts = {
        name: {record["query_id"]: record["response"] for record in records if record["status"] == "ok"}
        for name, records in found.items()
    }
    for arm in arms:
        named = arm.method.held_against or ""
        reference = {**known.get(named, {}), **texts.get(named, {})}
        for record in found.get(arm.method.name, ()):
            if record["status"] == "ok" and record["query_id"] in reference:
                record["agrees"] = record["response"] == reference[record["query_id"]]


def _count(counters: Counters, records: Sequence[Record], asked: int) -> None:
    counters.done += asked
    counters.right += sum(record["score"] or 0.0 for record in records)
    counters.tokens += sum(record["completion_tokens"] for record in records)
    counters.errors += sum(record["status"] != "ok" for record in records)
