"""How far a running run is, from the journal that it has written so far."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from ipw.clock import now_ns
from ipw.runs.run_shapes import record_of

UNITS = ("query", "step")
MEASURED = "measure"
"""What goes on when units finish, although the span that ended last is the warm-up."""
RECENT_NS = 10_000_000_000


class Standing(NamedTuple):
    """What has finished."""

    done: int
    errors: int
    accuracy: float | None
    """Mean score, where units have scores."""
    loss: float | None
    """Of the last training step."""
    units_per_s: float | None
    """Over the last ten seconds of the journal; `None` before two units."""
    tokens_per_s: float | None
    phase: str | None
    """What goes on, or else the phase of the span that ended last."""


class LiveJournal:
    """Follows a growing `journal.jsonl`. A display only: figures of record come from the tables."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._torn = b""
        self._done = self._errors = self._scored = 0
        self._score = 0.0
        self._failed: dict[str, float | None] = {}
        self._loss: float | None = None
        self._phase: str | None = None
        self._recent: deque[tuple[int, int]] = deque()

    def standing(self) -> Standing:
        """Read on, and tell where the run is."""
        for line in self._new_lines():
            if record := record_of(line):  # what a crash cut short was not finished
                self._take(record)
        per_s, tokens_per_s = self._rates()
        accuracy = self._score / self._scored if self._scored else None
        return Standing(self._done, self._errors, accuracy, self._loss, per_s, tokens_per_s, self._phase)

    def _new_lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read()
        except OSError:
            return []
        self._offset += len(block)
        *lines, self._torn = (self._torn + block).split(b"\n")
        return lines

    def _take(self, record: dict[str, Any]) -> None:
        if record.get("kind") == "span":
            self._phase = str(record.get("phase"))
        if record.get("kind") not in UNITS:
            return
        self._phase = MEASURED
        self._done += 1
        failed = record.get("status") not in {"ok", None}
        self._errors += failed
        score, loss, end_ns = record.get("score"), record.get("loss"), record.get("end_ns")
        if isinstance(score, int | float):
            self._score += score
            self._scored += 1
        if self._failed or failed:
            self._asked_again(record, failed=failed)
        if isinstance(loss, int | float):
            self._loss = float(loss)
        if isinstance(end_ns, int):
            tokens = record.get("completion_tokens") or record.get("tokens")
            self._recent.append((end_ns, tokens if isinstance(tokens, int) else 0))
            while end_ns - self._recent[0][0] > RECENT_NS:
                self._recent.popleft()

    def _asked_again(self, record: dict[str, Any], *, failed: bool) -> None:
        """Let the last of several tries of one question count."""
        name = str(record.get("query_id"))
        if name in self._failed:
            score = self._failed.pop(name)
            self._done -= 1
            self._errors -= 1
            if score is not None:
                self._score -= score
                self._scored -= 1
        if failed and "query_id" in record:
            score = record.get("score")
            self._failed[name] = score if isinstance(score, int | float) else None

    def _rates(self) -> tuple[float | None, float | None]:
        """Units and tokens a second between the recent ends; unknown before the second, and in silence."""
        if len(self._recent) < 2 or now_ns() - self._recent[-1][0] > RECENT_NS:
            return None, None
        seconds = (self._recent[-1][0] - self._recent[0][0]) / 1e9
        units, tokens = len(self._recent) - 1, sum(count for _, count in list(self._recent)[1:])
        return (units / seconds, tokens / seconds) if seconds > 0 else (None, None)
