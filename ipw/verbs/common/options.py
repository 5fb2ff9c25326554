"""Options that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from ipw.runs.files import SHARE
from ipw.verbs.common.numbers import FloatRange

F = TypeVar("F", bound=Callable[..., Any])

RUNS = Path("runs")
TOML = click.Path(path_type=Path, dir_okay=False)

SENSORS = click.option(
    "--sensors", default="auto", show_default=True, help="Which sensors: auto, or names and addresses by comma."
)
ONE_SENSORS = click.option("--sensors", help="Which sensors, in place of what the run files say.")


def _share(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ[SHARE] = "1"  # the processes that are started from here follow


WHERE = click.option(
    "--out", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Folder for run directories."
)
_SHARED = click.option(
    "--share", is_flag=True, expose_value=False, callback=_share, help="Let other users of this machine read the runs."
)


def OUT(command: F) -> F:  # noqa: N802 - a decorator like its neighbours
    """Say where run directories are made, and who may read them."""
    return WHERE(_SHARED(command))


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else.")
IDLE = click.option(
    "--idle",
    "idle_s",
    type=FloatRange(0, 3600),
    default=3.0,
    show_default=True,
    help="Seconds of idle time at each end.",
)
LABEL = click.option(
    "--label", help="What the run is called in tables and charts; may name settings: '{model} at {concurrency}'."
)


def _collector(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no address before anything is measured."""
    from ipw.interchange.otlp_send import endpoint

    if value is not None:
        endpoint(value)
    return value


OTLP = click.option(
    "--otlp",
    metavar="URL",
    callback=_collector,
    help="Send the run as traces to a collector of OpenTelemetry: http://localhost:4318.",
)
_SERVE = click.option("--serve", help="Start a server for the run: 'CMD … {port}'.")
_SERVER_HERE = click.option(
    "--server-here", is_flag=True, help="The server is on this machine, whatever its address looks like."
)
_SENSORS_OF = click.option(
    "--sensors-of", metavar="HOST", help="These sensors are those of the server's machine, which is HOST."
)


def served(timeout_s: float) -> Callable[[F], F]:
    """Let a server be started for a run, and say whose joules those of a server are."""
    wait = click.option(
        "--serve-timeout", "serve_timeout_s", type=FloatRange(0.1), default=timeout_s, show_default=True,
        help="Seconds that it may take to answer.",
    )  # fmt: skip
    return lambda command: _SERVE(wait(_SERVER_HERE(_SENSORS_OF(command))))


STRICT = click.option("--strict", is_flag=True, help="Exit with 4 when the measurement is not valid.")

PAIRS = click.option("--pairs", type=click.IntRange(2, 1000), default=10, show_default=True, help="Runs of each arm.")
STARTS = click.option(
    "--starts", type=click.IntRange(1, 100), default=3, show_default=True, help="Fresh starts of each arm's server."
)
SETTLE = click.option(
    "--settle",
    "settle_s",
    type=FloatRange(0, 3600),
    default=20.0,
    show_default=True,
    help="Seconds to wait, at most, for the same temperature and idle before each run.",
)
CALIBRATION = click.option(
    "--calibration", type=TOML, default=Path(".ipw/calibration.json"), show_default=True, help="Noise of this runner."
)


def levels(_context: click.Context, _parameter: click.Parameter, text: str | None) -> list[int]:
    """Read `1,2,4,8`, for an option's callback."""
    try:
        found = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        found = [0]
    if any(not 1 <= level <= 4096 for level in found) or len(set(found)) < len(found):
        raise click.BadParameter(f"{text!r} must be a list of different whole numbers from 1 to 4096")
    return found


def defaults_of(parameters: type[Any]) -> Mapping[str, Any]:
    """Read the defaults of a workload's parameters: options, run files and quickstart use the same."""
    return {field.name: field.default for field in fields(parameters)}
