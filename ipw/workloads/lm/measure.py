"""Measures a language model: a server that answers, a meter around it, and what is known of both in the manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, OutageError
from ipw.metering.meter import Meter
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.checks.record import ids_digest
from ipw.runs.checks.seal import seal
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.runs.resume.resuming import process_facts
from ipw.secrets_out import blotted
from ipw.workloads.base import NOBODY, Audience, Book, Counters, Progress, labelled
from ipw.workloads.lm.conversation import said_before
from ipw.workloads.lm.length_fit import fitted, told
from ipw.workloads.lm.parameters import Parameters, latency_targets
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.run import Doing
from ipw.workloads.lm.run import run_lm as run_workload
from ipw.workloads.lm.scored_again import JUDGES, Judge, score_run, scored_later
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.servers.metrics import server_metrics
from ipw.workloads.lm.servers.processes import Found, server_processes
from ipw.workloads.lm.servers.whose import whose
from ipw.workloads.texts.identity import digest, questions_digest

SETTLED_S = 0.2
"""Until a server has counted the last answer that it sent."""


def measure_lm(
    parameters: Parameters,
    sensors: str,
    idle_s: float,
    out: Path,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[RunDir, bool]:
    """Serve the model and ask it everything; returns the run, and whether it was interrupted."""
    planned = plan(parameters)
    with serve(parameters) as endpoint:
        tell(planned, audience)
        return measure_served(endpoint, planned, sensors, idle_s, out, audience=audience, label=label)


def tell(planned: Plan, audience: Audience) -> None:
    """Say what will be asked, and how it is scored and why."""
    dataset = planned.dataset
    count = len(dataset.questions)
    asked = f"{count:,} question{'s'[: count != 1]} of {dataset.name}, scorer {planned.scorer}"
    for line in (f"{asked} ({planned.scorer_reason})", *dataset.notes):
        audience.say(line)


def measure_served(
    endpoint: Endpoint,
    planned: Plan,
    sensors: str,
    idle_s: float,
    out: Path,
    series: Mapping[str, Any] | None = None,
    audience: Audience = NOBODY,
    label: str | None = None,
) -> tuple[RunDir, bool]:
    """Ask a server that is ready everything; returns the run, and whether it was interrupted."""
    manifest = describe(endpoint, planned, idle_s, series) | {"sensors_asked": sensors} | process_facts()
    manifest |= labelled(label)
    planned, lengths = fitted(endpoint, planned)
    if lengths:
        manifest["fixed_lengths"] = lengths
        audience.say(told(lengths))
    run = RunDir.create(out, named(endpoint))
    return run, measure_into(run, manifest, endpoint, planned, audience=audience)


def measure_into(
    run: RunDir,
    manifest: Mapping[str, Any],
    endpoint: Endpoint,
    planned: Plan,
    finished: Collection[str] = frozenset(),
    owner: Owner | None = None,
    audience: Audience = NOBODY,
    doing: Callable[[Book], Doing] | None = None,
) -> bool:
    """Ask what is not `finished` and keep it in `run`, which `owner` has where somebody took it before.

    `doing` makes what is done with the questions of a task, by default asking them, from the run's journal.

    Returns whether it was interrupted.
    """
    idle_s = manifest["workload"]["parameters"]["idle_s"]
    said = said_before(run, finished, planned.dataset.questions)
    theirs = server_processes(endpoint.url.host, endpoint.url.port) if endpoint.place.local else Found()
    server = dict(manifest["server"]) | ({"processes_unseen": theirs.reason} if theirs.reason else {})
    manifest = {**manifest, "server": server}
    try:
        with (
            Meter(run, manifest, manifest["sensors_asked"], owner=owner, own=theirs.pids) as meter,
            ArrivalsFile(run, meter.journal) as arrivals,
            audience.show(named(endpoint), meter.live, estimated=meter.basis == "estimate") as shown,
            noted(meter, planned, shown, finished) as progress,
        ):
            server |= whose(endpoint.url.host, endpoint.place, meter.channels, planned.parameters.sensors_of)
            meter.note(server=server)
            if arrivals.cut_bytes:
                meter.note(arrivals={"cut_bytes": arrivals.cut_bytes})
            meter.idle("idle before", idle_s)
            with compared(meter, endpoint):
                book = meter.journal
                do = doing(book) if doing else None
                noting = partial(note_client, meter)
                run_workload(meter, book, endpoint, planned, progress, finished, arrivals, said, do, noting)
            if endpoint.ended and (why := endpoint.ended()):
                meter.note(server=server | {"ended": why.told})
            meter.idle("idle after", idle_s)
        score_later(run, planned)
    except KeyboardInterrupt:
        return True
    except OutageError as error:
        if not error.facts.get("finished"):
            raise  # there is nothing to show
    return False


def note_client(meter: Meter, facts: Mapping[str, Any]) -> None:
    """Note in the manifest how hard the processes that asked had to work, part by part of a run that was resumed."""
    meter.note(client=[*meter.run.manifest().get("client", []), facts])


@contextmanager
def noted(meter: Meter, planned: Plan, shown: Progress, finished: Collection[str]) -> Iterator[Progress]:
    """Note in the manifest how far the run came, and with what it lost its server, however it ends."""
    done, remedy = 0, None

    def progress(counters: Counters) -> None:
        nonlocal done, remedy
        done, remedy = counters.done, counters.remedy
        shown(counters)

    try:
        yield progress
    except OutageError as error:
        error.facts["finished"] = len(finished) + done
        meter.note(outage=error.facts)
        raise
    finally:
        found = {"remedy": remedy} if remedy else {}
        meter.note(progress={"finished": len(finished) + done, "of": len(planned.dataset.questions)} | found)


@contextmanager
def compared(meter: Meter, endpoint: Endpoint) -> Iterator[None]:
    """Note what the server tells of itself before and after, where it does."""
    before = server_metrics(endpoint)
    yield
    if before is None:
        return
    time.sleep(SETTLED_S)
    after = server_metrics(endpoint)
    if after is not None and after.engine == before.engine:
        told = {"engine": after.engine, "before": before.values, "after": after.values}
        meter.note(server_metrics=[*meter.run.manifest().get("server_metrics", []), told])


def score_later(run: RunDir, planned: Plan) -> None:
    """Score what could not be scored on the way, now that nothing is measured any more; why not is in the manifest."""
    parameters, judge = planned.parameters, None
    if parameters.judge_url and planned.scorer in JUDGES:
        judge = Judge(parameters.judge_url, parameters.judge_model)
    if judge is None and not scored_later(planned.scorer):
        return
    try:
        score_run(run, planned.scorer, judge)
    except IpwError as error:
        run.update_manifest(scoring_reason=f"{error.message}; ipw score RUN --scorer {planned.scorer}")


def named(endpoint: Endpoint) -> str:
    """Name the run after the model."""
    return str(endpoint.facts.get("name") or endpoint.model or "model")


def describe(
    endpoint: Endpoint, planned: Plan, idle_s: float, series: Mapping[str, Any] | None = None, kind: str = "lm"
) -> dict[str, Any]:
    """Say what is measured, for the manifest; a run is only ever resumed with the very same."""
    parameters = planned.parameters
    given = blotted(parameters.as_dict() | {"idle_s": idle_s})
    workload: dict[str, Any] = {"kind": kind, "parameters": given, "digest": digest(given), "seal": seal(given)}
    workload |= {"slo": latency_targets(parameters.slo)} if parameters.slo else {}
    workload |= {"series": dict(series)} if series else {}
    return {
        "workload": workload,
        "model": endpoint.facts,
        **({"turns": True} if any(question.conversation for question in planned.dataset.questions) else {}),
        "server": {"url": str(endpoint.url), "local": endpoint.place.local, "told_by": endpoint.place.how},
        "dataset": {
            "name": planned.dataset.name,
            "digest": planned.dataset.digest,
            "questions": len(planned.dataset.questions),
            "questions_digest": questions_digest(planned.dataset.questions),
            "ids_digest": ids_digest(question.id for question in planned.dataset.questions),
            "scorer": planned.scorer,
            "scorer_reason": planned.scorer_reason,
            "answer_is": planned.dataset.answer_is,
            "notes": list(planned.dataset.notes),
        },
    }
