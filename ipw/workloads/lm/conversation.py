"""A conversation: its turns one after the other, each with the model's own answers before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.workloads.lm.asker import Asker
from ipw.workloads.lm.http.failure import Failure
from ipw.workloads.texts.datasets import Question
from ipw.workloads.texts.values import Message

NOT_ASKED = "not asked, since the turn before has no answer"


async def converse(
    asker: Asker, turns: Sequence[Question], due_ns: int | None, finished: Collection[str], said: Mapping[str, str]
) -> None:
    """Ask the turns of a conversation, or one question, but the `finished` ones, whose answers are in `said`.

    What follows a turn that failed cannot be asked, and fails with it.
    """
    before: list[Message] = []
    failed: Failure | None = None
    for turn in turns:
        before.extend(turn.messages or ())
        if turn.id in finished:
            answer = said.get(turn.id)
            failed = None if answer is not None else "answer"
        elif failed:
            asker.leave_out(turn, NOT_ASKED, failed)
            continue
        else:
            told, _ = await asker.send(turn, due_ns, tuple(before) if turn.conversation else None)
            answer, failed = told.response, told.failure
            due_ns = None
        before.append({"role": "assistant", "content": answer or ""})


def said_before(run: RunDir, finished: Collection[str], questions: Sequence[Question]) -> dict[str, str]:
    """Find the answers of finished turns whose conversations go on; empty where no question is a turn."""
    turns = {question.id for question in questions if question.conversation} & set(finished)
    if not turns:
        return {}
    found = {}
    for record in counted(run):
        if record.get("query_id") in turns and record.get("status") == "ok":
            found[str(record["query_id"])] = str(record.get("response") or "")
    return found
