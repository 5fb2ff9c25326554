"""`ipw resume RUN`: ask what was not asked yet, of the same model and in the same way."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from ipw.clock import boot_id
from ipw.errors import IpwError, UsageError
from ipw.metrics.metric import number
from ipw.runs.checks.survey import recorded
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.runs.reopen import mark, prepare, restored_on_error
from ipw.runs.tries import counted
from ipw.secrets_out import BLOT
from ipw.system import command_line, process_created_s
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.options import JSON, STRICT
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import console
from ipw.verbs.common.trust import check_trusted
from ipw.workloads.agents.loop.measure import describe_agent, measure_agent_into, with_model
from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.agents.loop.plan import plan_agent
from ipw.workloads.lm.length_fit import fitted
from ipw.workloads.lm.measure import describe, measure_into, process_facts
from ipw.workloads.lm.parameters import Parameters, from_manifest
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.servers.engines import serve as served
from ipw.workloads.texts.identity import digest

PARAMETERS: Mapping[str, type[Parameters]] = {"lm": Parameters, "agent": AgentParameters}
NEW_RUN = "start a new run: what had finished stays in the old one"


def resume(
    *,
    run: Path,
    as_json: bool,
    strict: bool,
    retry_failed: str = "transport",
    base_url: str | None = None,
    serve: str | None = None,
    yes: bool = False,
) -> int:
    """Finish a run that was cut short. Raises UsageError and IpwError where it cannot go on as it began.

    `base_url` or `serve` take the place of the server that the run says; `yes` agrees to what it says.
    """
    if base_url and serve:
        raise UsageError("--base-url and --serve are both given", "give the one that the run shall go on with")
    opened = RunDir.open(run)
    parameters, idle_s = stored_parameters(opened.manifest(), run)
    given = base_url is not None or serve is not None
    check_trusted(run, opened.manifest()["workload"], given=given, yes=yes)
    if not given:
        check_no_secret(parameters, run)
    else:
        parameters = replace(parameters, base_url=base_url, serve=serve)
    with Owner(opened.path, "resumed") as owner:
        interrupted = _finish(opened, run, owner, retry_failed, parameters, idle_s)
    return conclude(opened, interrupted=interrupted, as_json=as_json, strict=strict)


def _finish(opened: RunDir, run: Path, owner: Owner, retry_failed: str, parameters: Parameters, idle_s: float) -> bool:
    """Ask what was not asked yet; returns whether that was interrupted."""
    manifest = opened.manifest()
    _check_ended(manifest, run)
    tasks = plan_agent(parameters) if isinstance(parameters, AgentParameters) else None
    planned = tasks.lm if tasks else plan(parameters)
    finished = settled(opened, retry_failed) & {question.id for question in planned.dataset.questions}
    if all(question.id in finished for question in planned.dataset.questions):
        if manifest["status"] == "complete":
            failed = sum(record.get("status") != "ok" for record in counted(opened))
            again = f"ipw resume {shlex.quote(str(run))} --retry-failed all, since {failed} questions failed"
            raise UsageError(f"{run} is complete: nothing is left to ask", again if failed else f"ipw report {run}")
        mark(opened)
        opened.update_manifest(status="complete", recorded=recorded(opened, None))
        return False
    console().print(_asked(opened, len(planned.dataset.questions), finished), markup=False, soft_wrap=True)
    with served(with_model(parameters) if isinstance(parameters, AgentParameters) else parameters) as endpoint:
        now = describe_agent(endpoint, tasks, idle_s) if tasks else describe(endpoint, planned, idle_s)
        _check_same(manifest, now, run)
        planned, _ = fitted(endpoint, planned)
        with restored_on_error(opened):
            prepare(opened)
            if tasks:
                return measure_agent_into(opened, _continued(manifest, now), endpoint, tasks, finished, owner, TERMINAL)
            return measure_into(opened, _continued(manifest, now), endpoint, planned, finished, owner, TERMINAL)


def _asked(run: RunDir, questions: int, finished: Collection[str]) -> str:
    """Say what is asked now."""
    left = questions - len(finished)
    failed = len({_question_of(record) for record in run.journal("query")} - set(finished))
    again = f", {failed:,} of them again, since they failed" if failed else ""
    return f"{len(finished):,} of {questions:,} questions are done: {left:,} are asked{again}"


def settled(run: RunDir, retry_failed: str) -> set[str]:
    """Find the ids of the questions that are not asked (again): what was answered, and what shall stay failed."""
    found: set[str] = set()
    answered: set[str] = set()
    for record in run.journal("query"):
        if record.get("final") is False:
            continue  # of a task that went on
        name = _question_of(record)
        if record.get("status") == "ok":
            answered.add(name)
        # Of earlier versions, records do not say how they failed: asking again costs time, and no truth.
        elif retry_failed == "all" or (retry_failed == "transport" and record.get("failure", "transport") != "answer"):
            found.discard(name)
        else:
            found.add(name)
    return found | answered


def _question_of(record: Mapping[str, Any]) -> str:
    """Name the question of a request: of a task, each request has a name of its own."""
    return str(record.get("question_id", record.get("query_id")))


def stored_parameters(manifest: Mapping[str, Any], run: Path) -> tuple[Parameters, float]:
    """Read the options with which the run began, and its seconds of idle. Raises UsageError."""
    workload = manifest.get("workload")
    kind = workload.get("kind") if isinstance(workload, dict) else None
    known = PARAMETERS.get(str(kind))
    if known is None or not isinstance(workload, dict):
        raise UsageError(
            f"{run} holds the workload {kind!r}; only language-model runs and agents can be resumed",
            "ipw run --help",
        )
    stored = workload.get("parameters") or {}
    if workload.get("digest") != digest(stored):
        raise UsageError(f"the parameters of {run} are not those that it began with", NEW_RUN)
    if set(stored) - {"idle_s"} - {field.name for field in fields(known)} or number(stored.get("idle_s")) is None:
        raise UsageError(f"{run} was begun by another version of ipw, with other options", NEW_RUN)
    return from_manifest(manifest, run, known), float(stored["idle_s"])


def check_no_secret(parameters: Parameters, run: Path) -> None:
    """Raise UsageError where a secret was left out of the command that starts the server."""
    if BLOT in (parameters.serve or ""):
        told = f"the command that started the server of {run} held a secret, which was not stored"
        raise UsageError(told, "give it again with --serve, or the server with --base-url")


def _check_ended(manifest: Mapping[str, Any], run: Path) -> None:
    """Raise where the run still goes on, or its clock does not."""
    process = manifest.get("process") or {}
    if process.get("boot_id") != boot_id():
        raise IpwError(
            f"the machine was started anew since {run}: its clock began again, and both parts have no common time",
            NEW_RUN,
        )
    if _going_on(process) and manifest["status"] == "running":
        raise UsageError(f"{run} still goes on, as process {process['pid']}", "wait for its end, or end it")


def _going_on(process: Mapping[str, Any]) -> bool:
    """Whether the process that began a run is there still; another may have its number by now."""
    pid, began_s = process.get("pid"), process.get("created_s")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    created_s = process_created_s(pid)
    if created_s is None or not isinstance(began_s, int | float):  # the system does not tell: what runs there does
        return any("ipw" in word for word in command_line(pid))
    return abs(created_s - began_s) < 1


def _check_same(began: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> None:
    """Raise where model, data set or scorer are not those that the run began with."""
    for part, names in (("model", None), ("tools", None), ("dataset", ("digest", "questions_digest", "scorer"))):
        was, are = began.get(part, {}), now.get(part, {})
        different = [name for name in names or sorted(was.keys() & are.keys()) if was.get(name) != are.get(name)]
        if different:
            name = different[0]
            said = f"its {name.replace('_', ' ')} was {was.get(name)}, and is {are.get(name)}"
            raise UsageError(f"the {part} is not the one that {run} began with: {said}", NEW_RUN)


def _continued(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the next part, which remembers how the one before ended."""
    of_the_part = ("status_reason", "ended_ns", "sampler", "outage", "progress")
    ended = {name: manifest[name] for name in ("status", *of_the_part) if name in manifest}
    derived = ("attribution", "attribution_reason", *of_the_part)
    kept = {name: value for name, value in manifest.items() if name not in derived}
    if "ended" in kept["server"]:
        ended["server"] = kept["server"]
        kept["server"] = {name: value for name, value in kept["server"].items() if name != "ended"}
    kept["workload"] = kept["workload"] | now["workload"]
    kept["server"] = kept["server"] | now["server"]
    return kept | {"resumed": [*manifest.get("resumed", []), ended]} | process_facts()


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--retry-failed",
    type=click.Choice(["transport", "all", "none"]),
    default="transport",
    show_default=True,
    help="Failed questions to ask again: those that failed on their way or by the server's fault, all, or none.",
)
@click.option("--base-url", help="Where the server is now, in place of what the run says.")
@click.option("--serve", help="Start a server in place of what the run says: 'CMD … {port}'.")
@click.option("--yes", is_flag=True, help="Start and ask what a run says that somebody else began.")
@JSON
@STRICT
def command(**options: Any) -> int:
    """Finish a run of a language model or an agent that was cut short: ask what is open, and what failed on its way."""
    return resume(**options)
