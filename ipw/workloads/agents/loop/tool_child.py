"""One call of a tool in a process of its own: `python -m ipw.workloads.agents.loop.tool_child`.

The first line of standard input says what to do: `{"describe": "module:function"}`, `{"function": …, "arguments": …}`
or `{"command": [word, …], "input": text}`. What comes of a function is a line of JSON on standard output; what a
command writes is passed through. This process leads a session of its own and does nothing but wait: when its input
closes, as the end of its parent brings about however that ends, it kills all that the tool has started.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

KINDS: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"
}  # fmt: skip


def main() -> NoReturn:
    """Do what the first line says; exit with 0, or with 1 where the tool failed."""
    with os.fdopen(os.dup(0), "rb", buffering=0) as given:
        task = json.loads(given.readline(1 << 22))
    worker = os.fork()
    if not worker:
        os._exit(_work(task))
    threading.Thread(target=_kill_all_at_end_of_input, daemon=True).start()
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _kill_all_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _work(task: dict[str, Any]) -> int:
    """Be the tool; returns the exit code."""
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    if "command" in task:
        return _command(task["command"], task["input"])
    answers = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no result
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 (no more is imported than must be)
    try:
        function = _function(task.get("describe") or task["function"])
        told = {"schema": described(function)} if "describe" in task else {"result": function(**task["arguments"])}
        text = json.dumps(told, default=str)
    except BaseException as error:  # noqa: BLE001 - whatever the function raises is what the model is told
        text = json.dumps({"error": f"{type(error).__name__}: {error}"[:1000]})
    _write(answers, text.encode() + b"\n")
    return 1 if text.startswith('{"error"') else 0


def _command(words: list[str], given: str) -> int:
    import subprocess

    try:
        return subprocess.run(words, input=given.encode(), check=False).returncode % 256
    except OSError as error:
        _write(2, f"{words[0]}: {error.strerror}\n".encode())
        return 127


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    return found


def described(function: Callable[..., Any]) -> dict[str, Any]:
    """Declare a function to a model: its docstring's first paragraph, and its parameters by their annotations.

    Raises TypeError for a parameter that cannot be given by name, or has another type than JSON has.
    """
    import inspect  # a call needs none of these, and it starts a process each time
    import typing

    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}:
            raise TypeError(f"the parameter {name!r} cannot be given by name")
        kind = hints.get(name, str)
        if typing.get_origin(kind) is typing.Literal:
            properties[name] = {"enum": list(typing.get_args(kind))}
        elif (bare := typing.get_origin(kind) or kind) in KINDS:
            properties[name] = {"type": KINDS[bare]}
        else:
            raise TypeError(f"the parameter {name!r} is of a type that JSON does not have")
        if parameter.default is parameter.empty:
            required.append(name)
    about = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return {"description": about, "parameters": {"type": "object", "properties": properties, "required": required}}


def _write(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]


if __name__ == "__main__":
    main()
