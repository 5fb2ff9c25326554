"""The workloads that ipw knows, one entry each. What an entry names is imported when it is used.

It stands at the bottom of the house since checks, metrics, tables, the page and the gate look things up in it. Another
package adds a workload by an entry point of the group `ipw.workloads` that names a `Workload`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

ENTRY_POINTS = "ipw.workloads"
ALSO_CALLED = {"measure": "command"}
"""In run files a command is asked for by the verb that measures it, which is no verb of `ipw run`."""
OWN_VERBS = ("command", "gateway")
"""Workloads that are measured by verbs of their own, and not by `ipw run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the rest of the house must know of a workload. Members that are texts name an object: `module:name`."""

    name: str
    """On the command line, in run files, and as `kind` in manifests."""
    about: str
    """A sentence for `ipw run --help`."""
    command: str
    """The click command: its options are the workload's parameters, on the command line and in run files."""
    measure: str
    """`(options, out=, audience=) -> (run, interrupted)`: one measurement into a new run directory below `out`."""
    derive: str
    """`(run) -> {"metrics": …, "by_method": …}` or `None`: writes the workload's tables; returns what only it has."""
    stays_up: str = ""
    """`(options, audience=)`, a context in which many measurements are made on one server: `Ready`."""
    answers: bool = False
    """Whether it asks questions whose answers are scored, a row each in `queries.parquet`."""
    tasks: bool = False
    """Whether its runs do tasks, and what they ask to do them is their own: two do the same if their tasks are."""
    works: bool = True
    """Whether its spans are work, so that a power that does not move meanwhile is not believed."""
    table: str = ""
    """The table that holds a row for every line of the journal of that kind: `queries` or `spans`."""
    definitions: str = ""
    """Definitions of its metrics, beside those that every run has."""
    metrics: str = ""
    """`(answered) -> metrics`: of a workload that answers, what it has beside accuracy, joules and latency."""
    query_columns: str = ""
    """Columns of `queries.parquet` that only its metrics read."""
    columns: str = ""
    """`(metric, heading)`, …: the columns of tables of its runs; without, those of any window."""
    sections: tuple[str, ...] = ()
    """`(views, groups) -> markup` or `None`: what it adds to the page."""
    named_by: str = ""
    """The parameter that tells its runs of one model apart."""


LM = Workload(
    name="lm",
    about="A language model over a data set: accuracy, joules, watts, latency.",
    command="ipw.verbs.workloads.lm:command",
    measure="ipw.workloads.lm.entry:measure",
    stays_up="ipw.workloads.lm.entry:stays_up",
    derive="ipw.attribution.queries.tables:derive_lm",
    answers=True,
    table="queries",
    metrics="ipw.metrics.load:serving_metrics",
    columns="ipw.reports.tables.columns:LM",
    sections=("ipw.reports.page.turns:turns",),
)
ROUTING = Workload(
    name="routing",
    about="Expert routing of a mixture-of-experts model, and the cache of experts it asks for.",
    command="ipw.verbs.workloads.routing:command",
    measure="ipw.workloads.routing.entry:measure",
    derive="ipw.workloads.routing.entry:derive",
    table="queries",
    definitions="ipw.workloads.routing.definitions:DEFINITIONS",
    columns="ipw.reports.tables.columns:ROUTING",
    sections=("ipw.reports.page.routing:routing",),
)
TRAIN = Workload(
    name="train",
    about="Training steps by one or several methods: joules, time and memory of a step.",
    command="ipw.verbs.workloads.train:command",
    measure="ipw.workloads.training.entry:measure",
    derive="ipw.workloads.training.entry:derive",
    definitions="ipw.workloads.training.definitions:DEFINITIONS",
    columns="ipw.reports.tables.columns:TRAIN",
    sections=("ipw.reports.page.training:training",),
    named_by="method",
)
DIFFUSION = Workload(
    name="diffusion",
    about="Decoding of masked diffusion language models, by method.",
    command="ipw.verbs.workloads.diffusion:command",
    measure="ipw.workloads.diffusion.entry:measure",
    derive="ipw.workloads.diffusion.derive:derive_diffusion",
    answers=True,
    table="queries",
    metrics="ipw.metrics.passes:passes_metrics",
    query_columns="ipw.runs.queries:PASSES",
    columns="ipw.reports.tables.columns:DIFFUSION",
    sections=("ipw.reports.page.diffusion:diffusion",),
    named_by="method",
)
AGENT = Workload(
    name="agent",
    about="Tasks of several turns with tools: joules by turn, tool and task.",
    command="ipw.verbs.workloads.agent:command",
    measure="ipw.workloads.agents.loop.measure:measure",
    stays_up="ipw.workloads.agents.loop.measure:stays_up",
    derive="ipw.workloads.agents.derive:derive_agent",
    answers=True,
    tasks=True,
    table="queries",
    definitions="ipw.workloads.agents.definitions:DEFINITIONS",
    metrics="ipw.metrics.load:serving_metrics",
    columns="ipw.reports.tables.columns:AGENT",
    sections=("ipw.reports.page.agents:agents",),
)
GATEWAY = replace(
    AGENT,
    name="gateway",
    about="Any program that speaks to a model: joules by request, turn, tool and task.",
    command="ipw.verbs.gateway:command",
    measure="ipw.workloads.agents.entry:measure",
    stays_up="",
    sections=(),
)
"""Its runs are of the kind `agent`: both journal requests with an entry `agent` (`workloads/agents/asked.py`), and
everything behind that is the same. `by` in the parameters says which it was."""
COMMAND = Workload(
    name="command",
    about="Any command.",
    command="ipw.verbs.measure:command",
    measure="ipw.workloads.command:measure",
    derive="ipw.attribution.steps:derive_command",
    works=False,
    table="spans",
)
BUILT_IN = {entry.name: entry for entry in (LM, ROUTING, TRAIN, DIFFUSION, AGENT, GATEWAY, COMMAND)}
"""In the order in which tables and pages show them."""


@cache
def _added() -> dict[str, Workload]:
    """Workloads of other packages; one that cannot be loaded is left out, and a built-in name stays ours."""
    from importlib.metadata import entry_points  # it takes long to load, and most runs are of a workload of ours

    found = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            entry = point.load()
        except Exception:  # noqa: BLE001, S112 - another package's import may fail in any way, and costs only itself
            continue
        if isinstance(entry, Workload) and entry.name not in BUILT_IN:
            found[entry.name] = entry
    return found


def workloads() -> dict[str, Workload]:
    """Every workload by its name."""
    return BUILT_IN | _added()


def workload(name: object) -> Workload | None:
    """Look one up, by its name or by what run files call it; `None` where there is none."""
    known = str(name)
    known = ALSO_CALLED.get(known, known)
    return BUILT_IN.get(known) or _added().get(known)


def answers_questions(kind: object) -> bool:
    """Whether a workload's runs hold questions with answers."""
    found = workload(kind)
    return found is not None and found.answers


def load(target: str) -> Any:
    """Import what an entry names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
