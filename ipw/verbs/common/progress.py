"""The live bar of a run: what is done, how much of it is right, tokens a second, and watts as the sensors see them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ipw.runs.live.power import LivePower
from ipw.verbs.common.terminal import console
from ipw.workloads.base import Audience

REDRAW_S = 0.25
BEFORE, AFTER = "measuring idle, then warming up", "measuring idle"


class Counts(Protocol):
    """What a workload tells while it runs."""

    done: int
    total: int
    right: float
    tokens: int
    errors: int


class Bar:
    """Draws `Counts` a few times a second, however often it is told."""

    def __init__(self, label: str, live: LivePower, *, estimated: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        out = console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._task = self._progress.add_task(label, total=None, facts=BEFORE)
        self._live = live
        self._estimated = " (estimated)" if estimated else ""
        self._drawn = time.monotonic()
        self._first: tuple[float, int] | None = None
        """When the first units were told, and their tokens: what was before is idle and warm-up."""
        self._quiet = not out.is_terminal

    def __call__(self, counts: Counts) -> None:
        """Note where the workload is."""
        now = time.monotonic()
        self._first = self._first or (now, counts.tokens)
        if now - self._drawn < REDRAW_S and counts.done < counts.total:
            return
        self._drawn = now
        watts = self._live.total()
        began, tokens = self._first
        per_s = (counts.tokens - tokens) / (now - began) if now > began else 0.0
        facts = [
            f"{counts.done}/{counts.total}",
            f"{counts.right / counts.done:.0%} right" if counts.right else "",
            f"{per_s:.0f} tok/s" if per_s else "",
            f"{watts:.1f} W{self._estimated}" if watts is not None else "",
            f"{counts.errors} failed" if counts.errors else "",
            AFTER if counts.done >= counts.total else "",
        ]
        self._progress.update(
            self._task, completed=counts.done, total=counts.total, facts="  ".join(fact for fact in facts if fact)
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar inside the block."""
        if self._quiet:  # rich would leave an empty line for each bar that it does not draw
            yield
            return
        with self._progress:
            yield


@contextmanager
def bar(label: str, live: LivePower, *, estimated: bool) -> Iterator[Bar]:
    """Show a bar inside the block."""
    drawn = Bar(label, live, estimated=estimated)
    with drawn.shown():
        yield drawn


def _say(line: str) -> None:
    console().print(line, markup=False, soft_wrap=True)


TERMINAL = Audience(_say, bar)
"""People in front of a terminal: lines and a bar on standard error."""
