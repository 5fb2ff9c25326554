"""`ipw run lm`: one model over one data set, once or as a series of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of, levels, served
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.series import conclude_series
from ipw.workloads.lm.clients.how_many import MOST_PROCESSES
from ipw.workloads.lm.measure import measure_lm
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.series import measure_series


def run_lm(
    *,
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    strict: bool,
    sweep: Sequence[int] = (),
    repeat: int = 1,
    restart: bool = False,
    label: str | None = None,
    otlp: str | None = None,
    **options: Any,
) -> int:
    """Measure one model, derive, show."""
    parameters = Parameters(**options)
    if sweep or repeat > 1:
        measured = measure_series(
            parameters, sweep, repeat, sensors, idle_s, out, restart=restart, audience=TERMINAL, label=label
        )
        return conclude_series(measured, out, as_json=as_json, strict=strict, otlp=otlp)
    run, interrupted = measure_lm(parameters, sensors, idle_s, out, TERMINAL, label)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict, otlp=otlp)


DEFAULTS = defaults_of(Parameters)


@click.command("lm")
@click.option("--model", help="A served model's name, a GGUF file, a model's folder, or the bundled 'dense' or 'moe'.")
@click.option(
    "--engine",
    type=click.Choice(["openai", "llamacpp", "transformers"]),
    help="Default: told from --model, --base-url and --serve.",
)
@click.option("--base-url", help="An OpenAI-compatible server (or OPENAI_BASE_URL).")
@served(DEFAULTS["serve_timeout_s"])
@click.option("--api", type=click.Choice(["chat", "completions"]), default=DEFAULTS["api"], show_default=True)
@click.option(
    "--dataset",
    default=DEFAULTS["dataset"],
    show_default=True,
    help="'bundled', a JSONL, CSV or Parquet file, hf:NAME, lm-eval:TASK or fixed:IN,OUT.",
)
@click.option(
    "--scorer", help="exact, contains, number, choice, regex, math, judge, judge-pair, none; default: the data's."
)
@click.option("--columns", help="Of a data set with other names: prompt=Question,answer=answerKey,choices=options.")
@click.option(
    "--answer-is",
    type=click.Choice(["text", "letter", "index0", "index1"]),
    help="What an answer beside choices is, counted from 0 or 1; default: as the values of the whole set tell.",
)
@click.option("--judge-url", help="Server of the model that judges, once the measured window has closed.")
@click.option("--judge-model", help="Default: the only one that the judge's server has.")
@click.option("--logprobs", is_flag=True, help="Ask for log-probabilities: perplexity per watt and per joule.")
@click.option("--shard", help="Ask only one part of the questions: 2/4 is the second of four.")
@click.option("--limit", type=click.IntRange(1), help="Ask only this many questions.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="Requests in flight; default 1.")
@click.option("--rate", type=FloatRange(0.001), help="Requests to send per second, without waiting for answers.")
@click.option("--arrival", type=click.Choice(["poisson", "constant"]), default=DEFAULTS["arrival"], show_default=True)
@click.option(
    "--clients",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Processes that ask, together; default: as many as the load needs.",
)
@click.option("--sweep", callback=levels, help="A run for each number of requests in flight: 1,2,4,8.")
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each kind.")
@click.option("--restart", is_flag=True, help="Start the model's server anew for every run.")
@click.option("--slo", help="Latency limits of a good answer: ttft=500ms,itl=50ms,e2e=10s.")
@click.option(
    "--warmup", type=click.IntRange(0), default=DEFAULTS["warmup"], show_default=True, help="Requests before measuring."
)
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=DEFAULTS["retries"],
    show_default=True,
    help="After the measured window.",
)
@click.option("--timeout", "timeout_s", type=FloatRange(0.001), default=DEFAULTS["timeout_s"], show_default=True)
@click.option(
    "--stall-timeout",
    "stall_s",
    type=FloatRange(0.001),
    default=DEFAULTS["stall_s"],
    show_default=True,
    help="Seconds without a byte in the middle of an answer.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=DEFAULTS["max_tokens"], show_default=True)
@click.option(
    "--max-failed",
    "max_failed_percent",
    type=FloatRange(0, 100),
    default=DEFAULTS["max_failed_percent"],
    show_default=True,
    metavar="PERCENT",
    help="Of the questions: where more fail, stay empty or are cut, the run is not valid.",
)
@click.option("--temperature", type=FloatRange(0, 5), default=DEFAULTS["temperature"], show_default=True)
@click.option("--seed", type=int, default=DEFAULTS["seed"], show_default=True)
@click.option("--batch-size", type=click.IntRange(1), help="Of the transformers engine; default: as --concurrency.")
@click.option(
    "--dtype", default=DEFAULTS["dtype"], show_default=True, help="Of the transformers engine: bfloat16, float32, …"
)
@click.option(
    "--device", default=DEFAULTS["device"], show_default=True, help="Of the transformers engine: cpu, cuda:1, mps."
)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """A language model over a data set: accuracy, joules, watts, latency.

    Examples: ipw run lm --model dense    ipw run lm --base-url http://localhost:8080 --model NAME --dataset q.jsonl
    """
    return run_lm(**options)
