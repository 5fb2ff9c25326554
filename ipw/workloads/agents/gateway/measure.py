"""Measures whatever speaks to a model through the gateway: server up, sensors on, command run, all kept."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ipw.errors import MissingExtraError, UsageError
from ipw.metering.meter import Meter
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.directory import RunDir
from ipw.runs.resume.resuming import process_facts
from ipw.secrets_out import command_secrets, command_without_secrets, keep_out
from ipw.variables import GATEWAY_TOKEN, OPENAI_KEY, OPENAI_URL
from ipw.workloads.agents.asked import UNNAMED
from ipw.workloads.agents.gateway.command import addresses, base_url, check_command, kept
from ipw.workloads.agents.gateway.event_loop import served
from ipw.workloads.agents.gateway.names import TaskFile, tasks_by_words
from ipw.workloads.agents.gateway.recorder import Recorder
from ipw.workloads.agents.scores import read_scores
from ipw.workloads.agents.task_scores import ANSWERS_UNSCORED, TASKS_SCORED, write_task_scores
from ipw.workloads.base import NOBODY, Audience, Progress, labelled
from ipw.workloads.lm.http.url import server_url
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers.endpoint import Endpoint, api_key
from ipw.workloads.lm.servers.engines import serve
from ipw.workloads.lm.servers.place import place
from ipw.workloads.lm.servers.processes import Found, server_processes
from ipw.workloads.lm.servers.served import started
from ipw.workloads.lm.servers.whose import whose

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Addresses that nobody can be reached at, and where this machine reaches what listens there."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayParameters:
    """The options of `ipw gateway`."""

    command: tuple[str, ...] = ()
    """Without one the gateway serves until it is stopped."""
    base_url: str | None = None
    serve: str | None = None
    serve_timeout_s: float = 600.0
    server_here: bool = False
    sensors_of: str | None = None
    """The host whose sensors are read, which is the server's: by its name, or by that of the sensors."""
    model: str | None = None
    """A GGUF file, a model's folder or a bundled model, which is served for the run."""
    slots: int = 4
    """Requests that a server started from a model works on at once."""
    context_tokens: int = 8192
    """Of it, for each request."""
    host: str = "127.0.0.1"
    port: int = 0
    tasks: str | None = None
    """A file that names tasks by what their first message says."""
    scores: str | None = None
    """A file of scores of tasks, read when the command has ended."""


def measure_gateway(
    parameters: GatewayParameters,
    sensors: str,
    idle_s: float,
    out: Path,
    audience: Audience = NOBODY,
    *,
    quiet: bool,
    label: str | None = None,
) -> tuple[RunDir, int | None]:
    """Measure; returns the run and the command's exit code, `None` without a command.

    Raises UsageError and IpwError, before anything is started where that can be.
    """
    if find_spec("aiohttp") is None:
        raise MissingExtraError("the gateway", "gateway")
    from ipw.workloads.agents.gateway.listener import Door

    token = os.environ.get(GATEWAY_TOKEN, "").strip() or None
    door = Door(host=parameters.host, port=parameters.port, token=token, key=api_key() if token else None)
    door.check()
    if parameters.command:
        check_command(parameters.command)
        keep_out(command_secrets(parameters.command))
    by_words = tasks_by_words(Path(parameters.tasks)) if parameters.tasks else {}
    keep_out([token] if token else [])
    shows = NOBODY if parameters.command else audience  # the terminal is the command's
    with endpoint_of(parameters) as endpoint:
        run = RunDir.create(out, _label(parameters, endpoint))
        theirs = server_processes(endpoint.url.host, endpoint.url.port) if endpoint.place.local else Found()
        manifest = describe(parameters, endpoint, idle_s) | {"sensors_asked": sensors} | process_facts()
        manifest |= labelled(label)
        with (
            tempfile.TemporaryDirectory(prefix="ipw-") as folder,
            Meter(run, manifest, sensors, own=theirs.pids) as meter,
            ArrivalsFile(run, meter.journal) as arrivals,
            shows.show(_label(parameters, endpoint), meter.live, estimated=meter.basis == "estimate") as shown,
        ):
            manifest["server"] |= whose(endpoint.url.host, endpoint.place, meter.channels, parameters.sensors_of)
            meter.note(server=manifest["server"])
            task_file = Path(folder) / "task"
            task_file.touch()
            recorder = Recorder(meter.journal, arrivals, _open_ended(shown), TaskFile(task_file), by_words)
            meter.idle("idle before", idle_s)
            try:
                with meter.span("measure", "measure"):
                    code = served(_served(parameters, endpoint, door, recorder, task_file, audience, quiet=quiet))
            finally:
                meter.note(**_after(recorder, endpoint, manifest))
            meter.idle("idle after", idle_s)
            if code is not None:
                meter.note(exit_code=code)
            if recorder.lost is not None:
                raise recorder.lost
    if parameters.scores:
        take_scores(run, Path(parameters.scores), audience)
    return run, code


