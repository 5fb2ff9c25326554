"""Verbs that take several runs: one that cannot be read is named in a line, and the others are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ipw.errors import OK, IpwError
from ipw.verbs.common.terminal import console

P = TypeVar("P")
T = TypeVar("T")


def readable(paths: Iterable[P], read: Callable[[P], T]) -> tuple[list[T], int]:
    """Read each run; returns those that could be read, and the exit code that says whether all could.

    Raises IpwError where none could.
    """
    found: list[T] = []
    errors: list[IpwError] = []
    for path in paths:
        try:
            found.append(read(path))
        except IpwError as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    for each in errors:
        console().print(f"left out: {each.message}", markup=False, soft_wrap=True)
    return found, errors[0].exit_code if errors else OK
