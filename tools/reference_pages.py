"""Writes the pages of docs that the code's own tables tell, again: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import click
import run_directory_page

from ipw.cli import cli
from ipw.errors import EXIT_CODES
from ipw.metrics.definitions import DEFINITIONS, Definition, definitions_of
from ipw.registry import BUILT_IN, load
from ipw.verbs.common.lazy import LazyGroup

MADE = "<!-- Made by `make docs` from the code: change it there. -->\n"
METRICS = """
# Metrics

Every metric that a run can have, with the formula that a reader can check it by. In `summary.json` each has a value,
the ends of its 95 % interval, its unit, how many it is from, how it was found, and a reason where there is no value.
*Better* says which way is an improvement. Joules and watts are of the run's basis
([which number to trust](../guides/which-number.md)).
"""
COMMANDS = """
# Commands and exit codes

`ipw VERB --help` lists the options of each. Texts for people go to standard output, progress to standard error;
`--json` prints the machine's answer alone on standard output.
"""


def metrics() -> str:
    """The metrics that every run can have, and those of each workload."""
    parts = [MADE + METRICS, "## Of every run that asks or computes\n", _definitions(DEFINITIONS.values())]
    for name, entry in BUILT_IN.items():
        own = load(entry.definitions) if entry.definitions else ()
        if own and name != "gateway":  # its runs are of the kind `agent`
            parts += [f"## Of `{name}`\n", _definitions(each for each in definitions_of(name).values() if each in own)]
    return "\n".join(parts)


def _definitions(found: Iterable[Definition]) -> str:
    rows = (
        f"| `{each.name}` | {each.label} | {each.unit} | {each.better} | {_cell(each.formula)} |\n" for each in found
    )
    return "| name | | unit | better | formula |\n|---|---|---|---|---|\n" + "".join(rows)


def commands() -> str:
    """Verbs, and what exit codes say."""
    assert isinstance(cli, LazyGroup)
    codes = "".join(f"| {code} | {told} |\n" for code, told in EXIT_CODES.items())
    parts = [MADE + COMMANDS]
    for heading, table in cli.table.items():
        rows = (row for name, verb in table.items() for row in verbs((name,), verb.load(), verb.about))
        parts.append(f"## {heading}\n\n| command | |\n|---|---|\n" + "".join(rows))
    parts.append(f"## Exit codes\n\n| code | |\n|---|---|\n{codes}")
    parts.append(
        "`ipw measure` exits with the code of its command, and `ipw gateway` with that of a program that failed.\n"
    )
    return "\n".join(parts)


def verbs(words: tuple[str, ...], command: click.Command, about: str) -> Iterator[str]:
    """Yield a row for a command, or for each that is under it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            told = (found.help or "").partition("\f")[0].partition("\n\n")[0]
            yield from verbs((*words, name), found, " ".join(told.split()))
    else:
        yield f"| `ipw {' '.join(words)}` | {_cell(about)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


PAGES = {
    run_directory_page.PAGE: run_directory_page.page,
    ROOT / "docs/reference/metrics.md": metrics,
    ROOT / "docs/reference/commands.md": commands,
}

if __name__ == "__main__":
    for path, make in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(make(), encoding="utf-8")
