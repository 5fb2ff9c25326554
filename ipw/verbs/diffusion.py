"""`ipw run diffusion`: what decoding methods of masked diffusion models cost, and what they get right for that."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ipw.errors import FAILURE, OK, UsageError
from ipw.metering.meter import Meter
from ipw.runs.checks.record import ids_digest
from ipw.runs.directory import RunDir
from ipw.verbs.conclude import conclude
from ipw.verbs.options import IDLE, JSON, OUT, SENSORS, STRICT
from ipw.verbs.progress import Bar
from ipw.verbs.series import Series, conclude_series
from ipw.verbs.terminal import console
from ipw.workloads.diffusion.methods import Method, methods_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import Arm, Asked, asked_of
from ipw.workloads.diffusion.run import run_diffusion as run_workload
from ipw.workloads.diffusion.settings import SCHEDULED, Settings
from ipw.workloads.diffusion.subject import BUNDLED, Subject, find, opened
from ipw.workloads.lm.parameters import Parameters as Questions
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.scoring.answers import DEFERRED
from ipw.workloads.terminable import terminable
from ipw.workloads.texts.identity import digest, questions_digest
from ipw.workloads.training.resonance import periods


def run_diffusion(
    *, sensors: str, idle_s: float, out: Path, as_json: bool, strict: bool, repeat: int = 1, **options: Any
) -> int:
    """Decode by every method, derive, show; a method that ended badly is told and makes the exit code."""
    parameters, methods = diffusion_parameters(**options)
    runs, failed, interrupted = measure_diffusion(parameters, methods, sensors, idle_s, out, repeat=repeat)
    if len(runs) == 1:
        code = conclude(runs[0], interrupted=interrupted, as_json=as_json, strict=strict)
    else:
        measured = Series(runs, len(methods) * repeat, interrupted=interrupted)
        code = conclude_series(measured, out, as_json=as_json, strict=strict)
    for told in failed:
        console().print(told, markup=False, soft_wrap=True)
    return FAILURE if code == OK and failed else code


def diffusion_parameters(*, method: str, **options: Any) -> tuple[Parameters, tuple[Method, ...]]:
    """Read the options of the command line. Raises UsageError."""
    for name, least in (("batch_size", 1), ("warmup", 0)):
        if options.get(name, least) < least:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} must be {least} or more", f"{option} {max(least, 1)}")
    return Parameters(method=method, **options), methods_of(method)


def measure_diffusion(
    parameters: Parameters, methods: Sequence[Method], sensors: str, idle_s: float, out: Path, *, repeat: int = 1
) -> tuple[list[RunDir], list[str], bool]:
    """Measure; returns a run for each method and repetition, what failed in words, and whether it was interrupted."""
    planned = _planned(parameters)
    found = find(parameters.model, parameters.mask_id)
    one_block = found.name == BUNDLED or found.shift
    settings = [parameters.settings(method, one_block=one_block) for method in methods]
    subject = opened(found, dtype=parameters.dtype, device=parameters.device)
    if subject.tokenizer is None:
        raise UsageError(f"{found.folder} has no tokenizer, so no question can be asked", "copy tokenizer.json there")
    _tell(planned, methods, settings, parameters)
    asked = asked_of(planned.dataset.questions, subject, parameters.seed)
    series = {"id": secrets.token_hex(4), "levels": [], "repeat": repeat} if repeat > 1 else None
    runs: list[RunDir] = []
    failed: list[str] = []
    for repetition in range(repeat):
        mine = replace(parameters, repetition=repetition)
        arms, interrupted = _round(mine, methods, settings, subject, planned, asked, sensors, idle_s, out, runs, series)
        failed += [f"{arm.method.name}: {arm.failed}" for arm in arms if arm.failed]
        if interrupted:
            return runs, failed, True
    failed += _all_failed(runs)
    return runs, failed, False


def _round(
    parameters: Parameters, methods: Sequence[Method], settings: Sequence[Settings], subject: Subject, planned: Plan,
    asked: Sequence[Asked], sensors: str, idle_s: float, out: Path, runs: list[RunDir],
    series: Mapping[str, Any] | None,
) -> tuple[list[Arm], bool]:  # fmt: skip
    """Measure every method once, each with a meter of its own; returns the methods, and whether it was interrupted."""
    arms: list[Arm] = []
    try:
        with ExitStack() as stack:
            meters = []
            for method, numbers in zip(methods, settings, strict=True):
                facts = _describe(parameters, method, numbers, subject, planned, idle_s, series)
                run = RunDir.create(out, f"{subject.facts['name']}-{method.name}")
                meter = stack.enter_context(Meter(run, facts | {"sensors_asked": sensors}, sensors))
                runs.append(run)
                meters.append(meter)
                arms.append(Arm(method, numbers, meter, meter.journal))
            bar = Bar(str(subject.facts["name"]), meters[0].live, estimated=meters[0].basis == "estimate")
            with bar.shown(), terminable():
                _idle(meters, "idle before", idle_s)
                run_workload(
                    arms, subject, asked, planned.scorer, bar, batch_size=parameters.batch_size,
                    warmup=parameters.warmup, period_s=max(periods(meters[0].channels).values(), default=None),
                )  # fmt: skip
                _idle(meters, "idle after", idle_s)
    except KeyboardInterrupt:
        return arms, True
    return arms, False


def _idle(meters: Sequence[Meter], name: str, seconds: float) -> None:
    """Sit still once, and mark it in every run."""
    with ExitStack() as stack:
        for meter in meters[1:]:
            if seconds > 0:
                stack.enter_context(meter.span(name, "idle"))
        meters[0].idle(name, seconds)


def _planned(parameters: Parameters) -> Plan:
    """Read the questions as `ipw run lm` does. Raises UsageError."""
    if parameters.dataset.startswith(("fixed:", "lm-eval:")):
        raise UsageError(f"{parameters.dataset} is for servers", "ipw run lm, or --dataset with a file or hf:NAME")
    names = ("dataset", "scorer", "columns", "answer_is", "limit", "shard", "seed")
    found = plan(Questions(**{name: getattr(parameters, name) for name in names}))
    if found.scorer in DEFERRED:
        raise UsageError(f"the scorer {found.scorer!r} is not for this workload", "--scorer exact, number or contains")
    return found


def _tell(planned: Plan, methods: Sequence[Method], settings: Sequence[Settings], parameters: Parameters) -> None:
    """Say what will be asked and how; and what was given in vain."""
    dataset, numbers = planned.dataset, settings[0]
    count = len(dataset.questions)
    named, out = ", ".join(method.name for method in methods), console()
    told = [
        f"{count:,} question{'s'[: count != 1]} of {dataset.name}, scored by {planned.scorer}: {planned.scorer_reason}",
        f"answers of {numbers.length} tokens in blocks of {numbers.block_length}, by {named}",
        *dataset.notes,
    ]
    if parameters.steps is not None and not any(method.sampler in SCHEDULED for method in methods):
        told.append("mind: --steps says nothing here: these methods take as many steps as they need")
    for line in told:
        out.print(line, markup=False, soft_wrap=True)


def _describe(
    parameters: Parameters, method: Method, settings: Settings, subject: Subject, planned: Plan, idle_s: float,
    series: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Say what is measured, for the manifest."""
    used = {
        "method": method.name, "answer_length": settings.length, "block_length": settings.block_length,
        "steps": settings.steps if method.sampler in SCHEDULED else None, "refresh": settings.refresh,
        "relaxed": settings.relaxed, "idle_s": idle_s,
    }  # fmt: skip
    given = parameters.as_dict() | used
    workload: dict[str, Any] = {"kind": "diffusion", "parameters": given, "digest": digest(given)}
    workload |= {"held_against": method.held_against} if method.held_against else {}
    if series:
        workload["series"] = {**series, "id": f"{series['id']}-{method.name}", "repetition": parameters.repetition}
    dataset = planned.dataset
    return {
        "workload": workload,
        "model": subject.facts,
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "questions": len(dataset.questions),
            "questions_digest": questions_digest(dataset.questions),
            "ids_digest": ids_digest(question.id for question in dataset.questions),
            "scorer": planned.scorer,
            "scorer_reason": planned.scorer_reason,
            "answer_is": dataset.answer_is,
            "notes": list(dataset.notes),
        },
    }


