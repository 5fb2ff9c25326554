"""`ipw list sensors|engines|datasets|scorers|methods`: what options take, each read from where the code defines it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ipw.errors import OK
from ipw.verbs.common.lazy import LazyGroup, Verb
from ipw.verbs.common.options import JSON
from ipw.verbs.common.terminal import output

Row = tuple[str, str, str]
"""Name, what it is, and when it is used."""


def list_known(kind: str, *, as_json: bool) -> int:
    """Show every name that an option takes."""
    rows = list(KINDS[kind]())
    if as_json:
        click.echo(json.dumps([{"name": name, "about": about, "used": used or None} for name, about, used in rows]))
        return OK
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    for name, about, used in rows:
        told = Text(about)
        table.add_row(Text(name, style="bold"), told.append(f" ({used})", style="dim") if used else told)
    output().print(table)
    return OK


def _sensors() -> Iterator[Row]:
    from ipw.profilers.discovery import ADDRESSES, INSTEAD_OF, NOT_AUTOMATIC, OVER_THE_NETWORK, SENSORS, known

    for name in known():
        target = SENSORS.get(name)
        used = "only when it is named, or nothing is measured" if name == "estimate" else ""
        used = used or ("only when it is named" if name in NOT_AUTOMATIC else "")
        used = used or (f"where {INSTEAD_OF[name]} is closed" if name in INSTEAD_OF else "")
        yield name, _about_module(target.partition(":")[0]) if target else "of another package", used
    for name, target in zip(ADDRESSES, dict.fromkeys(OVER_THE_NETWORK.values()), strict=True):
        yield name, _about_module(target.partition(":")[0]), "only when it is named"


def _engines() -> Iterator[Row]:
    from ipw.workloads.lm.servers.engines import ENGINES

    for name, engine in ENGINES.items():
        yield name, _first_line(inspect.getdoc(engine)), ""


def _datasets() -> Iterator[Row]:
    from ipw.workloads.texts.datasets import BUNDLED, BUNDLED_LONG, BUNDLED_TOOLS, FIXED, HARNESS, HUB
    from ipw.workloads.texts.files import READERS
    from ipw.workloads.texts.hub import KNOWN

    yield BUNDLED, "Questions that come with ipw.", ""
    yield BUNDLED_LONG, "The same, with answers that are worked out step by step.", ""
    yield BUNDLED_TOOLS, "Tasks for which a tiny model needs a calculator: ipw run agent.", ""
    for suffix in READERS:
        yield f"FILE{suffix}", "A file of questions.", ""
    for prefix, takes, module in (
        (HUB, "NAME", "hub"),
        (HARNESS, "TASK", "harness"),
        (FIXED, "IN,OUT", "fixed_lengths"),
    ):
        yield prefix + takes, _about_module(f"ipw.workloads.texts.{module}"), ""
    for name, how in KNOWN.items():
        yield f"{HUB}…/{name}", f"Known: split {how.split}, scored by {how.scorer}.", ""


def _scorers() -> Iterator[Row]:
    from ipw.workloads.lm.scoring.answers import DEFERRED, NONE, SCORERS

    for name, scorer in SCORERS.items():
        yield name, _first_line(inspect.getdoc(scorer)), ""
    for name, about in DEFERRED.items():
        yield name, about, "after the measured window"
    yield NONE, "Nothing can be right.", ""


def _methods() -> Iterator[Row]:
    from ipw.workloads.diffusion.methods import ABOUT
    from ipw.workloads.training.parameters import METHODS

    for name in METHODS:
        yield name, _about_module(f"ipw.workloads.training.methods.{name.replace('-', '_')}"), "run train"
    for name, about in ABOUT.items():
        yield name, about, "run diffusion"


KINDS = {
    "sensors": _sensors,
    "engines": _engines,
    "datasets": _datasets,
    "scorers": _scorers,
    "methods": _methods,
}


def _about_module(name: str) -> str:
    """First line of a module's docstring, read without importing it: what it needs may not be installed."""
    spec = find_spec(name)
    source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    return _first_line(ast.get_docstring(ast.parse(source)))


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]


ABOUT = {
    "sensors": "What --sensors takes.",
    "engines": "What --engine takes.",
    "datasets": "What --dataset takes.",
    "scorers": "What --scorer takes.",
    "methods": "What --method takes in `ipw run train`.",
}


def _listing(kind: str) -> click.Command:
    @click.command(kind, help=ABOUT[kind])
    @JSON
    def listing(**options: Any) -> int:
        return list_known(kind, **options)

    return listing


sensors, engines, datasets, scorers, methods = map(_listing, ABOUT)
RUNS = {"runs": Verb("list_runs", "Every run in a folder, the newest first.")}


@click.group(
    "list",
    cls=LazyGroup,
    table={"Kinds": RUNS | {kind: Verb(f"ipw.verbs.list_known:{kind}", about) for kind, about in ABOUT.items()}},
)
def command() -> None:
    """What there is."""
