"""Run files: what `ipw run` and `ipw measure` take on the command line, as TOML.

    [run]
    workload = "lm"        # lm, routing, train, diffusion or measure
    model = "dense"        # and otherwise the options of that verb, by their names without the dashes
    max-tokens = 64

The options of a verb, their types and their defaults are those of its click command, and stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError, near
from ipw.foreign_toml import read_toml

Commands = Mapping[str, click.Command]
"""The command of each workload; `ipw.verbs.common.lazy.WORKLOADS`."""
NOT_IN_FILES = {"out", "as_json", "strict", "help", "sweep", "repeat", "restart", "otlp"}
"""A run file says what is measured. Where results go, how often, and how they are told, is said on the command line."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement to make."""

    name: str
    workload: str
    options: Mapping[str, Any]
    """What the verb's function takes, defaults filled in: plain values, so that a cell can be sent elsewhere."""


def load(path: Path, commands: Commands) -> Cell:
    """Read a run file. Raises UsageError, which names the file and the key."""
    document = read_toml(path)
    if others := [name for name in document if name != "run"]:
        raise UsageError(f"{path}: {others[0]!r} is not known here", "a run file has one table, [run]")
    return parse(document.get("run"), path.stem, str(path), commands)


def parse(table: Any, name: str, where: str, commands: Commands) -> Cell:
    """Check the options of one cell and fill in the defaults. Raises UsageError, which begins with `where`."""
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: there is no table [run]", '[run] with workload = "lm" and its options')
    workload = table.get("workload")
    if not isinstance(workload, str) or workload not in commands:
        found = "no workload is named" if workload is None else f"workload: there is no {workload!r}"
        raise UsageError(f"{where}: {found}", f"choose one of {', '.join(commands)}")
    command = commands[workload]
    known = {_key(parameter): parameter for parameter in command.params if parameter.name not in NOT_IN_FILES}
    given: dict[str, Any] = {}
    for key, value in table.items():
        if key == "workload":
            continue
        parameter = known.get(key.replace("_", "-"))
        if parameter is None or parameter.name is None:
            raise UsageError(f"{where}: {workload} has no option {key!r}", near(key.replace("_", "-"), known))
        if parameter.name in given:
            raise UsageError(f"{where}: {key!r} is there twice", "with a hyphen and with an underscore")
        given[parameter.name] = _plain(parameter, value, f"{where}: {key}")
    return Cell(name, workload, _converted(command, given, where))


def with_sensors(cell: Cell, sensors: str | None) -> Cell:
    """Give a cell the sensors of the command line, where it names some."""
    return cell if sensors is None else Cell(cell.name, cell.workload, dict(cell.options) | {"sensors": sensors})


def _key(parameter: click.Parameter) -> str:
    """Give the name that people type: `--base-url` without its dashes, or that of an argument."""
    names = [name.removeprefix("--") for name in parameter.opts if name.startswith("--")]
    return names[0] if names else parameter.name or ""


def _plain(parameter: click.Parameter, value: Any, where: str) -> Any:
    """Refuse what click would bend into shape, such as `limit = 1.5` or `limit = true`."""
    if parameter.nargs == -1 or parameter.multiple:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value) or not value:
            raise UsageError(f"{where} must be a list of texts", f'{where.rpartition(": ")[2]} = ["…", "…"]')
        return tuple(value)
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if flag or isinstance(value, bool):
        if not (flag and isinstance(value, bool)):
            raise UsageError(
                f"{where}: {value!r} does not fit", "write true or false" if flag else "a number or a text"
            )
        return value
    textual = isinstance(parameter.type, click.types.StringParamType | click.Path | click.Choice)
    if not isinstance(value, str if textual else int | float | str):
        raise UsageError(f"{where}: {value!r} is not a {'text' if textual else 'number'}", "texts stand in quotes")
    return str(value)


def _converted(command: click.Command, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Let click convert what was given and fill in the rest."""
    try:
        with command.make_context(command.name, [], default_map=dict(given)) as context:
            return {name: value for name, value in context.params.items() if name not in NOT_IN_FILES}
    except click.UsageError as error:
        parameter = getattr(error, "param", None)
        key = f"{_key(parameter)}: " if parameter else ""
        what = "must be given" if isinstance(error, click.MissingParameter) else error.message.rstrip(".")
        raise UsageError(f"{where}: {key}{what}", "the options and their types are those of the command line") from None
