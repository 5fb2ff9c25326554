"""`ipw run lm`: one model over one data set, once or as a series of runs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ipw.clock import boot_id
from ipw.errors import IpwError, OutageError
from ipw.metering.meter import Meter
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.checks.record import ids_digest
from ipw.runs.checks.seal import seal
from ipw.runs.directory import RunDir
from ipw.runs.outages import outage_error
from ipw.runs.owner import Owner
from ipw.secrets_out import blotted
from ipw.system import process_created_s
from ipw.verbs.conclude import conclude
from ipw.verbs.options import IDLE, JSON, OUT, SENSORS, STRICT, levels
from ipw.verbs.progress import Bar
from ipw.verbs.series import Series, begun_with, conclude_series, members
from ipw.verbs.terminal import console
from ipw.workloads.base import Counters, Progress
from ipw.workloads.lm.length_fit import fitted, told
from ipw.workloads.lm.parameters import Parameters, latency_targets
from ipw.workloads.lm.plan import Plan, plan
from ipw.workloads.lm.run import run_lm as run_workload
from ipw.workloads.lm.scoring.again import JUDGES, Judge, score_run, scored_later
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.servers.metrics import server_metrics
from ipw.workloads.lm.servers.processes import Found, server_processes
from ipw.workloads.texts.identity import digest, questions_digest

SETTLED_S = 0.2
"""Until a server has counted the last answer that it sent."""


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
    **options: Any,
) -> int:
    """Measure one model, derive, show."""
    parameters = Parameters(**options)
    if sweep or repeat > 1:
        measured = measure_series(parameters, sweep, repeat, sensors, idle_s, out, restart=restart)
        return conclude_series(measured, out, as_json=as_json, strict=strict)
    run, interrupted = measure_lm(parameters, sensors, idle_s, out)
    return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict)


def measure_lm(parameters: Parameters, sensors: str, idle_s: float, out: Path) -> tuple[RunDir, bool]:
    """Serve the model and ask it everything; returns the run, and whether it was interrupted."""
    planned = plan(parameters)
    with serve(parameters) as endpoint:
        tell(planned)
        return measure_served(endpoint, planned, sensors, idle_s, out)


def measure_series(
    parameters: Parameters, levels: Sequence[int], repeat: int, sensors: str, idle_s: float, out: Path, *, restart: bool
) -> Series:
    """Measure several runs of one model, on one server or, with `restart`, on a fresh one each.

    A lost server ends the series, unless the next run has one of its own. Raises IpwError where no run was measured.
    """
    found = members(parameters, levels, repeat)
    planned = plan(parameters)
    widest = max((member.parameters for member in found), key=lambda one: one.slots)
    runs: list[RunDir] = []
    try:
        while len(runs) < len(found):
            with serve(widest) as endpoint:
                if not runs:
                    tell(planned)
                for member in found[len(runs) : len(runs) + 1] if restart else found:
                    mine = planned._replace(parameters=member.parameters)
                    series = member.series | begun_with(runs)
                    run, interrupted = measure_served(endpoint, mine, sensors, idle_s, out, series)
                    runs.append(run)
                    if interrupted or (outage_error(run) and not restart):
                        return Series(runs, len(found), interrupted=interrupted)
    except IpwError as error:
        if not runs:
            raise
        return Series(runs, len(found), stopped=error)
    return Series(runs, len(found))


def tell(planned: Plan) -> None:
    """Say what will be asked, and how it is scored and why."""
    dataset, out = planned.dataset, console()
    count = len(dataset.questions)
    asked = f"{count:,} question{'s'[: count != 1]} of {dataset.name}, scored by {planned.scorer}"
    for line in (f"{asked}: {planned.scorer_reason}", *dataset.notes):
        out.print(line, markup=False, soft_wrap=True)


def measure_served(
    endpoint: Endpoint,
    planned: Plan,
    sensors: str,
    idle_s: float,
    out: Path,
    series: Mapping[str, Any] | None = None,
) -> tuple[RunDir, bool]:
    """Ask a server that is ready everything; returns the run, and whether it was interrupted."""
    manifest = describe(endpoint, planned, idle_s, series) | {"sensors_asked": sensors} | process_facts()
    planned, lengths = fitted(endpoint, planned)
    if lengths:
        manifest["fixed_lengths"] = lengths
        console().print(told(lengths), markup=False, soft_wrap=True)
    run = RunDir.create(out, label(endpoint))
    return run, measure_into(run, manifest, endpoint, planned)


def measure_into(
    run: RunDir,
    manifest: Mapping[str, Any],
    endpoint: Endpoint,
    planned: Plan,
    finished: Collection[str] = frozenset(),
    owner: Owner | None = None,
) -> bool:
    """Ask what is not `finished` and keep it in `run`, which `owner` has where somebody took it before.

    Returns whether it was interrupted.
    """
    idle_s = manifest["workload"]["parameters"]["idle_s"]
    theirs = server_processes(endpoint.url.host, endpoint.url.port) if endpoint.place.local else Found()
    server = dict(manifest["server"]) | ({"processes_unseen": theirs.reason} if theirs.reason else {})
    manifest = {**manifest, "server": server}
    try:
        with Meter(run, manifest, manifest["sensors_asked"], owner=owner, own=theirs.pids) as meter:
            bar = Bar(label(endpoint), meter.live, estimated=meter.basis == "estimate")
            with (
                ArrivalsFile(run, meter.journal) as arrivals,
                bar.shown(),
                noted(meter, planned, bar, finished) as progress,
            ):
                if arrivals.cut_bytes:
                    meter.note(arrivals={"cut_bytes": arrivals.cut_bytes})
                meter.idle("idle before", idle_s)
                with compared(meter, endpoint):
                    run_workload(meter, meter.journal, endpoint, planned, progress, finished, arrivals)
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


@contextmanager
def noted(meter: Meter, planned: Plan, bar: Bar, finished: Collection[str]) -> Iterator[Progress]:
    """Note in the manifest how far the run came, and with what it lost its server, however it ends."""
    done, remedy = 0, None

    def progress(counters: Counters) -> None:
        nonlocal done, remedy
        done, remedy = counters.done, counters.remedy
        bar(counters)

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


def label(endpoint: Endpoint) -> str:
    """Name the run after the model."""
    return str(endpoint.facts.get("name") or endpoint.model or "model")


def describe(
    endpoint: Endpoint, planned: Plan, idle_s: float, series: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Say what is measured, for the manifest; a run is only ever resumed with the very same."""
    parameters = planned.parameters
    given = blotted(parameters.as_dict() | {"idle_s": idle_s})
    workload: dict[str, Any] = {"kind": "lm", "parameters": given, "digest": digest(given), "seal": seal(given)}
    workload |= {"slo": latency_targets(parameters.slo)} if parameters.slo else {}
    workload |= {"series": dict(series)} if series else {}
    return {
        "workload": workload,
        "model": endpoint.facts,
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


def process_facts() -> dict[str, Any]:
    """Which process measures, so that no other takes the run for one that has ended."""
    return {"process": {"pid": os.getpid(), "created_s": process_created_s(os.getpid()), "boot_id": boot_id()}}


@click.command("lm")
@click.option("--model", help="A served model's name, a GGUF file, a model's folder, or the bundled 'dense' or 'moe'.")
@click.option(
    "--engine",
    type=click.Choice(["openai", "llamacpp", "transformers"]),
    help="Default: told from --model, --base-url and --serve.",
)
@click.option("--base-url", help="An OpenAI-compatible server (or OPENAI_BASE_URL).")
@click.option("--serve", help="Start a server for the run: 'CMD … {port}'.")
@click.option("--serve-timeout", "serve_timeout_s", type=click.FloatRange(0.1), default=600.0, show_default=True)
@click.option("--server-here", is_flag=True, help="The server is on this machine, whatever its address looks like.")
@click.option("--api", type=click.Choice(["chat", "completions"]), default="chat", show_default=True)
@click.option(
    "--dataset",
    default="bundled",
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
@click.option("--limit", type=click.IntRange(1), help="Ask only so many questions.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="Requests in flight; default 1.")
@click.option("--rate", type=click.FloatRange(0.001), help="Send so many requests a second, and wait for no answer.")
@click.option("--arrival", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True)
@click.option("--sweep", callback=levels, help="A run for each number of requests in flight: 1,2,4,8.")
@click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each kind.")
@click.option("--restart", is_flag=True, help="Start the model's server anew for every run.")
@click.option("--slo", help="Latency that a good answer keeps to: ttft=500ms,itl=50ms,e2e=10s.")
@click.option("--warmup", type=click.IntRange(0), default=8, show_default=True, help="Requests before measuring.")
@click.option("--retries", type=click.IntRange(0, 10), default=0, show_default=True, help="After the measured window.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.001), default=300.0, show_default=True)
@click.option(
    "--stall-timeout",
    "stall_s",
    type=click.FloatRange(0.001),
    default=120.0,
    show_default=True,
    help="Without a byte, in the middle of an answer.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option(
    "--max-failed",
    "max_failed_percent",
    type=click.FloatRange(0, 100),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="Of the questions: where more fail, stay empty or are cut, the run is not valid.",
)
@click.option("--temperature", type=click.FloatRange(0, 5), default=0.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), help="Of the transformers engine; default: as --concurrency.")
@click.option("--dtype", default="auto", show_default=True, help="Of the transformers engine: bfloat16, float32, …")
@click.option("--device", default="auto", show_default=True, help="Of the transformers engine: cpu, cuda:1, mps.")
@SENSORS
@IDLE
@OUT
@JSON
@STRICT
def command(**options: Any) -> int:
    """A language model over a data set: accuracy, joules, watts, latency.

    Examples: ipw run lm --model dense    ipw run lm --base-url http://localhost:8080 --model NAME --dataset q.jsonl
    """
    return run_lm(**options)
