"""The tools that a model may call: functions and commands that the user declares, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.agents.loop.arguments import schema_fault
from ipw.workloads.agents.loop.running import run_child

BUNDLED = {"calculator": "ipw.workloads.agents.loop.calculator:calculate"}
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the OpenAI protocol takes."""
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
PLACE = re.compile(r"\{(\w+)\}")
DESCRIBED_S = 60.0
"""For the import of a function's module."""
TAKES = {"name", "description", "function", "command", "parameters", "timeout_s", "keys"}
LIKE = (
    '{"name": "add", "function": "module:function"} or {"name": "find", "command": ["grep", "-e", "{text}", "notes"]}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of an object."""
    function: str | None = None
    """`module:function`, which is imported in a child."""
    command: tuple[str, ...] = ()
    """Words, in which `{name}` stands for an argument; the arguments are on standard input too, as JSON."""
    timeout_s: float = 30.0
    keys: tuple[str, ...] = ()
    """Secrets of the environment that it gets."""

    def as_request(self) -> dict[str, Any]:
        """Declare it to a model."""
        told = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": told}


def read_tools(given: Sequence[str | Mapping[str, Any]]) -> dict[str, Tool]:
    """Read declarations by name: `calculator`, `module:function`, a JSON or TOML file of them, or objects.

    Raises UsageError for what is no declaration, and for a function that cannot be imported.
    """
    found: dict[str, Tool] = {}
    for entry in given:
        for told in _entries(entry):
            tool = _tool(told)
            if tool.name in found and found[tool.name] != tool:
                raise UsageError(f"two tools are called {tool.name!r}", "give each a name of its own")
            found[tool.name] = tool
    return found


def _entries(entry: str | Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if isinstance(entry, Mapping):
        return [entry]
    if entry in BUNDLED:
        return [{"name": entry, "function": BUNDLED[entry]}]
    if FUNCTION.fullmatch(entry):
        return [{"name": entry.rpartition(":")[2].rpartition(".")[2], "function": entry}]
    path = Path(entry)
    readers = {".json": json.loads, ".toml": tomllib.loads}
    if path.suffix not in readers:
        raise UsageError(
            f"{entry!r} is not a tool", "give module:function, calculator, or a .json or .toml file of tools"
        )
    try:
        told = readers[path.suffix](path.read_text())
    except OSError as error:
        raise UsageError(f"the tools {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {str(error)[:200]}", f"a list of tools, like {LIKE}") from None
    listed = told.get("tools", told.get("tool")) if isinstance(told, dict) else told
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise UsageError(f"{path} holds no list of tools", f"like {LIKE}")
    return listed


def _tool(told: Mapping[str, Any]) -> Tool:
    name = told.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"{str(name)[:80]!r} is not a valid name of a tool", "letters, digits, _ and -, at most 64")
    if others := sorted(set(map(str, told)) - TAKES):
        raise UsageError(f"the tool {name}: {others[0]!r} is not understood", f"a tool has {', '.join(sorted(TAKES))}")
    function, command = told.get("function"), told.get("command")
    if (function is None) == (command is None):
        raise UsageError(f"the tool {name} must have either a function or a command", f"like {LIKE}")
    timeout_s, keys = told.get("timeout_s", 30.0), told.get("keys", [])
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= 86_400:
        raise UsageError(f"the tool {name}: timeout_s must be a number of seconds above 0", "like 30")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UsageError(f"the tool {name}: keys must be a list of names of environment variables", 'like ["MY_KEY"]')
    if function is not None:
        if not isinstance(function, str) or not FUNCTION.fullmatch(function):
            raise UsageError(f"the tool {name}: {function!r} is not a function", "like package.module:function")
        schema = _described(name, function)
        words: tuple[str, ...] = ()
    else:
        words = _words(name, command)
        places = list(dict.fromkeys(place for word in words for place in PLACE.findall(word)))
        text = {"type": "object", "properties": {p: {"type": "string"} for p in places}, "required": places}
        schema = {"parameters": text, "description": ""}
    parameters = told.get("parameters", schema["parameters"])
    if fault := schema_fault(parameters):
        raise UsageError(f"the parameters of the tool {name} cannot be used: {fault}", "JSON Schema of an object")
    parameters = {"type": "object", "properties": {}, **parameters}
    if words and (missing := {p for w in words for p in PLACE.findall(w)} - set(parameters.get("required", ()))):
        raise UsageError(
            f"the tool {name}: its command needs {min(missing)!r}, which its parameters do not require",
            "add it to required",
        )
    return Tool(
        name=name,
        description=str(told.get("description", schema["description"])),
        parameters=parameters,
        function=function,
        command=words,
        timeout_s=float(timeout_s),
        keys=tuple(keys),
    )


def _words(name: str, command: Any) -> tuple[str, ...]:
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and word for word in command):
        raise UsageError(
            f"the tool {name}: a command is a list of words", 'like ["date", "-d", "{day}"]: no shell reads it'
        )
    if PLACE.search(command[0]):
        raise UsageError(f"the tool {name}: the model cannot choose the program", "write its name as the first word")
    return tuple(command)


def _described(name: str, function: str) -> dict[str, Any]:
    """Ask a child what a function takes: its module is not imported here."""
    ran = asyncio.run(run_child({"describe": function}, DESCRIBED_S))
    try:
        told = json.loads(ran.said)
        if "error" in told:
            raise UsageError(f"the tool {name}: {function} cannot be used: {told['error']}", "does it import?")
        schema: dict[str, Any] = told["schema"]
    except (ValueError, KeyError, TypeError):
        told = "it took too long" if ran.code is None else ran.errors.decode(errors="replace").strip()[-200:]
        raise UsageError(f"the tool {name}: {function} cannot be imported: {told}", "does it import?") from None
    return schema
