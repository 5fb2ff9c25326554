"""Cells of a study on this machine, one after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ipw.errors import IpwError, UsageError
from ipw.studies.book import Outcome, StudyBook
from ipw.studies.cells import run_in_child
from ipw.studies.suite import Planned
from ipw.variables import OPENAI_URL

NAMED = ("model", "dataset")
"""Options that may name a file of this machine, and what such a name ends in."""
OF_FILES = {".gguf", ".jsonl", ".csv", ".parquet", ".json"}


def check_files(cells: Sequence[Planned]) -> None:
    """Raise UsageError where a cell names a file that is not here. What a server calls its model is no file."""
    for planned in cells:
        options = planned.cell.options
        served = options.get("base_url") or options.get("serve") or os.environ.get(OPENAI_URL)
        for name in NAMED[1:] if served else NAMED:
            value = options.get(name)
            if isinstance(value, str | Path) and Path(value).suffix.lower() in OF_FILES and not _is_there(Path(value)):
                raise UsageError(f"{planned.cell.name}: {name} {value} is not there", "no cell was run; mend the name")


def _is_there(path: Path) -> bool:
    try:
        return path.expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # no name of a file, or no home
        return False


def one_after_another(cells: Sequence[Planned], book: StudyBook, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Run each cell here, in a process of its own."""
    for count, planned in enumerate(cells, start=1):
        say(f"cell {count} of {len(cells)}: {planned.cell.name}")
        book.begin(planned, "here")
        try:
            yield Outcome(planned, run_in_child(planned.cell, book.folder), None)
        except KeyboardInterrupt:
            book.again(planned)
            raise
        except IpwError as error:
            yield Outcome(planned, None, error)
