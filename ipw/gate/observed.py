"""One run of one arm of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ipw.runs.queries import Queries

ArmName = Literal["base", "candidate"]


@dataclass(frozen=True, slots=True)
class Observed:
    """One run of one arm, as far as it matters here."""

    arm: ArmName
    pair: int
    start: int
    path: str
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    queries: Queries
    responses: Mapping[str, int]
    """Hash of every answer's text, by question."""
    gauges: Mapping[str, tuple[str, float | None, float | None]]
    """By channel: unit, value as the measured window began, median within it."""
    tasks: Queries | None = None
    """Of a run of agents."""

    @property
    def label(self) -> str:
        """For people, who count from 1."""
        return f"{self.arm} {self.pair + 1}"
