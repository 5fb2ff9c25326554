"""What a workload needs from outside, so that each can be run with a real meter or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ipw.runs.directory import RunDir
from ipw.runs.live.power import LivePower


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


class Show(Protocol):
    """Shows how far a workload is, while the block runs."""

    def __call__(self, label: str, live: LivePower, *, estimated: bool) -> AbstractContextManager[Progress]:
        """Begin to show; what is entered is to be called after every unit of work."""


def _unseen(label: str, live: LivePower, *, estimated: bool) -> AbstractContextManager[Progress]:
    del label, live, estimated
    return nullcontext(lambda _counters: None)


class Audience(NamedTuple):
    """Who is told of a measurement while it goes on."""

    say: Callable[[str], None]
    """Called with a line at a time."""
    show: Show


NOBODY = Audience(lambda _line: None, _unseen)


class Up(NamedTuple):
    """A server that is up, for many measurements."""

    measure: Callable[[Path], tuple[RunDir, bool]]
    """Measure once, into a new run directory below a folder; returns the run, and whether it was interrupted."""
    ours: bool
    """Whether ipw started it, so that it can be started anew."""


def labelled(label: str | None) -> dict[str, str]:
    """Make the manifest's entry of what people call the run; none where they gave no label."""
    return {"label": label.strip()} if label and label.strip() else {}


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a workload's own options from those of every measurement."""
    common = {name: options[name] for name in ("sensors", "idle_s", "label") if name in options}
    return {name: value for name, value in options.items() if name not in common}, common
