"""One run as a page shows it: what can be read of it, and what cannot, with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ipw.errors import IpwError
from ipw.metrics.accounting_text import short_mark
from ipw.metrics.derived import Derived
from ipw.metrics.readings import total_curve
from ipw.metrics.summary import stored_summary, summarize
from ipw.reports.answers import Answer, wrong_answers
from ipw.reports.charged import Charged, charged
from ipw.reports.charts.axes import Series, series_of
from ipw.reports.charts.timeline import COARSE, FINE, PowerTimeline, timeline
from ipw.reports.names import row_names
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries, from_records, load_queries
from ipw.runs.recorded import Recorded
from ipw.runs.schema import SCHEMA_VERSION
from ipw.runs.spans import load_spans

T = TypeVar("T")
FEW = 8
"""So many runs are drawn finely; more would make the page large."""


@dataclass(frozen=True, slots=True)
class View:
    """A run and how the page refers to it."""

    key: str
    """Unique on the page, fit for an id."""
    name: str
    """With a mark behind it, where the run cannot be believed as it stands."""
    series: Series
    path: str
    """Of its directory."""
    manifest: dict[str, Any]
    summary: dict[str, Any]
    queries: Queries
    """`Queries.drawn`: columns that no chart needs are not there."""
    wrong: Sequence[Answer]
    """Some answers that were."""
    timeline: PowerTimeline | None
    problems: Sequence[str]
    """What is wrong with the files, in sentences."""
    charged: Charged | None = None
    """Its requests and the costs of its engine's steps, where joules were divided by them."""
    called: str = ""
    """What the page calls its directory, where not by its path."""

    @property
    def estimated(self) -> bool:
        """Whether its joules come from a model of the load."""
        return Derived(self.summary).is_estimated

    @property
    def directory(self) -> str:
        """What its directory is called in front of people."""
        return self.called or self.path

    @property
    def valid(self) -> bool:
        """Whether its numbers can be believed."""
        return bool(self.summary.get("valid"))


def load_views(runs: Sequence[RunDir]) -> list[View]:
    """Read every run as far as it can be read."""
    stretches = FINE if len(runs) <= FEW else COARSE
    with ThreadPoolExecutor(min(len(runs), os.cpu_count() or 1) or 1) as pool:  # what reads and sums lets others run
        parts = list(pool.map(lambda run: _read(run, stretches), runs))
    summaries = [part["summary"] for part in parts]
    names = [name + short_mark(each) for name, each in zip(row_names(summaries), summaries, strict=True)]
    return [View(f"r{i}", names[i], series_of(i), str(runs[i]), **part) for i, part in enumerate(parts)]


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
    derived: dict[str, Any] = attempt("summary", lambda: stored_summary(run) or summarize(run), {})
    summary = derived or {"run_id": run.path.name, "metrics": {}, "valid": False}
    no_answers: list[Answer] = []
    queries = attempt("queries", lambda: load_queries(run), from_records([]))
    recorded = Recorded(manifest, run)

    def power() -> PowerTimeline | None:
        return timeline(total_curve(recorded), recorded.attribution, load_spans(run), stretches)

    return {
        "manifest": manifest,
        "summary": summary,
        "queries": queries.drawn(),
        "wrong": attempt("answers", lambda: wrong_answers(run, queries), no_answers),
        "timeline": attempt("power", power, None),
        "charged": attempt("costs", lambda: charged(run, manifest), None),
        "problems": list(dict.fromkeys(problems)),
    }


def workload_of(view: View) -> Mapping[str, Any]:
    """Parameters of the workload, as far as they are an object."""
    return Recorded(view.manifest).parameters
