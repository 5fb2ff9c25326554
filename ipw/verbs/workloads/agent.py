"""`ipw run agent`: tasks of several turns with tools, by a small loop of our own."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import click

from ipw.registry import LM, load
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of
from ipw.verbs.common.progress import TERMINAL
from ipw.workloads.agents.loop.measure import measure_agent
from ipw.workloads.agents.loop.parameters import AgentParameters


def run_agent(
    *,
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    strict: bool,
    label: str | None = None,
    otlp: str | None = None,
    **options: Any,
) -> int:
    """Do the tasks, derive, show."""
    run, interrupted = measure_agent(AgentParameters(**options), sensors, idle_s, out, TERMINAL, label)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict, otlp=otlp)


DEFAULTS = defaults_of(AgentParameters)
LIKE_LM = (
    "model", "engine", "base_url", "serve", "serve_timeout_s", "server_here", "sensors_of", "scorer", "columns",
    "judge_url", "judge_model", "shard", "limit", "concurrency", "rate", "clients", "arrival", "slo", "warmup",
    "timeout_s", "stall_s", "max_tokens", "max_failed_percent", "temperature", "seed", "batch_size", "dtype", "device",
)  # fmt: skip
"""Options that are those of `ipw run lm`."""
Command = Callable[..., Any]


def like_lm(command: Command) -> Command:
    """Add the options that a language model's run has too, with the defaults of this one."""
    known = {parameter.name: parameter for parameter in load(LM.command).params}
    mine = []
    for name in LIKE_LM:
        option = copy(known[name])
        option.default = DEFAULTS[name]
        if name == "model":
            option.help = "A served model's name, a GGUF file, a model's folder; default: the bundled 'agent'."
        mine.append(option)
    command.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(mine)]  # type: ignore[attr-defined]
    return command


@click.command("agent")
@click.option(
    "--dataset",
    default=DEFAULTS["dataset"],
    show_default=True,
    help="Tasks: 'bundled-tools', or what ipw run lm takes; a JSON file may name the tools of each task.",
)
@click.option(
    "--tools", help="By comma: module:function, 'calculator', a .json or .toml file of tools; 'none' for none."
)
@click.option(
    "--max-turns",
    type=click.IntRange(1, 1000),
    default=DEFAULTS["max_turns"],
    show_default=True,
    help="Requests a task.",
)
@click.option("--task-tokens", type=click.IntRange(1), help="Tokens that the model may write in a task.")
@click.option(
    "--task-timeout",
    "task_timeout_s",
    type=FloatRange(0.1),
    default=DEFAULTS["task_timeout_s"],
    show_default=True,
    help="Seconds after which no request of a task begins.",
)
@like_lm
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Tasks of several turns with tools: joules by turn, tool and task.

    Examples: ipw run agent    ipw run agent --tools none    ipw run agent --base-url http://localhost:8080 --model NAME
    --dataset tasks.jsonl --tools mytools:search,mytools:fetch
    """
    return run_agent(**options)
