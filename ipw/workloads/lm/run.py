"""The measured part of a language-model run: warm-up, then every question once under the load that was asked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ipw.errors import IpwError, UsageError
from ipw.workloads.base import Book, Counters, Marker, Progress
from ipw.workloads.lm.client import ask
from ipw.workloads.lm.datasets import Dataset, Question, load
from ipw.workloads.lm.endpoint import Endpoint
from ipw.workloads.lm.interrupts import run_interruptible
from ipw.workloads.lm.load import arrivals, closed_loop, open_loop
from ipw.workloads.lm.parameters import Parameters, latency_targets
from ipw.workloads.lm.refusals import hint
from ipw.workloads.lm.reply import Answer
from ipw.workloads.lm.scoring import check_scorer, scored
from ipw.workloads.lm.server_url import server_url
from ipw.workloads.lm.transport import Transport


class Plan(NamedTuple):
    """What will be asked, and how it is judged: checked, before anything is started."""

    parameters: Parameters
    dataset: Dataset
    scorer: str

    @property
    def scorer_reason(self) -> str:
        """Why this scorer, in words."""
        return "as was asked" if self.parameters.scorer else self.dataset.scorer_reason


def plan(parameters: Parameters) -> Plan:
    """Load the data set, check the scorer and the latency targets. Raises UsageError."""
    if parameters.slo:
        latency_targets(parameters.slo)
    if parameters.judge_url:
        server_url(parameters.judge_url)  # which refuses one with a secret in it, before it is written anywhere
    dataset = load(parameters.dataset, limit=parameters.limit, seed=parameters.seed, answer_is=parameters.answer_is)
    scorer = parameters.scorer or dataset.scorer_default
    check_scorer(scorer, dataset.questions)
    if parameters.api == "completions" and any(question.messages for question in dataset.questions):
        raise UsageError("prompts of chat messages cannot be asked by --api completions", "leave --api out")
    if parameters.shard:
        part, parts = shard(parameters.shard)
        dataset = replace(dataset, questions=dataset.questions[part - 1 :: parts])
        if not dataset.questions:
            raise UsageError(f"shard {parameters.shard} holds no question", "take fewer shards")
    return Plan(parameters, dataset, scorer)


def shard(text: str) -> tuple[int, int]:
    """Read `2/4`: which part, and of how many. Raises UsageError."""
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise UsageError(f"{text!r} is no shard", "--shard 2/4 is the second of four")
    return int(found[1]), int(found[2])


def run_lm(
    marker: Marker,
    book: Book,
    endpoint: Endpoint,
    planned: Plan,
    progress: Progress,
    finished: Collection[str] = frozenset(),
) -> None:
    """Ask every question but the `finished` ones, by id, and keep every answer the moment it is whole.

    Raises IpwError where the server answers no warm-up question, and KeyboardInterrupt after SIGINT or SIGTERM: what
    was in flight then is not kept.
    """
    run_interruptible(_run(marker, book, endpoint, planned, progress, finished))


async def _run(
    marker: Marker, book: Book, endpoint: Endpoint, planned: Plan, progress: Progress, finished: Collection[str]
) -> None:
    parameters, questions = planned.parameters, planned.dataset.questions
    async with Transport(endpoint.url, endpoint.key) as transport:
        asker = _Asker(transport, endpoint, planned, book, progress)
        # From the end of the list, so that a server that remembers prompts knows the first questions no better.
        warmup = [questions[-1 - i % len(questions)] for i in range(parameters.warmup)]
        with marker.span("warm-up", "warmup"):
            errors = [(await asker.ask(question, "warmup")).error for question in warmup]
        if warmup and all(errors):
            remedy = hint(errors[0] or "", endpoint.url, key=endpoint.key is not None)
            raise IpwError(
                f"the server at {endpoint.url} answers no question: {errors[0]}", remedy or "see the server's log"
            )
        with marker.span("measure", "measure"):
            await _measure(asker, questions, finished)
        if asker.failed and parameters.retries:
            with marker.span("retries", "retry"):
                await _ask_again(asker, parameters.retries)


async def _measure(asker: _Asker, questions: Sequence[Question], finished: Collection[str]) -> None:
    parameters = asker.parameters
    asker.counters.total = len(questions) - len(finished)
    if parameters.rate is None:
        left = (question for question in questions if question.id not in finished)
        await closed_loop(left, asker.send, parameters.in_flight)
    else:
        at_s = arrivals(parameters.rate, parameters.arrival, parameters.drawn_seed)
        due = ((question, at) for question, at in zip(questions, at_s, strict=False) if question.id not in finished)
        await open_loop(due, asker.send, parameters.in_flight)


async def _ask_again(asker: _Asker, times: int) -> None:
    """Ask what failed once more, one after the other, up to so many times: outside the measured window, and kept apart.

    Answers are journalled as `retry`; what was measured stays as it was.
    """
    for _ in range(times):
        failed, asker.failed = asker.failed, []
        for question in failed:
            if (await asker.ask(question, "retry")).status != "ok":
                asker.failed.append(question)


class _Asker:
    """Asks one server in one way, and keeps what it answers."""

    def __init__(self, transport: Transport, endpoint: Endpoint, planned: Plan, book: Book, progress: Progress) -> None:
        self.parameters = planned.parameters
        self.counters = Counters(total=0)
        self.failed: list[Question] = []
        self._transport, self._endpoint, self._book, self._progress = transport, endpoint, book, progress
        self._limits = replace(planned.parameters.limits(), request=planned.dataset.request)
        self._scorer = planned.scorer
        self._in_flight = 0

    async def ask(self, question: Question, kind: str) -> Answer:
        """Ask outside the measured window."""
        answer = await ask(self._transport, self._endpoint.model, question.sent, self._limits, self._endpoint.key)
        self._book.append(kind, self._record(question, answer, 1))
        return answer

    async def send(self, question: Question, due_ns: int | None) -> None:
        """Ask inside the measured window."""
        self._in_flight += 1
        in_flight = self.parameters.in_flight if due_ns is None else self._in_flight
        try:
            answer = await ask(self._transport, self._endpoint.model, question.sent, self._limits, self._endpoint.key)
        finally:
            self._in_flight -= 1
        record = self._record(question, answer, in_flight) | {"scheduled_ns": due_ns}
        self._book.append("query", record)
        counters = self.counters
        counters.done += 1
        counters.right += record["score"] or 0.0
        counters.tokens += answer.completion_tokens or 0
        if answer.status != "ok":
            counters.errors += 1
            self.failed += [question] if self.parameters.retries else []
        self._progress(counters)

    def _record(self, question: Question, answer: Answer, concurrency: int) -> dict[str, Any]:
        mine = scored(self._scorer, answer.response if answer.status == "ok" else None, question)
        return {
            "query_id": question.id,
            "subject": question.subject,
            **answer._asdict(),
            "answer": question.answer,
            **({"aliases": question.aliases} if question.aliases else {}),
            "score": mine.score,
            "parsed": mine.parsed,
            "concurrency": concurrency,
        }
