"""Cells of a study on this machine, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ipw.errors import IpwError
from ipw.studies.book import Outcome, StudyBook
from ipw.studies.cells import run_in_child
from ipw.studies.suite import Planned


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
