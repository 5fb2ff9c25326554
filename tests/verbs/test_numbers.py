"""A number of the command line is finite."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from ipw.cli import cli
from ipw.verbs.common.lazy import LazyGroup


def ranges(command: click.Command) -> Iterator[click.Parameter]:
    """List the parameters of a command, and of those below it, that take a number between two others."""
    yield from (one for one in command.params if isinstance(one.type, click.FloatRange))
    if isinstance(command, LazyGroup):
        for entry in command.verbs.values():
            yield from ranges(entry.load())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_no_option_takes_what_is_not_finite(value: str) -> None:
    found = list(ranges(cli))
    assert {one.name for one in found} >= {"rate", "timeout_s", "budget_s", "electricity_per_kwh"}
    for one in found:
        with pytest.raises(click.BadParameter):
            one.type.convert(value, one, None)
