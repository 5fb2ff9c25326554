"""`ipw sensors serve`: let another machine read this one's sensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ipw.errors import OK
from ipw.profilers.remote.where import LISTEN
from ipw.verbs.common.options import JSON, SENSORS
from ipw.verbs.common.terminal import output

PEM = click.Path(path_type=Path, dir_okay=False, exists=True)


def serve_sensors(*, sensors: str, listen: str, certificate: Path | None, key: Path | None, as_json: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; what can be read is told first."""
    from ipw.profilers.remote.serving import serve

    def say(url: str, facts: dict[str, Any]) -> None:
        readable = [str(channel["name"]) for channel in facts["channels"] if "index" in channel]
        if as_json:
            click.echo(json.dumps({"url": url, "host": facts["host"], "channels": readable}))
        else:
            output().print(Text(f"{len(readable)} channels of {facts['host']} are served at {url}"), soft_wrap=True)
            output().print(Text(f"    try: ipw doctor --sensors {url}"), soft_wrap=True)

    serve(sensors, listen, certificate, key, say)
    return OK


@click.command("serve")
@SENSORS
@click.option(
    "--listen",
    default=LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="Any address other than loopback needs IPW_SENSORS_TOKEN.",
)
@click.option("--certificate", type=PEM, help="For TLS: a chain in PEM.")
@click.option("--key", type=PEM, help="Its key, without a password.")
@JSON
def serve(**options: Any) -> int:
    """Let other machines read this one's sensors, over HTTP, until it is stopped.

    On the other machine: ipw run lm --sensors http://HOST:9321 …    ipw doctor --sensors http://HOST:9321
    """
    return serve_sensors(**options)


@click.group("sensors")
def group() -> None:
    """Sensors over the network."""


group.add_command(serve)
