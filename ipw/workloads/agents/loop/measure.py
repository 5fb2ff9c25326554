"""Measures an agent: as a language model is measured, with tasks and tools in the place of questions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipw.runs.checks.record import ids_digest
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.runs.resume.resuming import process_facts
from ipw.variables import OPENAI_URL
from ipw.workloads.agents.loop.loop import Loop, finished_tasks
from ipw.workloads.agents.loop.parameters import BUNDLED_MODEL, AgentParameters
from ipw.workloads.agents.loop.plan import AgentPlan, plan_agent, task_of
from ipw.workloads.base import NOBODY, Audience, Book, Up, labelled, split
from ipw.workloads.lm.asker import Asker
from ipw.workloads.lm.measure import describe, measure_into, named, tell
from ipw.workloads.lm.run import Doing
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.engines import asks_elsewhere, serve


def measure_agent(
    parameters: AgentParameters,
    sensors: str,
    idle_s: float,
    out: Path,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[RunDir, bool]:
    """Serve the model and do every task; returns the run, and whether it was interrupted."""
    with up(parameters, {"sensors": sensors, "idle_s": idle_s, "label": label}, audience) as server:
        return server.measure(out)


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study; returns the run, and whether it was interrupted."""
    own, common = split(options)
    with up(AgentParameters(**own), common, audience) as server:
        return server.measure(out)


@contextmanager
def stays_up(options: Mapping[str, Any], *, audience: Audience) -> Iterator[Up]:
    """Let the tasks be done many times, each time on a server that is started anew where ipw starts it.

    An agent's server keeps the prompts that it knows, so that the same tasks would cost less from the second time on.
    """
    ours = not asks_elsewhere(with_model(AgentParameters(**split(options)[0])))
    yield Up(lambda out: measure(options, out=out, audience=audience), ours=ours)


@contextmanager
def up(parameters: AgentParameters, common: Mapping[str, Any], audience: Audience) -> Iterator[Up]:
    """Bring a server up; `common` are the options of every measurement."""
    planned = plan_agent(parameters)
    with serve(with_model(parameters)) as endpoint:
        tell(planned.lm, audience)
        audience.say(f"tools: {', '.join(planned.tools) or 'none'}")
        manifest = describe_agent(endpoint, planned, common["idle_s"])
        manifest |= {"sensors_asked": common["sensors"], **labelled(common.get("label"))}

        def once(out: Path) -> tuple[RunDir, bool]:
            run = RunDir.create(out, named(endpoint))
            return run, measure_agent_into(run, manifest | process_facts(), endpoint, planned, audience=audience)

        yield Up(once, ours=endpoint.pid is not None)


def with_model(parameters: AgentParameters) -> AgentParameters:
    """Take the bundled model where neither a model nor a server is named."""
    given = (parameters.model, parameters.base_url, parameters.serve, os.environ.get(OPENAI_URL))
    return parameters if any(given) else replace(parameters, model=BUNDLED_MODEL)


def describe_agent(endpoint: Endpoint, planned: AgentPlan, idle_s: float) -> dict[str, Any]:
    """Say what is measured, for the manifest; a run is only ever resumed with the very same."""
    told = describe(endpoint, planned.lm, idle_s, kind="agent")
    tasks = {task_of(question) for question in planned.lm.dataset.questions}
    told["dataset"] |= {"tasks": len(tasks), "ids_digest": ids_digest(tasks)}
    return told | {"turns": True, "tools": {"names": list(planned.tools), "digest": planned.digest}}


def measure_agent_into(
    run: RunDir,
    manifest: Mapping[str, Any],
    endpoint: Endpoint,
    planned: AgentPlan,
    finished: Collection[str] = frozenset(),
    owner: Owner | None = None,
    audience: Audience = NOBODY,
) -> bool:
    """Do the tasks of which not all is `finished`, and keep them in `run`; returns whether it was interrupted."""
    attempt = len(manifest.get("resumed", ()))

    def doing(book: Book) -> Doing:
        def of(asker: Asker) -> Callable[[Any, int | None], Any]:
            return Loop(asker, planned, book, attempt).do

        return of

    whole = finished_tasks(planned.lm.dataset.questions, finished)
    return measure_into(run, manifest, endpoint, planned.lm, whole, owner, audience, doing)
