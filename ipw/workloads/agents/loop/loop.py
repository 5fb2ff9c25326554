"""One task: ask, run the tools that the answer asks for, and ask again with their results, until there is an answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ipw.clock import now_ns
from ipw.workloads.agents.loop.calling import Result
from ipw.workloads.agents.loop.calling import answer as run_tool
from ipw.workloads.agents.loop.limits import Limit
from ipw.workloads.agents.loop.plan import AgentPlan, task_of
from ipw.workloads.agents.loop.told import assistant, entry, with_ids
from ipw.workloads.base import Book
from ipw.workloads.lm.asker import Asker, More
from ipw.workloads.lm.http.failure import Failure
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.scoring.answers import scored
from ipw.workloads.texts.questions import Question

KEPT_CHARACTERS = 2000
"""Of a tool's result, in the journal."""
NOT_ASKED = "not asked, since the turn before has no answer"


@dataclass(slots=True)
class _Progress:
    """How far a task is."""

    messages: list[dict[str, Any]]
    started_ns: int
    requests: int = 0


class Loop:
    """Does the tasks of one run."""

    def __init__(self, asker: Asker, planned: AgentPlan, book: Book, attempt: int) -> None:
        """`attempt` counts how often the run was resumed: a task that was cut begins anew."""
        self._asker, self._planned, self._book, self._attempt = asker, planned, book, attempt

    async def do(self, turns: Sequence[Question], due_ns: int | None) -> None:
        """Do a task, which is one question, or several turns of a user."""
        at = _Progress([], now_ns())
        failed: Failure | None = None
        for question in turns:
            if failed:
                at.requests += 1
                more = self._entries(question, at, Limit(self._planned.parameters, at.started_ns))
                self._asker.leave_out(question, NOT_ASKED, failed, more)
                continue
            opening = question.messages or [{"role": "user", "content": question.prompt}]
            at.messages.extend(dict(message) for message in opening)
            failed = await self._answer(question, at, due_ns)
            due_ns = None

    async def _answer(self, question: Question, at: _Progress, due_ns: int | None) -> Failure | None:
        """Go on until the model answers without a call, or a limit is reached; say what it failed by."""
        parameters = self._planned.parameters
        tools = self._planned.tools_of(question)
        offered = [tool.as_request() for tool in tools.values()]
        limit = Limit(parameters, at.started_ns)
        while True:
            at.requests += 1
            request: dict[str, Any] = {"tools": offered} if offered else {}
            if (most := limit.tokens_left) is not None:
                request["max_tokens"] = min(parameters.max_tokens or most, most)
            more = self._entries(question, at, limit)
            answer, told = await self._asker.send(question, due_ns, at.messages, request, more)
            due_ns = None
            if answer.status != "ok":
                return answer.failure or "answer"
            calls = with_ids(told, at.requests)
            at.messages.append(assistant(answer.response, calls))
            if not calls or limit.reached(answer, calls):
                return "answer" if calls else None
            limit = limit.after(answer)
            for call in calls:
                result = await run_tool(tools, call.name, call.arguments)
                at.messages.append({"role": "tool", "tool_call_id": call.id, "content": result.text})
                self._book.append("span", _span(question, at.requests, call, result))

    def _entries(self, question: Question, at: _Progress, limit: Limit) -> More:
        """Make the entries of a request's record that a question's has not, or has otherwise."""
        task, number, sent = task_of(question), at.requests, list(at.messages)

        def more(answer: Answer, told: list[ToolCall]) -> dict[str, Any]:
            calls = with_ids(told, number) if answer.status == "ok" else []
            stopped = limit.reached(answer, calls) if calls else None
            found: dict[str, Any] = {
                "query_id": f"{task}/{number}",
                "task": task,
                "question_id": question.id,
                "attempt": self._attempt,
                "final": not calls or stopped is not None,
                "agent": entry(task, sent, answer, calls),
            }
            if calls:
                found["calls"] = [{"name": call.name, "arguments": call.arguments} for call in calls]
            if stopped:
                mine = scored(self._planned.lm.scorer, None, question)
                return found | {"score": mine.score, "parsed": mine.parsed, "stopped": stopped}
            return found | ({"score": None, "parsed": None, "graded": False} if calls else {})

        return more


def _span(question: Question, number: int, call: ToolCall, result: Result) -> dict[str, Any]:
    return {
        "name": call.name[:64],
        "phase": "tool",
        "start_ns": result.start_ns,
        "end_ns": result.end_ns,
        "status": "error" if result.failed else "ok",
        "task": task_of(question),
        "turn": number,
        "result": result.text[:KEPT_CHARACTERS],
    }


def finished_tasks(questions: Sequence[Question], finished: Collection[str]) -> set[str]:
    """Name the questions whose task is finished: all of its turns are."""
    open_tasks = {task_of(question) for question in questions if question.id not in finished}
    return {question.id for question in questions if task_of(question) not in open_tasks}