async def _served(
    parameters: GatewayParameters,
    endpoint: Endpoint,
    door: Any,
    recorder: Recorder,
    task_file: Path,
    audience: Audience,
    *,
    quiet: bool,
) -> int | None:
    from ipw.workloads.agents.gateway.listener import listening

    loop = asyncio.get_running_loop()
    async with listening(door, endpoint.url, recorder) as (host, port):
        reached = EVERYWHERE.get(host, host)
        address = f"[{reached}]:{port}" if ":" in reached else f"{reached}:{port}"
        if not parameters.command:
            stopped = asyncio.Event()
            for number in SIGNALS:
                loop.add_signal_handler(number, stopped.set)
            audience.say(f"gateway: {base_url(address, endpoint.url.path)} (Ctrl-C ends the run)")
            await stopped.wait()
            return None
        variables = addresses(address, endpoint.url.path, task_file, os.environ, keyless=endpoint.place.local)
        if door.token:
            variables[OPENAI_KEY] = door.token
        with kept(parameters.command, variables, quiet=quiet) as keeper:
            for number in SIGNALS:
                loop.add_signal_handler(number, _forward, keeper.send_signal, number)
            code = await loop.run_in_executor(None, keeper.wait)
            return code if code >= 0 else 128 - code


def _forward(send: Any, number: int) -> None:
    """Let the command end in its own time; a terminal's Ctrl-C has reached it already."""
    if not (number == signal.SIGINT and os.isatty(0)):
        send(number)


@contextmanager
def endpoint_of(parameters: GatewayParameters) -> Iterator[Endpoint]:
    """Bring the server up, or take the one that is there. Raises UsageError where none is named."""
    given = parameters.base_url or (None if parameters.serve or parameters.model else os.environ.get(OPENAI_URL))
    if parameters.model and not given and not parameters.serve:
        wanted = Parameters(
            model=parameters.model, concurrency=parameters.slots, context_tokens=parameters.context_tokens
        )
        with serve(wanted) as endpoint:
            yield endpoint
    elif parameters.serve:
        with started(parameters.serve, parameters.base_url, parameters.serve_timeout_s, api_key()) as served:
            facts = {"name": parameters.model or UNNAMED}
            yield Endpoint(served.url, parameters.model, facts, pid=served.pid, ended=served.ended)
    elif given:
        url = server_url(given)
        where = place(url.host, here=parameters.server_here)
        yield Endpoint(url, parameters.model, {"name": parameters.model or UNNAMED}, place=where)
    else:
        raise UsageError(
            "no server and no model file is named",
            f"give --base-url or {OPENAI_URL}, --serve, or --model with a .gguf file, a folder, dense or moe",
        )


def describe(parameters: GatewayParameters, endpoint: Endpoint, idle_s: float) -> dict[str, Any]:
    """Say what is measured, for the manifest."""
    given = asdict(parameters) | {"command": command_without_secrets(parameters.command), "idle_s": idle_s}
    return {
        "workload": {"kind": "agent", "parameters": {"by": "gateway", **given}},
        "model": endpoint.facts,
        "server": {"url": str(endpoint.url), "local": endpoint.place.local, "told_by": endpoint.place.how},
        "dataset": {"name": "requests through the gateway", "scorer": "none"},
        "scoring_reason": ANSWERS_UNSCORED,
    }


def take_scores(run: RunDir, path: Path, audience: Audience) -> None:
    """Keep the scores that a file gives; one that cannot be read costs the scores and not the run."""
    try:
        scores = read_scores(path)
    except UsageError as error:
        run.update_manifest(scoring_reason=error.message)
        audience.say(f"the tasks were not scored: {error.message}")
        return
    write_task_scores(run, scores)
    run.update_manifest(scoring_reason=TASKS_SCORED)


def _after(recorder: Recorder, endpoint: Endpoint, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is known when nothing more is asked: how much was, and whether the server has ended."""
    found: dict[str, Any] = {"progress": {"finished": recorder.counters.done, "of": recorder.counters.done}}
    if endpoint.ended and (why := endpoint.ended()):
        found["server"] = dict(manifest["server"]) | {"ended": why.told}
    return found


def _open_ended(shown: Progress) -> Progress:
    """Show progress of which nobody knows how much is left."""

    def progress(counters: Any) -> None:
        counters.total = counters.done + 1
        shown(counters)

    return progress


def _label(parameters: GatewayParameters, endpoint: Endpoint) -> str:
    """Name the run after the command, or else the model."""
    words: Sequence[str] = parameters.command
    return Path(words[0]).name if words else str(endpoint.facts.get("name") or "gateway")
