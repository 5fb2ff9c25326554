"""The measured part of a language-model run: warm-up, then every question once, a fixed number in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ipw.errors import IpwError
from ipw.workloads.base import Book, Counters, Marker, Progress
from ipw.workloads.lm.client import ask
from ipw.workloads.lm.datasets import Dataset, Question, load
from ipw.workloads.lm.endpoint import Endpoint
from ipw.workloads.lm.interrupts import run_interruptible
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.reply import Answer
from ipw.workloads.lm.scoring import check_scorer, score
from ipw.workloads.lm.transport import Transport


class Plan(NamedTuple):
    """What will be asked, and how it is judged: checked, before anything is started."""

    parameters: Parameters
    dataset: Dataset
    scorer: str


def plan(parameters: Parameters) -> Plan:
    """Load the data set and check the scorer. Raises UsageError."""
    dataset = load(parameters.dataset, limit=parameters.limit, seed=parameters.seed)
    scorer = parameters.scorer or dataset.scorer_default
    check_scorer(scorer, dataset.questions)
    return Plan(parameters, dataset, scorer)


def run_lm(marker: Marker, book: Book, endpoint: Endpoint, planned: Plan, progress: Progress) -> None:
    """Ask every question and keep every answer the moment it is whole.

    Raises IpwError where the server answers no warm-up question, and KeyboardInterrupt after SIGINT or SIGTERM: what
    was in flight then is not kept.
    """
    run_interruptible(_run(marker, book, endpoint, planned, progress))


async def _run(marker: Marker, book: Book, endpoint: Endpoint, planned: Plan, progress: Progress) -> None:
    parameters, questions = planned.parameters, planned.dataset.questions
    async with Transport(endpoint.url, endpoint.key) as transport:
        asker = _Asker(transport, endpoint, planned)
        # From the end of the list, so that a server that remembers prompts knows the first questions no better.
        warmup = [questions[-1 - i % len(questions)] for i in range(parameters.warmup)]
        with marker.span("warm-up", "warmup"):
            errors = [error async for error in _warm_up(asker, book, warmup)]
        if warmup and all(errors):
            raise IpwError(f"the server at {endpoint.url} answers no question: {errors[0]}", "see the server's log")
        counters = Counters(total=len(questions))
        with marker.span("measure", "measure"):
            await _closed_loop(asker, book, questions, counters, progress)


async def _warm_up(asker: _Asker, book: Book, questions: Sequence[Question]) -> Any:
    for question in questions:
        answer = await asker.ask(question)
        book.append("warmup", asker.record(question, answer))
        yield answer.error


async def _closed_loop(
    asker: _Asker, book: Book, questions: Sequence[Question], counters: Counters, progress: Progress
) -> None:
    """Keep as many questions in flight as the parameters say, each followed by the next."""

    async def worker(waiting: Iterator[Question]) -> None:
        for question in waiting:
            answer = await asker.ask(question)
            record = asker.record(question, answer)
            book.append("query", record)
            counters.done += 1
            counters.right += record["score"]
            counters.tokens += answer.completion_tokens or 0
            counters.errors += answer.status != "ok"
            progress(counters)

    waiting = iter(questions)
    async with asyncio.TaskGroup() as workers:
        for _ in range(asker.concurrency):
            workers.create_task(worker(waiting))


class _Asker:
    """Asks one server in one way."""

    def __init__(self, transport: Transport, endpoint: Endpoint, planned: Plan) -> None:
        self.concurrency = planned.parameters.concurrency
        self._transport, self._endpoint = transport, endpoint
        self._limits, self._scorer = planned.parameters.limits(), planned.scorer

    async def ask(self, question: Question) -> Answer:
        return await ask(self._transport, self._endpoint.model, question.prompt, self._limits, self._endpoint.key)

    def record(self, question: Question, answer: Answer) -> dict[str, Any]:
        right = score(self._scorer, answer.response, question) if answer.status == "ok" else 0.0
        return {
            "query_id": question.id,
            "subject": question.subject,
            **answer._asdict(),
            "answer": question.answer,
            "score": right,
            "concurrency": self.concurrency,
        }
