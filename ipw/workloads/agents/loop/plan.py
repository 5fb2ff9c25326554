"""What an agent run will do: its tasks, and the tools of each; checked before anything is started."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.agents.loop.declared import Tool, read_tools
from ipw.workloads.agents.loop.parameters import BUNDLED_TASKS, BUNDLED_TOOLS, NO_TOOLS, AgentParameters
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.texts.files import json_rows
from ipw.workloads.texts.questions import Question

JSON_FILES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """Tasks and tools."""

    lm: Plan
    """What is asked, and how it is judged."""
    parameters: AgentParameters
    tools: Mapping[str, Tool]
    """All that are declared, by name."""
    named: Mapping[str, tuple[str, ...]]
    """Names of the tools of each task that names its own, by task."""

    def tools_of(self, question: Question) -> Mapping[str, Tool]:
        """Give the tools that the model may call in a task: those that it names, or else all."""
        names = self.named.get(task_of(question))
        return self.tools if names is None else {name: self.tools[name] for name in names}

    @property
    def digest(self) -> str:
        """SHA-256 of what the model is told of the tools, and of what is run."""
        told = [[repr(tool) for tool in self.tools.values()], dict(self.named)]
        return f"sha256:{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()}"


def task_of(question: Question) -> str:
    """Name the task that a question is, or is a turn of."""
    return question.task or question.id


def plan_agent(parameters: AgentParameters) -> AgentPlan:
    """Load the tasks and the tools. Raises UsageError."""
    if parameters.api != "chat":
        raise UsageError("tools are called by chat completions alone", "leave --api out")
    if parameters.retries:
        raise UsageError("a task is not asked again by itself", "leave --retries out; ipw resume --retry-failed")
    planned = plan(parameters)
    given = parameters.tools
    if given is None:
        given = BUNDLED_TOOLS if parameters.dataset == BUNDLED_TASKS else ""
    words = [word.strip() for word in given.split(",") if word.strip() and word.strip() != NO_TOOLS]
    rows = {} if given == NO_TOOLS else _named_in(parameters.dataset)
    own = [each for listed in rows.values() for each in listed if not isinstance(each, str) or _is_new(each)]
    tools = read_tools([*words, *own])
    named = {task: tuple(_name(each, tools, task) for each in listed) for task, listed in rows.items()}
    return AgentPlan(planned, parameters, tools, named)


def _named_in(dataset: str) -> dict[str, list[Any]]:
    """Read the tools that each task of a JSON file names; tasks that name none are left out."""
    path = Path(dataset)
    if path.suffix.lower() not in JSON_FILES or not path.is_file():
        return {}
    found = {}
    for number, (where, row) in enumerate(json_rows(path)):
        listed = row.get("tools")
        if listed is None:
            continue
        if not isinstance(listed, list) or not all(isinstance(each, str | dict) for each in listed):
            raise UsageError(f"{path}, {where}: tools must be a list of names or of tools", 'like ["calculator"]')
        name = row.get("id")
        found[str(number) if name is None else str(name)] = listed
    return found


def _is_new(entry: str) -> bool:
    """Whether a text declares a tool, and is not the name of one that is declared elsewhere."""
    return ":" in entry or entry == BUNDLED_TOOLS


def _name(entry: str | Mapping[str, Any], tools: Mapping[str, Tool], task: str) -> str:
    name = str(entry.get("name")) if isinstance(entry, Mapping) else entry.rpartition(":")[2].rpartition(".")[2]
    if name not in tools:
        raise UsageError(f"the task {task} names the tool {name!r}, which is not declared", "declare it with --tools")
    return name
