"""Writes what a gate found in every form, and tells a CI service that is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ipw.gate.document import Document
from ipw.gate.formats import action_benchmark, badge, bencher, github_annotations, junit
from ipw.gate.text import markdown
from ipw.runs.files import make_folder, replacing
from ipw.verbs.common.terminal import say


def _json(make: Callable[[Document], Any]) -> Callable[[Document], str]:
    return lambda document: json.dumps(make(document), indent=1, allow_nan=False) + "\n"


FILES: dict[str, Callable[[Document], str]] = {
    "gate.json": _json(lambda document: document),
    "gate.md": markdown,
    "gate.xml": junit,
    "badge.json": _json(badge),
    "benchmark-smaller.json": _json(lambda document: action_benchmark(document, "lower")),
    "benchmark-bigger.json": _json(lambda document: action_benchmark(document, "higher")),
    "bencher.json": _json(bencher),
}


def write_files(document: Document, out: Path) -> None:
    """Write every form into the folder, and under GitHub Actions the summary and annotations. Raises IpwError."""
    make_folder(out, "choose another folder with --out")
    for name, make in FILES.items():
        with replacing(out / name) as file:
            file.write(make(document).encode())
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown(document))
        except OSError as error:
            say(f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror}", err=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(document):
            click.echo(line, err=True)  # the runner reads both streams, and standard output is the machine's
