"""All that decides what an agent run does: what a language-model run has, and the tools and the limits of a task."""

from __future__ import annotations

from dataclasses import dataclass

from ipw.workloads.lm.parameters import Parameters

BUNDLED_MODEL, BUNDLED_TASKS, BUNDLED_TOOLS = "agent", "bundled-tools", "calculator"
NO_TOOLS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParameters(Parameters):
    """The options of `ipw run agent`."""

    dataset: str = BUNDLED_TASKS
    tools: str | None = None
    """Parted by commas: module:function, `calculator`, a JSON or TOML file of tools; `none` for no tool. By default
    the calculator for the bundled tasks, and for others those that the tasks themselves name."""
    max_turns: int = 10
    """Requests of a task, or of each turn of the user in it."""
    task_tokens: int | None = None
    """Tokens that the model may write in a task, or for each turn of the user in it."""
    task_timeout_s: float = 600.0
    """Of a task: no request begins later."""
    warmup: int = 2
    max_tokens: int | None = 512

    @property
    def keeps_prompts(self) -> bool:
        """Each turn repeats the one before: an agent's server keeps what it knows."""
        return True
