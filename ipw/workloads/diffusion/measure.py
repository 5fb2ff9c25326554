"""Measures decoding methods of one model over the same questions, each under a meter of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.metering.meter import Meter
from ipw.runs.checks.record import ids_digest
from ipw.runs.directory import RunDir
from ipw.workloads.base import NOBODY, Audience, labelled
from ipw.workloads.diffusion.methods import Method, methods_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import Arm, Asked, asked_of
from ipw.workloads.diffusion.run import run_diffusion as run_workload
from ipw.workloads.diffusion.settings import SCHEDULED, Settings, check_whole
from ipw.workloads.diffusion.subject import BUNDLED, Found, Subject, find, opened
from ipw.workloads.lm.parameters import Parameters as Questions
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.scoring.answers import DEFERRED
from ipw.workloads.terminable import terminable
from ipw.workloads.texts.identity import digest, questions_digest
from ipw.workloads.training.resonance import periods


def diffusion_parameters(*, method: str, **options: Any) -> tuple[Parameters, tuple[Method, ...]]:
    """Read the options of the command line. Raises UsageError."""
    for name, least in (("batch_size", 1), ("warmup", 0)):
        if options.get(name, least) < least:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} must be {least} or more", f"{option} {max(least, 1)}")
    return Parameters(method=method, **options), methods_of(method)


def measure_diffusion(
    parameters: Parameters,
    methods: Sequence[Method],
    sensors: str,
    idle_s: float,
    out: Path,
    *,
    repeat: int = 1,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[list[RunDir], list[str], bool]:
    """Measure; returns a run for each method and repetition, what failed in words, and whether it was interrupted."""
    planned = _planned(parameters)
    found = find(
        parameters.model, parameters.mask_id,
        trust_remote_code=parameters.trust_remote_code, revision=parameters.revision,
    )  # fmt: skip
    one_block = found.name == BUNDLED or found.shift
    settings = [parameters.settings(method, one_block=one_block) for method in methods]
    for numbers in settings:
        check_whole(bool(found.own_code), numbers)
    subject = opened(found, dtype=parameters.dtype, device=parameters.device)
    if subject.tokenizer is None:
        raise UsageError(f"{found.folder} has no tokenizer, so no question can be asked", "copy tokenizer.json there")
    _tell(found, planned, methods, settings, parameters, audience)
    asked = asked_of(planned.dataset.questions, subject, parameters.seed)
    series = {"id": secrets.token_hex(4), "levels": [], "repeat": repeat} if repeat > 1 else None
    runs: list[RunDir] = []
    failed: list[str] = []
    for repetition in range(repeat):
        mine = replace(parameters, repetition=repetition)
        arms, interrupted = _round(
            mine, methods, settings, subject, planned, asked, sensors, idle_s, out, runs, series, audience, label
        )
        failed += [f"{arm.method.name}: {arm.failed}" for arm in arms if arm.failed]
        if interrupted:
            return runs, failed, True
    failed += _all_failed(runs)
    return runs, failed, False


def _round(
    parameters: Parameters, methods: Sequence[Method], settings: Sequence[Settings], subject: Subject, planned: Plan,
    asked: Sequence[Asked], sensors: str, idle_s: float, out: Path, runs: list[RunDir],
    series: Mapping[str, Any] | None, audience: Audience, label: str | None,
) -> tuple[list[Arm], bool]:  # fmt: skip
    """Measure every method once, each with a meter of its own; returns the methods, and whether it was interrupted."""
    arms: list[Arm] = []
    try:
        with ExitStack() as stack:
            meters = []
            for method, numbers in zip(methods, settings, strict=True):
                facts = _describe(parameters, method, numbers, subject, planned, idle_s, series)
                run = RunDir.create(out, f"{subject.facts['name']}-{method.name}")
                meter = stack.enter_context(Meter(run, facts | {"sensors_asked": sensors} | labelled(label), sensors))
                runs.append(run)
                meters.append(meter)
                arms.append(Arm(method, numbers, meter, meter.journal))
            name, estimated = str(subject.facts["name"]), meters[0].basis == "estimate"
            with audience.show(name, meters[0].live, estimated=estimated) as progress, terminable():
                _idle(meters, "idle before", idle_s)
                run_workload(
                    arms, subject, asked, planned.scorer, progress, batch_size=parameters.batch_size,
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


def _tell(
    found: Found, planned: Plan, methods: Sequence[Method], settings: Sequence[Settings], parameters: Parameters,
    audience: Audience,
) -> None:  # fmt: skip
    """Say what will be asked and how; and what was given in vain."""
    dataset, numbers = planned.dataset, settings[0]
    count = len(dataset.questions)
    named = ", ".join(method.name for method in methods)
    own = found.own_code
    told = (
        [f"mind: code that comes with {found.name} runs here: {own['digest']} ({', '.join(own['files'])})"]
        if own
        else []
    )
    told += [
        f"{count:,} question{'s'[: count != 1]} of {dataset.name}, scored by {planned.scorer}: {planned.scorer_reason}",
        f"answers of {numbers.length} tokens in blocks of {numbers.block_length}, by {named}",
        *dataset.notes,
    ]
    if parameters.steps is not None and not any(method.sampler in SCHEDULED for method in methods):
        told.append("mind: --steps says nothing here: these methods take as many steps as they need")
    if parameters.trust_remote_code and not own:
        told.append("mind: --trust-remote-code says nothing here: no code of this model is needed, and none runs")
    for line in told:
        audience.say(line)


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
