"""Measures decoding methods of one model over the same questions, each under a meter of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.runs.checks.record import ids_digest
from ipw.runs.checks.seal import seal
from ipw.runs.directory import RunDir
from ipw.runs.resume.resuming import process_facts
from ipw.workloads.base import NOBODY, Audience, labelled
from ipw.workloads.diffusion.methods import Method, methods_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import asked_of
from ipw.workloads.diffusion.settings import SCHEDULED, Settings, check_whole
from ipw.workloads.diffusion.subject import BUNDLED, Found, find, opened
from ipw.workloads.diffusion.turns import Part, Ready, take_turns
from ipw.workloads.lm.parameters import Parameters as Questions
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.scoring.answers import DEFERRED
from ipw.workloads.texts.identity import digest, questions_digest


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
    ready, settings = ready_for([parameters] * len(methods), methods, audience)
    series = {"id": secrets.token_hex(4), "levels": [], "repeat": repeat} if repeat > 1 else None
    runs: list[RunDir] = []
    failed: list[str] = []
    for repetition in range(repeat):
        mine = ready._replace(parameters=replace(parameters, repetition=repetition))
        begun = _begun(mine, methods, settings, idle_s, out, series, {"sensors_asked": sensors} | labelled(label))
        taken = take_turns(begun, mine, idle_s, audience)
        runs += taken.runs
        failed += taken.failed
        if taken.interrupted:
            return runs, failed, True
    failed += _all_failed(runs)
    return runs, failed, False


def ready_for(
    parameters: Sequence[Parameters], methods: Sequence[Method], audience: Audience = NOBODY
) -> tuple[Ready, list[Settings]]:
    """Read questions and model, and the settings of methods that differ in nothing else. Raises UsageError."""
    common = parameters[0]
    planned = _planned(common)
    found = find(
        common.model, common.mask_id, trust_remote_code=common.trust_remote_code, revision=common.revision
    )  # fmt: skip
    one_block = found.name == BUNDLED or found.shift
    settings = [own.settings(method, one_block=one_block) for own, method in zip(parameters, methods, strict=True)]
    for numbers in settings:
        check_whole(bool(found.own_code), numbers)
    subject = opened(found, dtype=common.dtype, device=common.device)
    if subject.tokenizer is None:
        raise UsageError(f"{found.folder} has no tokenizer, so no question can be asked", "copy tokenizer.json there")
    _tell(found, planned, methods, settings, common, audience)
    return Ready(common, planned, subject, asked_of(planned.dataset.questions, subject, common.seed)), settings


def _begun(
    ready: Ready, methods: Sequence[Method], settings: Sequence[Settings], idle_s: float, out: Path,
    series: Mapping[str, Any] | None, more: Mapping[str, Any],
) -> Iterator[Part]:  # fmt: skip
    """Begin a run for each method, when it is asked for."""
    turns = {"id": secrets.token_hex(8), "methods": [method.name for method in methods]}
    for method, numbers in zip(methods, settings, strict=True):
        facts = describe(ready.parameters, method, numbers, ready, idle_s, series)
        facts["workload"]["together"] = turns
        run = RunDir.create(out, f"{ready.subject.facts['name']}-{method.name}")
        yield Part(run, facts | dict(more) | process_facts(), method, numbers)


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
        f"{count:,} question{'s'[: count != 1]} of {dataset.name}, scorer {planned.scorer} ({planned.scorer_reason})",
        f"answers of {numbers.length} tokens in blocks of {numbers.block_length}, by {named}",
        *dataset.notes,
    ]
    if parameters.steps is not None and not any(method.sampler in SCHEDULED for method in methods):
        told.append("mind: --steps says nothing here: these methods take as many steps as they need")
    if parameters.trust_remote_code and not own:
        told.append("mind: --trust-remote-code says nothing here: no code of this model is needed, and none runs")
    for line in told:
        audience.say(line)


def describe(
    parameters: Parameters, method: Method, settings: Settings, ready: Ready, idle_s: float,
    series: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Say what is measured, for the manifest; a run is only ever resumed with the very same."""
    used = {
        "method": method.name, "answer_length": settings.length, "block_length": settings.block_length,
        "steps": settings.steps if method.sampler in SCHEDULED else None, "refresh": settings.refresh,
        "relaxed": settings.relaxed, "idle_s": idle_s,
    }  # fmt: skip
    given = parameters.as_dict() | used
    workload: dict[str, Any] = {"kind": "diffusion", "parameters": given, "digest": digest(given), "seal": seal(given)}
    workload |= {"held_against": method.held_against} if method.held_against else {}
    if series:
        workload["series"] = {**series, "id": f"{series['id']}-{method.name}", "repetition": parameters.repetition}
    planned = ready.planned
    dataset = planned.dataset
    return {
        "workload": workload,
        "model": ready.subject.facts,
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
