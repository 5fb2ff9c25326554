"""What the README and the guides tell people to type exists, and the Python that they show runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ipw.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [(page.name, text) for page in PAGES for kind, text in FENCE.findall(page.read_text()) if kind == language]


COMMANDS = [
    (name, line.partition(" #")[0].strip())
    for name, text in blocks("console")
    for line in text.splitlines()
    if line.startswith("ipw ")
]


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_documented_command_is_one_that_ipw_takes(page: str, command: str) -> None:
    verb: click.Command = cli
    words = shlex.split(command)[1:]
    while isinstance(verb, click.Group):
        found = verb.get_command(click.Context(verb), words.pop(0))
        assert found is not None, f"{page}: {command}"
        verb = found
    verb.make_context(verb.name, words)


@pytest.mark.parametrize(
    ("page", "script"), [(page, text) for page, text in blocks("python") if "import ipw\n" in text]
)
def test_documented_python_that_uses_ipw_runs(page: str, script: str, tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{page}: {result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
