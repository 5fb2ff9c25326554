"""Goes on with runs of decoding methods that were cut short: those that took turns go on together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.metrics.metric import number
from ipw.runs.checks.survey import recorded
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.owner import Owner
from ipw.runs.resume.reopen import prepare, restored_on_error
from ipw.runs.resume.resuming import NEW_RUN, asked_now, check_ended, check_same, close, continued, settled
from ipw.shapes import misfit, shape_of
from ipw.workloads.base import Audience
from ipw.workloads.diffusion.measure import describe, ready_for
from ipw.workloads.diffusion.methods import method_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.turns import Part, Taken, take_turns
from ipw.workloads.texts.identity import digest

KIND = "diffusion"


def together(run: RunDir) -> list[RunDir]:
    """Find the runs that took turns with this one, itself among them, in the order in which they began."""
    told = _methods_of_call(run.manifest())
    if told is None:
        return [run]
    found = {}
    for path in sorted(run.path.parent.iterdir()):
        other = RunDir(path)
        if (path / "manifest.json").is_file() and (their := _readable(other)) and _methods_of_call(their) == told:
            found[their["workload"]["parameters"].get("method")] = other
    return [found[name] for name in told["methods"] if name in found] or [run]


def resume_diffusion(run: RunDir, retry_failed: str, audience: Audience) -> Taken:
    """Ask what was not asked yet, by every method that took turns with this one and is not finished.

    Raises UsageError and IpwError where a run cannot go on as it began.
    """
    began = together(run)
    stored = {each.path.name: stored_parameters(each) for each in began}
    for each in began:
        check_ended(each.manifest(), each.path)
    methods = [method_of(parameters.method) for parameters, _ in stored.values()]
    _, idle_s = stored[run.path.name]
    ready, settings = ready_for([one for one, _ in stored.values()], methods)
    ids = {question.id for question in ready.planned.dataset.questions}
    finished = {each.path.name: settled(each, retry_failed) & ids for each in began}
    still = [each for each in began if finished[each.path.name] != ids]
    for each in began:
        if each not in still and (not still or each.manifest()["status"] != "complete"):
            close(each, each.path)
    if not still:
        return Taken(began, [], interrupted=False)
    with ExitStack() as stack:
        parts = []
        for each, method, numbers in zip(began, methods, settings, strict=True):
            if each not in still:
                continue
            manifest, own = each.manifest(), stored[each.path.name][0]
            now = describe(own, method, numbers, ready, idle_s)
            check_same(manifest, now, each.path)
            audience.say(f"{method.name}: {asked_now(each, len(ids), finished[each.path.name])}")
            owner = stack.enter_context(Owner(each.path, "resumed"))
            stack.enter_context(restored_on_error(each))
            parts.append(Part(each, continued(manifest, now), method, numbers, finished[each.path.name], owner))
        for part in parts:
            prepare(part.run)
        taken = take_turns(parts, ready, idle_s, audience, _texts(began))
    _agree(began)
    return Taken(began, taken.failed, taken.interrupted)


def stored_parameters(run: RunDir) -> tuple[Parameters, float]:
    """Read the options with which the run began, and its seconds of idle. Raises UsageError."""
    workload = run.manifest()["workload"]
    stored = workload.get("parameters") or {}
    if workload.get("digest") != digest(stored):
        raise UsageError(f"the parameters of {run.path} are not those that it began with", NEW_RUN)
    names = {field.name for field in fields(Parameters)}
    if set(stored) - {"idle_s"} - names or number(stored.get("idle_s")) is None or misfit(stored, shape_of(Parameters)):
        raise UsageError(f"{run.path} was begun by another version of ipw, with other options", NEW_RUN)
    return Parameters(**{name: stored[name] for name in stored if name in names}), float(stored["idle_s"])


def _agree(runs: list[RunDir]) -> None:
    """Note of what was answered before the method that it is held against whether both agree."""
    texts = _texts(runs)
    for run in runs:
        workload = run.manifest()["workload"]
        mine, theirs = texts[workload["parameters"]["method"]], texts.get(workload.get("held_against") or "", {})
        told = {str(record["query_id"]) for record in run.journal("agreement")}
        told |= {str(record["query_id"]) for record in run.journal("query") if record.get("agrees") is not None}
        if not (late := [name for name in mine if name in theirs and name not in told]):
            continue
        with Owner(run.path, "resumed"), Journal(run) as journal:
            for name in late:
                journal.append("agreement", {"query_id": name, "agrees": mine[name] == theirs[name]})
        left = run.manifest().get("recorded") or {}
        run.update_manifest(recorded=left | {"journal": recorded(run, None)["journal"]})


def _texts(runs: list[RunDir]) -> dict[str, dict[str, str]]:
    """What each method answered so far, by question."""
    return {
        str(run.manifest()["workload"]["parameters"]["method"]): {
            str(record["query_id"]): str(record["response"])
            for record in counted(run)
            if record.get("status") == "ok" and record.get("response") is not None
        }
        for run in runs
    }


def _methods_of_call(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    workload = manifest.get("workload") or {}
    told = workload.get("together") if workload.get("kind") == KIND else None
    return told if isinstance(told, dict) and isinstance(told.get("methods"), list) else None


def _readable(run: RunDir) -> dict[str, Any] | None:
    """Its manifest; nothing where a neighbour's cannot be read, which is no matter here."""
    try:
        return run.manifest()
    except IpwError:
        return None
