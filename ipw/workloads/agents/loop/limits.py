"""What ends a task before the model has answered: requests, tokens, time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.reply import Answer

MOST_CALLS = 32
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a task has taken, and how much it may take."""

    parameters: AgentParameters
    started_ns: int
    requests: int = 0
    tokens: int = 0

    @property
    def tokens_left(self) -> int | None:
        """How many tokens the model may still write; `None` where nobody counts."""
        most = self.parameters.task_tokens
        return None if most is None else max(most - self.tokens, 1)

    def after(self, answer: Answer) -> Self:
        """Count one more answer."""
        return replace(self, requests=self.requests + 1, tokens=self.tokens + (answer.completion_tokens or 0))

    def reached(self, answer: Answer, calls: Sequence[ToolCall]) -> str | None:
        """Say which limit ends the task after an answer that asks for tools; `None` where none does."""
        parameters, now = self.parameters, self.after(answer)
        if len(calls) > MOST_CALLS:
            return f"more than {MOST_CALLS} calls in one answer"
        if now.requests >= parameters.max_turns:
            return f"{parameters.max_turns} requests"
        if parameters.task_tokens is not None and now.tokens >= parameters.task_tokens:
            return f"{parameters.task_tokens} tokens"
        seconds = (answer.end_ns - self.started_ns) / 1e9
        return f"{parameters.task_timeout_s:g} s" if seconds >= parameters.task_timeout_s else None
