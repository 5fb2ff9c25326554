"""Tools of an agent: what a model asks for is checked, and only what the user declared is run, for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.workloads.agents.loop.arguments import ArgumentsError, read_arguments, schema_fault
from ipw.workloads.agents.loop.calculator import calculate
from ipw.workloads.agents.loop.calling import MOST_CHARACTERS, answer
from ipw.workloads.agents.loop.declared import Tool, read_tools

HERE = Path(__file__).parent
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "number"}, "c": {"enum": ["x", "y"]}},
    "required": ["a"],
}


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where the user's module is."""
    monkeypatch.chdir(HERE)


def called(tool: Tool, **arguments: Any) -> tuple[str, bool]:
    result = asyncio.run(answer({tool.name: tool}, tool.name, json.dumps(arguments)))
    assert result.start_ns <= result.end_ns
    return result.text, result.failed


# --- arguments -------------------------------------------------------------------------------------------------------


def test_arguments_of_the_declared_types_are_read() -> None:
    assert read_arguments('{"a": 1, "b": 2.5, "c": "x"}', NUMBERS) == {"a": 1, "b": 2.5, "c": "x"}
    assert read_arguments("", {"type": "object", "properties": {}}) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "must be of the type object"),
        ("null", "must be of the type object"),
        ("{}", "must have 'a'"),
        ('{"a": "1"}', "'a' must be of the type integer"),
        ('{"a": 1.5}', "'a' must be of the type integer"),
        ('{"a": true}', "'a' must be of the type integer"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": 1, "c": "z"}', "'c' must be one of"),
        ('{"a": 1, "__class__": "z"}', "must not have '__class__'"),
        ("[" * 100_000, "longer than"),
        ("[" * 50_000, "not JSON"),
    ],
)
def test_anything_else_is_refused_with_words_for_the_model(text: str, told: str) -> None:
    with pytest.raises(ArgumentsError, match=told):
        read_arguments(text, NUMBERS)


def test_a_text_with_a_nul_reaches_no_tool() -> None:
    with pytest.raises(ArgumentsError, match="NUL"):
        read_arguments('{"s": "a\\u0000b"}', {"properties": {"s": {"type": "string"}}})


@given(st.text())
def test_no_text_of_a_model_does_more_than_be_refused(text: str) -> None:
    try:
        found = read_arguments(text, NUMBERS)
    except ArgumentsError:
        return
    assert set(found) <= {"a", "b", "c"}


@pytest.mark.parametrize(
    "schema", [[], {"type": "date"}, {"$ref": "#"}, {"required": ["x"]}, {"properties": []}, {"enum": 1}, {"items": 1}]
)
def test_a_schema_that_is_not_understood_is_refused(schema: object) -> None:
    assert schema_fault(schema)


# --- the calculator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expression", "value"), [("12*3-4", "32"), ("-(2+3)*4", "-20"), (" 7 ", "7")])
def test_the_calculator_computes_sums_and_products(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression", ["2**999999", "__import__('os')", "1/0", "True+1", "a", "1.5*2", "", "(" * 150, "9" * 300, "f(1)"]
)
def test_the_calculator_does_nothing_else(expression: str) -> None:
    with pytest.raises(ValueError, match=r"understood|at most|too large"):
        calculate(expression)


# --- functions -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("beside")
def test_a_function_is_declared_by_its_annotations_and_run_in_a_child() -> None:
    (tool,) = read_tools(["own_tools:add"]).values()
    assert tool.description == "Add two numbers."
    assert tool.parameters == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "sign": {"enum": ["+", "-"]}},
        "required": ["a", "b"],
    }
    assert called(tool, a=2, b=3) == ("5", False)
    assert called(tool, a=2, b="3") == ("Error: 'b' must be of the type integer", True)


@pytest.mark.usefixtures("beside")
def test_what_goes_wrong_in_a_tool_is_told_to_the_model() -> None:
    tools = read_tools(["own_tools:fails", "own_tools:dies", "own_tools:talks"])
    assert called(tools["fails"], why="no such city") == ("Error: ValueError: no such city", True)
    text, failed = called(tools["dies"])
    assert failed
    assert "no result" in text
    text, failed = called(tools["talks"])
    assert len(text) < MOST_CHARACTERS + 200
    result = asyncio.run(answer(tools, "other", "{}"))
    assert result.text == "Error: there is no tool 'other'; there are fails, dies, talks"


