"""Commands that are imported when they are called: `ipw --help` reads a table and loads no verb."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import click

from ipw.registry import ALSO_CALLED, load, workload, workloads


class Verb(NamedTuple):
    """Where a command is, and what the help says of it."""

    target: str
    """A module of `ipw.verbs`, whose `command` is meant; or any other object in full, as `module:name`."""
    about: str

    def load(self) -> click.Command:
        """Import the command."""
        command = load(self.target if ":" in self.target else f"ipw.verbs.{self.target}:command")
        assert isinstance(command, click.Command)
        return command


class LazyGroup(click.Group):
    """A group over a table: heading -> name -> verb."""

    def __init__(self, *args: Any, table: Mapping[str, Mapping[str, Verb]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table or {}

    @property
    def table(self) -> Mapping[str, Mapping[str, Verb]]:
        """Heading -> name -> verb."""
        return self._table

    @property
    def verbs(self) -> dict[str, Verb]:
        """Every verb by its name."""
        return {name: verb for verbs in self.table.values() for name, verb in verbs.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return [*self.verbs, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import what is called."""
        verb = self.verbs.get(cmd_name)
        return verb.load() if verb else super().get_command(ctx, cmd_name)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, whole sentences, under its headings."""
        for heading, verbs in self.table.items():
            with formatter.section(heading):
                formatter.write_dl([(name, verb.about) for name, verb in verbs.items()])


class LazyCommands(Mapping[str, click.Command]):
    """The command of each workload by what run files call it, imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        entry = workload(name)
        if entry is None or name not in list(self):
            raise KeyError(name)
        return Verb(entry.command, "").load()

    def __iter__(self) -> Iterator[str]:
        spoken = {own: said for said, own in ALSO_CALLED.items()}
        return (spoken.get(name, name) for name in workloads())

    def __len__(self) -> int:
        return len(workloads())


WORKLOADS = LazyCommands()
"""What a run file may ask for: its options are those of the command."""
