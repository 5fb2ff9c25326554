"""One run as a page shows it: what can be read of it, and what cannot, with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ipw.errors import IpwError
from ipw.reports.answers import Answer, wrong_answers
from ipw.reports.axes import SERIES, Series
from ipw.reports.metric import mapping
from ipw.reports.metrics import summarize
from ipw.reports.queries import Queries, from_records, load_queries
from ipw.reports.ranking import row_names
from ipw.reports.spans import load_spans
from ipw.reports.timeline import COARSE, FINE, Timeline, timeline
from ipw.runs.directory import SCHEMA_VERSION, RunDir

T = TypeVar("T")
FEW = 8
"""So many runs are drawn finely; more would make the page large."""


@dataclass(frozen=True, slots=True)
class View:
    """A run and how the page refers to it."""

    key: str
    """Unique on the page, fit for an id."""
    name: str
    series: Series
    path: str
    manifest: dict[str, Any]
    summary: dict[str, Any]
    queries: Queries
    """`Queries.drawn`: columns that no chart needs are not there."""
    wrong: Sequence[Answer]
    """Some answers that were."""
    timeline: Timeline | None
    problems: Sequence[str]
    """What is wrong with the files, in sentences."""

    @property
    def estimated(self) -> bool:
        """Whether its joules come from a model of the load."""
        return "model_estimate" in str(self.summary.get("method"))


def load_views(runs: Sequence[RunDir]) -> list[View]:
    """Read every run as far as it can be read."""
    stretches = FINE if len(runs) <= FEW else COARSE
    with ThreadPoolExecutor(min(len(runs), os.cpu_count() or 1) or 1) as pool:  # what reads and sums lets others run
        parts = list(pool.map(lambda run: _read(run, stretches), runs))
    names = row_names([part["summary"] for part in parts])
    return [View(f"r{i}", names[i], SERIES[i % len(SERIES)], str(runs[i]), **part) for i, part in enumerate(parts)]


def _read(run: RunDir, stretches: int) -> dict[str, Any]:
    """Fill the fields of a View that come from files."""
    problems: list[str] = []

    def attempt(what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except IpwError as error:
            problems.append(error.message)
        except Exception as error:  # noqa: BLE001 - a damaged run must not keep the others from being shown
            problems.append(f"{what} cannot be read: {type(error).__name__}: {error}")
        return otherwise

    manifest: dict[str, Any] = attempt("manifest", run.manifest, {})
    version = manifest.get("schema_version")
    if manifest and version != SCHEMA_VERSION:
        problems.append(f"schema version {version!r} is not one that this ipw knows; what it understands is shown")
    derived: dict[str, Any] = attempt("summary", lambda: run.summary() or summarize(run), {})
    summary = derived or {"run_id": run.path.name, "metrics": {}, "valid": False}
    no_answers: list[Answer] = []
    queries = attempt("queries", lambda: load_queries(run), from_records([]))
    return {
        "manifest": manifest,
        "summary": summary,
        "queries": queries.drawn(),
        "wrong": attempt("answers", lambda: wrong_answers(run, queries), no_answers),
        "timeline": attempt("power", lambda: timeline(manifest, run.readings(), load_spans(run), stretches), None),
        "problems": list(dict.fromkeys(problems)),
    }


def workload_of(view: View) -> dict[str, Any]:
    """Parameters of the workload, as far as they are an object."""
    return mapping(mapping(view.manifest.get("workload")).get("parameters"))
