"""`ipw run WORKLOAD`, and `ipw run SUITE.toml`."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ipw.registry import OWN_VERBS, workloads
from ipw.verbs.common.lazy import LazyGroup, Verb

SUITE = Verb("study", "Every cell of a suite file.")


class _RunGroup(LazyGroup):
    @property
    def table(self) -> Mapping[str, Mapping[str, Verb]]:
        """Every workload; a command is measured by a verb of its own."""
        entries = [entry for entry in workloads().values() if entry.name not in OWN_VERBS]
        return {"Workloads": {entry.name: Verb(entry.command, entry.about) for entry in entries}}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return SUITE.load() if cmd_name.endswith(".toml") else super().get_command(ctx, cmd_name)


@click.group("run", cls=_RunGroup, subcommand_metavar="WORKLOAD|SUITE.toml [OPTIONS]")
def command() -> None:
    """Measure a workload, or every cell of a suite file."""
