"""Asks one server in one way, and keeps what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ipw.runs.checks.tries import CUT_OFF, PROBE
from ipw.workloads.base import ArrivalsBook, Book, Counters, Progress
from ipw.workloads.lm.clients.way import Told, Way
from ipw.workloads.lm.http.client import ask, get
from ipw.workloads.lm.http.failure import Failure
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.refusals import hint
from ipw.workloads.lm.http.reply import Answer, Reply
from ipw.workloads.lm.http.transport import Transport, reason
from ipw.workloads.lm.plan import Plan
from ipw.workloads.lm.scoring.answers import scored
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.liveness import Liveness, Tried
from ipw.workloads.texts.datasets import Question
from ipw.workloads.texts.values import Message

PRESENT_S = 2.0
"""For any answer at all."""


More = Callable[[Answer, list[ToolCall]], dict[str, Any]]


class Asker:
    """Asks the questions of one run."""

    def __init__(
        self,
        way: Way,
        transport: Transport,
        endpoint: Endpoint,
        planned: Plan,
        book: Book,
        progress: Progress,
        arrivals: ArrivalsBook | None = None,
    ) -> None:
        """Ask by `way`; by `transport`, which is this process's own, it is looked whether the server is there."""
        self.parameters = planned.parameters
        self.counters = Counters(total=0)
        self.failed: list[Question] = []
        self.url, self.has_key = endpoint.url, endpoint.key is not None
        self.liveness = Liveness(
            f"the server at {endpoint.url}",
            Tried(self._present, self._try, way.waiting, way.heard_ns, endpoint.ended),
            timeout_s=planned.parameters.timeout_s,
            stall_s=planned.parameters.stall_s,
        )
        self._way, self._transport, self._endpoint = way, transport, endpoint
        self._book, self._progress = book, progress
        self._limits = replace(planned.parameters.limits(), request=planned.dataset.request)
        self._arrivals = arrivals
        self._scorer = planned.scorer
        self._answered = self._failed = planned.dataset.questions[0]
        self._in_flight = 0

    async def ask(self, question: Question, kind: str) -> Answer:
        """Ask outside the measured window."""
        told = await self._way.ask(question.sent, self._limits)
        self._write(kind, self._record(question, told.answer, 1), told.came)
        return told.answer

    async def send(
        self,
        question: Question,
        due_ns: int | None,
        messages: Sequence[Message] | None = None,
        request: Mapping[str, Any] | None = None,
        more: More | None = None,
    ) -> tuple[Answer, list[ToolCall]]:
        """Ask inside the measured window; returns the answer, and the calls of tools that it asks for.

        `messages` take the place of the question's own, `request` is what the request says beside them, and `more`
        makes further entries of the record, or others.
        """
        open_loop = self.parameters.rate is not None
        if not open_loop:  # which goes by the clock, whatever becomes of the server
            await self.liveness.calm()
        self._in_flight += 1
        in_flight = self._in_flight if open_loop else self.parameters.in_flight
        limits = replace(self._limits, request={**self._limits.request, **request}) if request else self._limits

        def record(told: Told) -> dict[str, Any]:
            found = self._record(question, told.answer, in_flight) | {"scheduled_ns": due_ns}
            return found | (more(told.answer, told.calls) if more else {})

        def cut(told: Told) -> None:
            self._write(CUT_OFF, record(told), told.came)

        try:
            told = await self._way.ask(messages or question.sent, limits, cut)
        finally:
            self._in_flight -= 1
        answer, kept = told.answer, record(told)
        if answer.failure == "client":  # which says nothing of the server
            self._keep(question, answer, kept, told.came, counts=True)
            return answer, told.calls
        if answer.status != "ok":
            self._failed = question
        self.liveness.take(answer, lambda counts: self._keep(question, answer, kept, told.came, counts=counts))
        return answer, told.calls

    def leave_out(self, question: Question, error: str, failure: Failure, more: More | None = None) -> None:
        """Book a question that cannot be asked, as failed by what another failed by."""
        reply = Reply()
        reply.fail("error", error, failure)
        answer = reply.answer(None)
        record = self._record(question, answer, self.parameters.in_flight) | (more(answer, []) if more else {})
        self._keep(question, answer, record, b"", counts=True)

    def _keep(self, question: Question, answer: Answer, record: dict[str, Any], came: bytes, *, counts: bool) -> None:
        self._write("query" if counts else CUT_OFF, record, came)
        if not counts:
            return
        counters = self.counters
        counters.done += record.get("final", True)
        counters.right += record["score"] or 0.0
        counters.tokens += answer.completion_tokens or 0
        if answer.status == "ok":
            self._answered = question
        else:
            counters.errors += 1
            counters.remedy = counters.remedy or hint(answer.error or "", self.url, key=self.has_key)
            self.failed += [question] if self.parameters.retries and not question.conversation else []
        self._progress(counters)

    async def _present(self) -> str | None:
        """Whether anything answers, whatever it says; if not, why."""
        try:
            async with asyncio.timeout(PRESENT_S):
                await get(self._transport, "/models")
        except TimeoutError:
            return f"nothing answers within {PRESENT_S:g} s"
        except HttpError as error:
            return str(error)
        except OSError as error:
            return f"the connection failed: {reason(error)}"
        return None

    async def _try(self, number: int, timeout_s: float) -> Answer:
        """Ask what failed last for the least of answers, and in between, since that may be at fault, what was answered.

        Neither counts: the journal keeps them apart.
        """
        question = self._answered if number % 2 else self._failed
        limits = replace(self._limits, timeout_s=timeout_s, max_tokens=1, request={})
        reply = Reply()
        answer = await ask(self._transport, self._endpoint.model, question.sent, limits, self._endpoint.key, reply)
        self._write(PROBE, self._record(question, answer, 1), reply.arrivals())
        return answer

    def _write(self, kind: str, record: dict[str, Any], came: bytes) -> None:
        """Keep a record, and before it when its chunks came."""
        if came and self._arrivals is not None:
            record["arrivals"] = self._arrivals.append(came)
        self._book.append(kind, record)

    def _record(self, question: Question, answer: Answer, concurrency: int) -> dict[str, Any]:
        told = answer._asdict()
        if answer.timings is None:
            del told["timings"]
        mine = scored(self._scorer, answer.response if answer.status == "ok" else None, question)
        return {
            "query_id": question.id,
            "subject": question.subject,
            "question": question.shown,
            **told,
            "answer": question.answer if question.graded else None,
            **(_place(question) if question.conversation else {}),
            **({} if question.graded else {"graded": False}),
            **({"aliases": question.aliases} if question.aliases else {}),
            "score": mine.score,
            "parsed": mine.parsed,
            "concurrency": concurrency,
        }


def _place(question: Question) -> dict[str, Any]:
    return {"task": question.task, "conversation": question.conversation, "turn": question.turn}
