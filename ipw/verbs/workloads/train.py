"""`ipw run train`: what a training step costs by method, and what it teaches for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ipw.errors import FAILURE, OK, USAGE
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.numbers import FloatRange
from ipw.verbs.common.options import IDLE, JSON, LABEL, OTLP, OUT, SENSORS, STRICT, defaults_of
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import console
from ipw.workloads.training.measure import measure_training, train_parameters
from ipw.workloads.training.parameters import CLASSIFIERS, EACH_LAYER, OPTIMIZERS, Parameters
from ipw.workloads.training.run import ENDED_WELL


def run_train(
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
    """Train by each method, derive, show; a method that ended badly is told and makes the exit code."""
    parameters = train_parameters(**options)
    run, ended, interrupted = measure_training(parameters, sensors, idle_s, out, TERMINAL, label)
    code = conclude(run, interrupted=interrupted, as_json=as_json, strict=strict, otlp=otlp)
    failed = [each for each in ended if each.status not in ENDED_WELL]
    for each in failed:
        console().print(f"{each.method}: {each.status.replace('_', ' ')}: {each.reason}", markup=False, soft_wrap=True)
    if code != OK or not failed:
        return code
    return USAGE if all(each.status == "unfit" for each in failed) else FAILURE


class Blocks(click.IntRange):
    """How many blocks, or the word for one block a layer."""

    name = "blocks"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take a whole number of 1 or more, or the word."""
        return value if value == EACH_LAYER else super().convert(value, param, ctx)


BLOCKS = Blocks(1)


DEFAULTS = defaults_of(Parameters)


@click.command("train")
@click.option(
    "--model",
    default=DEFAULTS["model"],
    show_default=True,
    help="'text', 'image' or 'resnet-32', made here; a folder, hub name or 'moe'; or module:function.",
)
@click.option(
    "--method",
    default="backprop",
    show_default=True,
    help="By comma: backprop, checkpointing, lora, local, momentum-local, zeroth-order.",
)
@click.option("--steps", type=click.IntRange(1), help="Of each method; default 100 without a target or a budget.")
@click.option("--target-loss", type=float, help="Stop at this training loss (mean of ten steps).")
@click.option("--budget-j", type=FloatRange(0, min_open=True), help="Stop after so many joules.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=DEFAULTS["batch_size"], show_default=True, help="Samples a step."
)
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=DEFAULTS["accumulate"],
    show_default=True,
    help="Pieces of each batch.",
)
@click.option(
    "--sequence-length",
    type=click.IntRange(2),
    default=DEFAULTS["sequence_length"],
    show_default=True,
    help="Tokens of a sample.",
)
@click.option("--lr", "learning_rate", type=FloatRange(0, min_open=True), help="Default: the method's own.")
@click.option(
    "--warmup", type=click.IntRange(0), default=DEFAULTS["warmup"], show_default=True, help="Steps before measuring."
)
@click.option("--amp", is_flag=True, help="Compute in bfloat16 where that is safe.")
@click.option(
    "--optimizer", type=click.Choice(OPTIMIZERS), default=DEFAULTS["optimizer"], show_default=True, help="Of gradients."
)
@click.option(
    "--lora-rank", type=click.IntRange(1), default=DEFAULTS["lora_rank"], show_default=True, help="Of lora's matrices."
)
@click.option("--blocks", type=BLOCKS, help="Of the local methods: a number, or 'layers'; default as the paper cuts.")
@click.option("--auxiliary-depth", type=click.IntRange(0), help="Layers of a head; default 2, momentum-local 0.")
@click.option("--pyramid/--no-pyramid", default=True, show_default=True, help="Heads get shallower towards the end.")
@click.option(
    "--classifier",
    type=click.Choice(CLASSIFIERS),
    default=DEFAULTS["classifier"],
    show_default=True,
    help="Of heads of language models.",
)
@click.option(
    "--ema-momentum",
    type=FloatRange(0, 1),
    default=DEFAULTS["ema_momentum"],
    show_default=True,
    help="Of momentum-local's average.",
)
@click.option(
    "--peers",
    type=click.IntRange(1, 64),
    default=DEFAULTS["peers"],
    show_default=True,
    help="Processes of zeroth-order.",
)
@click.option("--join-at", type=click.IntRange(0), help="The last peer comes after so many steps, and replays them.")
@click.option(
    "--directions",
    type=click.IntRange(1),
    default=DEFAULTS["directions"],
    show_default=True,
    help="A step of zeroth-order, each.",
)
@click.option("--device", default=DEFAULTS["device"], show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--data", default=DEFAULTS["data"], show_default=True, help="Text: 'bundled', a file, or a folder.")
@click.option("--seed", type=int, default=DEFAULTS["seed"], show_default=True)
@SENSORS
@IDLE
@LABEL
@OTLP
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Training steps by one or several methods: joules, time and memory of a step, and what it teaches for them.

    Example: ipw run train --method backprop,local,zeroth-order --steps 100
    """
    return run_train(**options)