@pytest.mark.usefixtures("beside")
def test_no_key_reaches_a_tool_but_those_it_is_declared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijklmnopqrstuvwx")
    monkeypatch.setenv("MY_TOOL_TOKEN", "tok-abcdefghijklmnopqrstuvwx")
    (tool,) = read_tools(["own_tools:secret"]).values()
    assert called(tool) == ("nonenone", False)
    (tool,) = read_tools([{"name": "s", "function": "own_tools:secret", "keys": ["MY_TOOL_TOKEN"]}]).values()
    assert called(tool) == ("nonetok-abcdefghijklmnopqrstuvwx", False)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that was killed takes a moment to."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


@pytest.mark.usefixtures("beside")
def test_a_tool_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    pids: list[int] = []
    for timeout_s in (1.0, 5.0, 25.0):  # as long as a busy machine needs to start both
        (tool,) = read_tools([{"name": "sleeps", "function": "own_tools:sleeps", "timeout_s": timeout_s}]).values()
        told = called(tool, folder=str(tmp_path))
        assert told == (f"Error: sleeps took longer than {timeout_s:g} s", True)
        if (tmp_path / "pids").exists():
            pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        if len(pids) == 2:
            break
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


# --- commands --------------------------------------------------------------------------------------------------------


def command(words: list[str], **more: Any) -> Tool:
    (tool,) = read_tools([{"name": "run", "command": words, **more}]).values()
    return tool


def test_a_command_gets_arguments_as_words_and_no_shell_reads_them() -> None:
    tool = command(["printf", "%s|", "{text}", "to {name}"])
    assert called(tool, text="$(id); `id` && x", name="a b") == ("$(id); `id` && x|to a b|", False)


def test_a_command_gets_its_arguments_on_standard_input_too() -> None:
    tool = command(["cat"], parameters={"properties": {"n": {"type": "integer"}}})
    assert json.loads(called(tool, n=3)[0]) == {"n": 3}


def test_a_text_is_no_option_of_a_command() -> None:
    text, failed = called(command(["printf", "%s", "{text}"]), text="--version")
    assert failed
    assert "must not begin with -" in text
    numbers = {"properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert called(command(["printf", "%s", "{n}"], parameters=numbers), n=-3) == ("-3", False)


def test_a_command_that_fails_says_so_with_what_it_said() -> None:
    text, failed = called(command(["sh", "-c", "echo out; echo err >&2; exit 3"]))
    assert failed
    assert "out" in text
    assert "err" in text
    assert called(command(["no-such-program-here"]))[1]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"name": "a b", "function": "m:f"}, "not a valid name of a tool"),
        ({"name": "a"}, "either a function or a command"),
        ({"name": "a", "function": "m:f", "command": ["x"]}, "either a function or a command"),
        ({"name": "a", "command": "rm -rf /"}, "a list of words"),
        ({"name": "a", "command": ["{program}"]}, "cannot choose the program"),
        ({"name": "a", "command": ["x"], "timeout_s": 0}, "above 0"),
        ({"name": "a", "command": ["x"], "shell": True}, "'shell' is not understood"),
        ({"name": "a", "command": ["x", "{p}"], "parameters": {"properties": {"q": {}}}}, "needs 'p'"),
        ({"name": "a", "function": "os"}, "is not a function"),
        ("nothing", "is not a tool"),
        ("missing.json", "cannot be read"),
        ("no.such.module:function", "cannot be used"),
    ],
)
def test_what_is_no_declaration_is_refused_in_one_line(told: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_tools([told])


@pytest.mark.usefixtures("beside")
def test_a_function_that_cannot_be_called_by_name_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be given by name"):
        read_tools(["own_tools:star"])


def test_tools_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text('[{"name": "now", "command": ["date"]}]')
    (tmp_path / "tools.toml").write_text('[[tool]]\nname = "then"\ncommand = ["date", "-d", "{day}"]\n')
    found = read_tools([str(tmp_path / "tools.json"), str(tmp_path / "tools.toml"), "calculator"])
    assert list(found) == ["now", "then", "calculator"]
    assert found["then"].parameters["required"] == ["day"]
