"""`ipw resume RUN`: ask what was not asked yet, of the same model and in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.metrics.metric import number
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.runs.resume.reopen import prepare, restored_on_error
from ipw.runs.resume.resuming import NEW_RUN, asked_now, check_ended, check_same, close, continued, settled
from ipw.secrets_out import BLOT
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.methods import resume_methods
from ipw.verbs.common.options import JSON, OTLP, STRICT
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.terminal import console
from ipw.verbs.common.trust import check_trusted
from ipw.workloads.agents.loop.measure import describe_agent, measure_agent_into, with_model
from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.agents.loop.plan import plan_agent
from ipw.workloads.lm.length_fit import fitted
from ipw.workloads.lm.measure import describe, measure_into
from ipw.workloads.lm.parameters import Parameters, from_manifest
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.servers.engines import serve as served
from ipw.workloads.texts.identity import digest

PARAMETERS: Mapping[str, type[Parameters]] = {"lm": Parameters, "agent": AgentParameters}


def resume(
    *,
    run: Path,
    as_json: bool,
    strict: bool,
    retry_failed: str = "transport",
    base_url: str | None = None,
    serve: str | None = None,
    yes: bool = False,
    otlp: str | None = None,
) -> int:
    """Finish a run that was cut short. Raises UsageError and IpwError where it cannot go on as it began.

    `base_url` or `serve` take the place of the server that the run says; `yes` agrees to what it says.
    """
    if base_url and serve:
        raise UsageError("--base-url and --serve are both given", "give the one that the run shall go on with")
    opened = RunDir.open(run)
    if (opened.manifest().get("workload") or {}).get("kind") == "diffusion":
        if given_server := [name for name, value in (("--base-url", base_url), ("--serve", serve)) if value]:
            raise UsageError(f"{run} asked no server", f"leave {given_server[0]} out")
        return resume_methods(run, retry_failed, yes=yes, as_json=as_json, strict=strict, otlp=otlp)
    parameters, idle_s = stored_parameters(opened.manifest(), run)
    given = base_url is not None or serve is not None
    check_trusted(run, opened.manifest()["workload"], given=given, yes=yes)
    if not given:
        check_no_secret(parameters, run)
    else:
        parameters = replace(parameters, base_url=base_url, serve=serve)
    with Owner(opened.path, "resumed") as owner:
        interrupted = _finish(opened, run, owner, retry_failed, parameters, idle_s)
    return conclude(opened, interrupted=interrupted, as_json=as_json, strict=strict, otlp=otlp)


def _finish(opened: RunDir, run: Path, owner: Owner, retry_failed: str, parameters: Parameters, idle_s: float) -> bool:
    """Ask what was not asked yet; returns whether that was interrupted."""
    manifest = opened.manifest()
    check_ended(manifest, run)
    tasks = plan_agent(parameters) if isinstance(parameters, AgentParameters) else None
    planned = tasks.lm if tasks else plan(parameters)
    finished = settled(opened, retry_failed) & {question.id for question in planned.dataset.questions}
    if all(question.id in finished for question in planned.dataset.questions):
        close(opened, run)
        return False
    console().print(asked_now(opened, len(planned.dataset.questions), finished), markup=False, soft_wrap=True)
    with served(with_model(parameters) if isinstance(parameters, AgentParameters) else parameters) as endpoint:
        now = describe_agent(endpoint, tasks, idle_s) if tasks else describe(endpoint, planned, idle_s)
        check_same(manifest, now, run)
        planned, _ = fitted(endpoint, planned)
        with restored_on_error(opened):
            prepare(opened)
            if tasks:
                return measure_agent_into(opened, continued(manifest, now), endpoint, tasks, finished, owner, TERMINAL)
            return measure_into(opened, continued(manifest, now), endpoint, planned, finished, owner, TERMINAL)


def stored_parameters(manifest: Mapping[str, Any], run: Path) -> tuple[Parameters, float]:
    """Read the options with which the run began, and its seconds of idle. Raises UsageError."""
    workload = manifest.get("workload")
    kind = workload.get("kind") if isinstance(workload, dict) else None
    known = PARAMETERS.get(str(kind))
    if known is None or not isinstance(workload, dict):
        raise UsageError(
            f"{run} holds the workload {kind!r}; only language-model runs, agents and decoding methods can be resumed",
            "ipw run --help",
        )
    stored = workload.get("parameters") or {}
    if stored.get("by") == "gateway":
        raise UsageError(f"{run} holds what a program asked, which cannot be asked again", "ipw gateway -- CMD")
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
@click.option("--yes", is_flag=True, help="Agree to start and ask what the run says, although somebody else began it.")
@OTLP
@JSON
@STRICT
def command(**options: Any) -> int:
    """Finish an interrupted run of a model or an agent: ask what is open, and what failed on its way.

    For a run of `ipw run diffusion`, the unfinished methods that took turns with it continue too.
    """
    return resume(**options)
