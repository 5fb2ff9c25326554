"""`ipw run diffusion`: what decoding methods of masked diffusion models cost, and what they get right for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ipw.verbs.common.methods import conclude_methods
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of
from ipw.verbs.common.progress import TERMINAL
from ipw.workloads.diffusion.measure import diffusion_parameters, measure_diffusion
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.turns import Taken


def run_diffusion(
    *,
    sensors: str,
    idle_s: float,
    out: Path,
    as_json: bool,
    strict: bool,
    repeat: int = 1,
    label: str | None = None,
    otlp: str | None = None,
    **options: Any,
) -> int:
    """Decode by every method, derive, show; a method that ended badly is told and makes the exit code."""
    parameters, methods = diffusion_parameters(**options)
    runs, failed, interrupted = measure_diffusion(
        parameters, methods, sensors, idle_s, out, repeat=repeat, audience=TERMINAL, label=label
    )
    taken = Taken(runs, failed, interrupted)
    return conclude_methods(taken, out, len(methods) * repeat, as_json=as_json, strict=strict, otlp=otlp)


DEFAULTS = defaults_of(Parameters)


@click.command("diffusion")
@click.option(
    "--model", default=DEFAULTS["model"], show_default=True, help="The bundled 'diffusion', a folder, a hub name."
)
@click.option(
    "--method",
    default="greedy,local-leap",
    show_default=True,
    help="By comma: greedy, random, dream, dream-entropy, threshold, local-leap; dkv-decode, dkv-prefill, dkv-pd, "
    "dkv-greedy; or both with a plus.",
)
@click.option(
    "--dataset", default=DEFAULTS["dataset"], show_default=True, help="'bundled', 'bundled-long', a file, or hf:NAME."
)
@click.option("--scorer", help="exact, contains, number, choice, regex, none; default: the data's.")
@click.option("--columns", help="Of a data set with other names: prompt=Question,answer=answerKey,choices=options.")
@click.option("--answer-is", type=click.Choice(["text", "letter", "index0", "index1"]), help="As of `ipw run lm`.")
@click.option("--shard", help="Ask only one part of the questions: 2/4 is the second of four.")
@click.option("--limit", type=click.IntRange(1), help="Ask only this many questions.")
@click.option("--answer-length", type=int, help="Tokens of an answer; default 8 or 48 for bundled questions, else 256.")
@click.option("--block-length", type=int, help="Default: the answer's for the bundled model and Dream, else 32.")
@click.option("--steps", type=int, help="Of samplers with a schedule; default: as many as tokens.")
@click.option(
    "--threshold", type=float, default=DEFAULTS["threshold"], show_default=True, help="Of threshold and local-leap."
)
@click.option("--relaxed", type=float, help="Of local-leap, near what is sure; default 0.75.")
@click.option(
    "--radius", type=int, default=DEFAULTS["radius"], show_default=True, help="How near that is, in positions."
)
@click.option("--refresh", type=int, help="Compute all each so many steps; default 8, of dkv-greedy 2.")
@click.option(
    "--window",
    type=int,
    default=DEFAULTS["window"],
    show_default=True,
    help="Of dkv-greedy: neighbours computed with each.",
)
@click.option("--early-stop", is_flag=True, help="Stop after a block that holds an end token.")
@click.option(
    "--temperature",
    type=float,
    default=DEFAULTS["temperature"],
    show_default=True,
    help="Above 0, tokens are drawn by --seed.",
)
@click.option(
    "--batch-size", type=int, default=DEFAULTS["batch_size"], show_default=True, help="Answers decoded together."
)
@click.option(
    "--warmup", type=int, default=DEFAULTS["warmup"], show_default=True, help="Answers of each method before measuring."
)
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each method.")
@click.option("--seed", type=int, default=DEFAULTS["seed"], show_default=True)
@click.option("--device", default=DEFAULTS["device"], show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--dtype", default=DEFAULTS["dtype"], show_default=True, help="auto is the model's own; bfloat16, float32, …"
)
@click.option("--mask-token", "mask_id", type=int, help="The mask token's id, where config.json does not say it.")
@click.option("--revision", help="Of a model on the hub: a branch, a tag or a commit.")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the code that comes with a model. LLaDA, Dream, and Llama, Qwen … without a causal mask need none.",
)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Decoding of masked diffusion language models: joules, passes and accuracy by method, on the same questions.

    Example: ipw run diffusion --method greedy,threshold,local-leap,local-leap+dkv-decode --limit 200
    """
    return run_diffusion(**options)
