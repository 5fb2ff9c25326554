"""What a workload needs from outside, so that each can be run with a real meter or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


class Marker(Protocol):
    """Marks spans; `ipw.metering.meter.Meter` is one."""

    def span(self, name: str, phase: str) -> AbstractContextManager[object]:
        """Mark what is done inside as one interval of the given phase."""


class Book(Protocol):
    """Keeps finished units of work; `ipw.runs.journal.Journal` is one."""

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Keep one record, safe from a crash when this returns."""


class ArrivalsBook(Protocol):
    """Keeps when the chunks of an answer came; `ipw.runs.arrivals_file.ArrivalsFile` is one."""

    def append(self, block: bytes) -> int:
        """Keep the block of one request, safe from a crash when this returns; returns where it begins."""


@dataclass(slots=True)
class Counters:
    """How far a workload is."""

    total: int
    done: int = 0
    right: float = 0.0
    """Sum of scores."""
    tokens: int = 0
    """Completion tokens."""
    errors: int = 0
    remedy: str | None = None
    """What may mend the first of these that somebody knows a remedy for."""


Progress = Callable[[Counters], None]
"""Called after every unit of work, in the workload's own thread: it must return at once."""
