"""`ipw quickstart`: the bundled models, what a tool buys, one table, one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ipw.errors import INTERRUPTED, OK, install_hint
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.runs.resume.outages import outage_error
from ipw.verbs.common.options import JSON, OUT, SENSORS
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import console, show
from ipw.workloads.lm.measure import measure_lm
from ipw.workloads.lm.parameters import Parameters

IDLE_S = 3.0
MODELS = ("dense", "moe")
TASKS = 45
PAGE_NAME = "quickstart.html"
ROUTED_SEQUENCES = 96
DECODED, DECODED_QUESTIONS = "greedy,local-leap", 96
TRAINED, TRAINING_STEPS = ("backprop", "local", "zeroth-order"), 12


def quickstart(*, sensors: str, out: Path, limit: int | None, as_json: bool) -> int:
    """Measure each bundled model, tasks with a tool and without and, with torch, routing, training and diffusion."""
    from ipw.reports.page.page import write_page

    runs = []
    for model in MODELS:
        if not as_json:
            console().print(f"measuring {model} …")
        run, interrupted = measure_lm(Parameters(model=model, limit=limit), sensors, IDLE_S, out, TERMINAL)
        if interrupted:
            return INTERRUPTED
        if error := outage_error(run):
            raise error
        runs.append(run)
    more = [_agent]
    if find_spec("torch") and find_spec("transformers"):
        more += [_routing, _training, _diffusion]
    elif not as_json:
        left_out = "expert routing, training and masked diffusion are left out"
        console().print(f"{left_out}. To add them: {install_hint('torch')}", markup=False)
    for measure in more:
        found, interrupted = measure(sensors, out, limit)
        if interrupted:
            return INTERRUPTED
        runs += found
    summaries = [derive(run) for run in runs]
    page = out / PAGE_NAME
    write_page(runs, page)
    if as_json:
        click.echo(json.dumps({"page": str(page), "runs": [str(run) for run in runs], "summaries": summaries}))
    else:
        show(summaries, page, runs)
        console().print(what_a_tool_buys(*summaries[len(MODELS) : len(MODELS) + 2]), markup=False, soft_wrap=True)
    return OK


def _agent(sensors: str, out: Path, limit: int | None) -> tuple[list[RunDir], bool]:
    """Do the same tasks with a tool and without."""
    from ipw.workloads.agents.loop.measure import measure_agent
    from ipw.workloads.agents.loop.parameters import AgentParameters

    runs = []
    for tools, label in (("calculator", "agent with a calculator"), ("none", "agent without a tool")):
        parameters = AgentParameters(tools=tools, limit=min(limit or TASKS, TASKS))
        run, interrupted = measure_agent(parameters, sensors, 1.0, out, TERMINAL, label)
        runs.append(run)
        if interrupted:
            return runs, True
    return runs, False


def what_a_tool_buys(tool: Mapping[str, Any], none: Mapping[str, Any]) -> str:
    """Say how many tasks are solved, and for how many joules each, with a tool and without."""
    told = []
    for summary, words in ((tool, "with the calculator"), (none, "without it")):
        solved, joules = (summary["metrics"].get(name, {}) for name in ("task_accuracy", "energy_per_task_j"))
        share = "no share" if solved.get("value") is None else f"{solved['value']:.0%}"
        cost = joules.get("value")
        price = f"joules are not known ({joules.get('reason')})" if cost is None else f"{cost:.3g} J a task"
        told.append(f"{words}, {share} of the {solved.get('n') or 0} tasks are solved: {price}")
    estimated = " Joules are estimated." if tool["basis"] == "estimate" else ""
    return f"What a tool buys: {'; '.join(told)}.{estimated}"


def _routing(sensors: str, out: Path, limit: int | None) -> tuple[list[RunDir], bool]:
    from ipw.workloads.routing.measure import measure_routing
    from ipw.workloads.routing.parameters import Parameters as RoutingParameters

    parameters = RoutingParameters(limit=min(limit or ROUTED_SEQUENCES, ROUTED_SEQUENCES), write=10)
    run, interrupted = measure_routing(parameters, sensors, 1.0, out, TERMINAL)
    return [run], interrupted


def _training(sensors: str, out: Path, limit: int | None) -> tuple[list[RunDir], bool]:
    from ipw.workloads.training.measure import measure_training
    from ipw.workloads.training.parameters import Parameters as TrainingParameters

    steps = min(limit or TRAINING_STEPS, TRAINING_STEPS)
    parameters = TrainingParameters(methods=TRAINED, steps=steps, batch_size=4, sequence_length=32, warmup=1)
    run, _, interrupted = measure_training(parameters, sensors, 1.0, out, TERMINAL)
    return [run], interrupted


def _diffusion(sensors: str, out: Path, limit: int | None) -> tuple[list[RunDir], bool]:
    from ipw.workloads.diffusion.measure import diffusion_parameters, measure_diffusion

    limit = min(limit or DECODED_QUESTIONS, DECODED_QUESTIONS)
    parameters, methods = diffusion_parameters(method=DECODED, limit=limit)
    runs, _, interrupted = measure_diffusion(parameters, methods, sensors, 1.0, out, audience=TERMINAL)
    return runs, interrupted


@click.command("quickstart")
@SENSORS
@OUT
@click.option("--limit", type=click.IntRange(1), help="Ask only this many questions.")
@JSON
def command(**options: Any) -> int:
    """Measure the bundled models and write a report: no network, no server, no GPU needed."""
    return quickstart(**options)
