"""`ipw run WORKLOAD`, and `ipw run SUITE.toml`."""

from __future__ import annotations

import click

from ipw.verbs.lazy import LazyGroup, Verb

TABLE = {
    "lm": Verb("lm", "A language model over a data set: accuracy, joules, watts, latency."),
    "routing": Verb("routing", "Expert routing of a mixture-of-experts model, and the cache of experts it asks for."),
    "train": Verb("train", "Training steps by one or several methods: joules, time and memory of a step."),
    "diffusion": Verb("diffusion", "Decoding of masked diffusion language models, by method."),
}
SUITE = Verb("study", "Every cell of a suite file.")


class _RunGroup(LazyGroup):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return SUITE.load() if cmd_name.endswith(".toml") else super().get_command(ctx, cmd_name)


@click.group("run", cls=_RunGroup, table={"Workloads": TABLE}, subcommand_metavar="WORKLOAD|SUITE.toml [OPTIONS]")
def command() -> None:
    """Measure a workload, or every cell of a suite file."""