def _all_failed(runs: Sequence[RunDir]) -> Iterator[str]:
    """Say which runs have not one answer."""
    for run in runs:
        errors = [str(query.get("error")) for query in run.journal("query") if query.get("status") != "ok"]
        if errors and not any(query.get("status") == "ok" for query in run.journal("query")):
            yield f"{run.path.name}: no question was answered: {errors[0]}"


@click.command("diffusion")
@click.option("--model", default="diffusion", show_default=True, help="The bundled 'diffusion', a folder, a hub name.")
@click.option(
    "--method",
    default="greedy,local-leap",
    show_default=True,
    help="By comma: greedy, random, dream, dream-entropy, threshold, local-leap; dkv-decode, dkv-prefill, dkv-pd, "
    "dkv-greedy; or both with a plus.",
)
@click.option("--dataset", default="bundled", show_default=True, help="'bundled', 'bundled-long', a file, or hf:NAME.")
@click.option("--scorer", help="exact, contains, number, choice, regex, none; default: the data's.")
@click.option("--columns", help="Of a data set with other names: prompt=Question,answer=answerKey,choices=options.")
@click.option("--answer-is", type=click.Choice(["text", "letter", "index0", "index1"]), help="As of `ipw run lm`.")
@click.option("--shard", help="Ask only one part of the questions: 2/4 is the second of four.")
@click.option("--limit", type=click.IntRange(1), help="Ask only so many questions.")
@click.option("--answer-length", type=int, help="Tokens of an answer; default 8 or 48 for bundled questions, else 256.")
@click.option("--block-length", type=int, help="Default: the answer's for the bundled model and Dream, else 32.")
@click.option("--steps", type=int, help="Of samplers with a schedule; default: as many as tokens.")
@click.option("--threshold", type=float, default=0.9, show_default=True, help="Of threshold and local-leap.")
@click.option("--relaxed", type=float, help="Of local-leap, near what is sure; default 0.75.")
@click.option("--radius", type=int, default=4, show_default=True, help="How near that is, in positions.")
@click.option("--refresh", type=int, help="Compute all each so many steps; default 8, of dkv-greedy 2.")
@click.option("--window", type=int, default=4, show_default=True, help="Of dkv-greedy: neighbours computed with each.")
@click.option("--early-stop", is_flag=True, help="Stop after a block that holds an end token.")
@click.option("--temperature", type=float, default=0.0, show_default=True, help="Above 0, tokens are drawn by --seed.")
@click.option("--batch-size", type=int, default=1, show_default=True, help="Answers decoded together.")
@click.option("--warmup", type=int, default=3, show_default=True, help="Answers of each method before measuring.")
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each method.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("--dtype", default="auto", show_default=True, help="auto is the model's own; bfloat16, float32, …")
@click.option("--mask-token", "mask_id", type=int, help="The mask token's id, where config.json does not say it.")
@SENSORS
@IDLE
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """Decoding of masked diffusion language models: joules, passes and accuracy by method, on the same questions.

    Example: ipw run diffusion --method greedy,threshold,local-leap,local-leap+dkv-decode --limit 200
    """
    return run_diffusion(**options)
