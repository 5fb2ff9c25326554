"""The measured part of a language-model run: warm-up, then every question once under the load that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from ipw.workloads.base import ArrivalsBook, Book, Marker, Progress
from ipw.workloads.lm.asker import Asker
from ipw.workloads.lm.clients.how_many import processes_for
from ipw.workloads.lm.clients.pool import Pool
from ipw.workloads.lm.clients.way import Direct, Way
from ipw.workloads.lm.conversation import converse
from ipw.workloads.lm.http.refusals import hint
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.interrupts import run_interruptible
from ipw.workloads.lm.load import Send, arrivals, closed_loop, open_loop
from ipw.workloads.lm.plan import Plan
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.texts.datasets import Question
from ipw.workloads.texts.questions import together

Doing = Callable[[Asker], Send[Sequence[Question]]]
Note = Callable[[Mapping[str, Any]], None]


def run_lm(
    marker: Marker,
    book: Book,
    endpoint: Endpoint,
    planned: Plan,
    progress: Progress,
    finished: Collection[str] = frozenset(),
    arrivals_book: ArrivalsBook | None = None,
    said: Mapping[str, str] | None = None,
    doing: Doing | None = None,
    note: Note = lambda _facts: None,
) -> None:
    """Ask every question but the `finished` ones, by id, and keep every answer the moment it is whole.

    `said` are the finished answers of conversations that go on, by id. `doing` makes what is done with the turns of a
    task; by default they are asked one after the other. `note` is told how hard the processes that asked had to work.

    Raises OutageError where the server is lost or answers no warm-up question, and KeyboardInterrupt after SIGINT or
    SIGTERM. Of what was in flight then, the book has only when it was.
    """
    run_interruptible(_run(marker, book, endpoint, planned, progress, finished, arrivals_book, said or {}, doing, note))


async def _run(
    marker: Marker,
    book: Book,
    endpoint: Endpoint,
    planned: Plan,
    progress: Progress,
    finished: Collection[str],
    arrivals_book: ArrivalsBook | None,
    said: Mapping[str, str],
    doing: Doing | None,
    note: Note,
) -> None:
    parameters, questions = planned.parameters, planned.dataset.questions
    async with Transport(endpoint.url, endpoint.key) as transport, _way(transport, endpoint, planned) as way:
        asker = Asker(way, transport, endpoint, planned, book, progress, arrivals_book)
        # From the end of the list, so that a server that remembers prompts knows the first questions no better.
        first = [question for question in questions if (question.turn or 1) == 1]
        warmup = [first[-1 - i % len(first)] for i in range(parameters.warmup)]
        with marker.span("warm-up", "warmup"):
            await _warm_up(asker, warmup)
        with marker.span("measure", "measure"):
            do = doing(asker) if doing else partial(_converse, asker, finished, said)
            with _watched(way, note):
                await _measure(asker, questions, finished, do)
        if asker.failed and parameters.retries:
            with marker.span("retries", "retry"):
                await _ask_again(asker, parameters.retries)


@asynccontextmanager
async def _way(transport: Transport, endpoint: Endpoint, planned: Plan) -> AsyncIterator[Way]:
    """Ask by this process, or by as many as the load asks for."""
    processes = processes_for(planned)
    if processes == 1:
        yield Direct(transport, endpoint)
        return
    async with Pool(endpoint, processes) as pool:
        yield pool


@contextmanager
def _watched(way: Way, note: Note) -> Iterator[None]:
    way.measure()
    try:
        yield
    finally:
        note(way.measured())


async def _warm_up(asker: Asker, questions: Sequence[Question]) -> None:
    """Ask outside the measured window. One timeout is enough to give up: nothing else is in flight."""
    liveness, errors = asker.liveness, []
    for question in questions:
        answer = await asker.ask(question, "warmup")
        errors.append(answer.error)
        liveness.take(answer, lambda _counts: None)
        if liveness.last == "silent":
            liveness.lost("silent", answer.error, "is it still loading the model? --timeout gives it longer")
        await liveness.verdict()
    if questions and all(errors):
        remedy = hint(errors[0] or "", asker.url, key=asker.has_key)
        liveness.lost("failing", errors[0], remedy or "see the server's log")


async def _converse(
    asker: Asker, finished: Collection[str], said: Mapping[str, str], turns: Sequence[Question], due_ns: int | None
) -> None:
    await converse(asker, turns, due_ns, finished, said)


async def _measure(
    asker: Asker, questions: Sequence[Question], finished: Collection[str], do: Send[Sequence[Question]]
) -> None:
    parameters, liveness = asker.parameters, asker.liveness
    left = [each for each in together(questions) if any(question.id not in finished for question in each)]
    asker.counters.total = sum(question.id not in finished for each in left for question in each)
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(liveness.watch())
            if parameters.rate is None:
                await closed_loop(left, do, parameters.in_flight)
            else:
                at_s = arrivals(parameters.rate, parameters.arrival, parameters.drawn_seed)
                await open_loop(zip(left, at_s, strict=False), do, parameters.in_flight)
            await liveness.settled()
            watch.cancel()
    finally:
        liveness.close()


async def _ask_again(asker: Asker, times: int) -> None:
    """Ask what failed once more, one after the other, up to so many times: outside the measured window, and kept apart.

    Answers are journalled as `retry`; what was measured stays as it was.
    """
    for _ in range(times):
        failed, asker.failed = asker.failed, []
        for question in failed:
            if (await asker.ask(question, "retry")).status != "ok":
                asker.failed.append(question)
