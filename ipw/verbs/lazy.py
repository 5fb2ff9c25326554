"""Commands that are imported when they are called: `ipw --help` reads a table and loads no verb."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class Verb(NamedTuple):
    """Where a command is, and what the help says of it."""

    target: str
    """A module of `ipw.verbs`, or `module:name`; the command's name is `command` if none is given."""
    about: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, name = self.target.partition(":")
        command = getattr(import_module(f"ipw.verbs.{module}"), name or "command")
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group over a table: heading -> name -> verb."""

    def __init__(self, *args: Any, table: Mapping[str, Mapping[str, Verb]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    @property
    def verbs(self) -> dict[str, Verb]:
        """Every verb by its name."""
        return {name: verb for verbs in self._table.values() for name, verb in verbs.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return [*self.verbs, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import what is called."""
        verb = self.verbs.get(cmd_name)
        return verb.load() if verb else super().get_command(ctx, cmd_name)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, whole sentences, under its headings."""
        for heading, verbs in self._table.items():
            with formatter.section(heading):
                formatter.write_dl([(name, verb.about) for name, verb in verbs.items()])


class LazyCommands(Mapping[str, click.Command]):
    """Commands by name, each imported when it is asked for."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = targets

    def __getitem__(self, name: str) -> click.Command:
        return Verb(self._targets[name], "").load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)


WORKLOADS = LazyCommands(
    {"lm": "lm", "routing": "routing", "train": "train", "diffusion": "diffusion", "measure": "measure"}
)
"""What a run file may ask for: its options are those of the command."""
