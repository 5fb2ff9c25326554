"""Two stored runs, metric by metric, over the questions that both were asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.gate.policy import IN_POINTS
from ipw.gate.tasks import COMPARED as COMPARED_TASKS
from ipw.gate.tasks import has_tasks, load_tasks
from ipw.metrics.accounting_text import marks, unfinished
from ipw.metrics.definitions import RATIOS, Definition
from ipw.metrics.metric import energy_facts, mappings
from ipw.metrics.paired_scores import difference_bounds
from ipw.metrics.stats import Array, student_t975
from ipw.metrics.summary import stored_summary, summarize
from ipw.metrics.validity.questions import QUESTIONS
from ipw.reports.names import row_names
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries, load_queries
from ipw.runs.recorded import Recorded, part_of

SCHEMA_VERSION = 1
ARMS = ("base", "candidate")
MEANS = (
    Definition("latency_mean_s", "Mean latency", "s", "lower", "mean latency of a query", "latency_s", "one"),
    Definition("ttft_mean_s", "Mean time to first token", "s", "lower", "mean over the queries", "ttft_s", "one"),
    Definition(
        "output_tokens_per_query",
        "Output tokens per query",
        "",
        "",
        "mean over the queries",
        "completion_tokens",
        "one",
    ),
)
COMPARED = (*RATIOS, *MEANS)
UNSEEN = "one run each: what differs between starts of the same server is not seen; `ipw calibrate` measures it"
GUESSED = "joules are estimated from load, good to ±50 % at best on either side: their differences are as wide"
Row = dict[str, Any]
"""`metric`, `label`, `unit`, `better`; `base` and `candidate`; `change` with `low` and `high` (95 %): a fraction, for
accuracy a difference; `kind` says which (`ratio`, `difference`); `n` questions; `estimated`; `reason` where something
is absent."""


class Both(NamedTuple):
    """The queries of two runs, row by row the same question; a question asked more than once is its mean."""

    base: Mapping[str, Array]
    candidate: Mapping[str, Array]
    left_out: int
    """Questions that only one of them was asked."""


def compare(base: RunDir, candidate: RunDir, start_sd: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Compare two runs; `start_sd` is the calibrated spread between starts by metric, as logs, which widens intervals.

    A metric is a mean over a mean, each over the same questions. Its change is the log of candidate over base, with
    the variance of the ratio's linear part over the questions (delta method): what both runs share question by
    question cancels. Raises UsageError for runs that cannot stand side by side.
    """
    manifests = [base.manifest(), candidate.manifest()]
    _check_alike(manifests)
    tasks = all(has_tasks(Recorded(manifest).kind) for manifest in manifests)
    compared = COMPARED_TASKS if tasks else COMPARED
    item, read = ("task", load_tasks) if tasks else ("question", _queries)
    both = pair_queries(read(base), read(candidate), compared)
    absent = next((facts.absent for facts in map(energy_facts, manifests) if facts.method is None), None)
    known = start_sd or {}
    devices = [_devices(manifest) for manifest in manifests]
    summaries = [_summary(run) for run in (base, candidate)]
    names = row_names(summaries)
    return {
        "schema_version": SCHEMA_VERSION,
        "base": _about(manifests[0], summaries[0], names[0]),
        "candidate": _about(manifests[1], summaries[1], names[1]),
        "basis": manifests[0].get("basis"),
        "paired_by": "task" if tasks else "query_id",
        "questions": len(both.base["one"]),
        "left_out": both.left_out,
        "notes": [
            *(f"{arm}: {doubt}" for arm, each in zip(ARMS, summaries, strict=True) for doubt in _doubts(each)),
            *([] if known else [UNSEEN]),
            *([GUESSED] if any(facts.is_estimated for facts in map(Recorded, manifests)) else []),
            *([] if devices[0] == devices[1] else ["different devices: the gain of their sensors does not cancel"]),
        ],
        "estimated": any(facts.is_estimated for facts in map(Recorded, manifests)),
        "rows": [
            _with_estimates(compare_metric(each, both, known.get(each.name), absent, item), each, manifests)
            for each in compared
        ],
    }


def _summary(run: RunDir) -> dict[str, Any]:
    """The run's summary: what was derived, or else what can be found now."""
    try:
        return stored_summary(run) or summarize(run)
    except (OSError, ValueError) as error:
        raise UsageError(f"{run.path}: its queries cannot be read: {error}", "was the run copied whole?") from None


def _about(manifest: Mapping[str, Any], summary: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Say which run it is, and what sets it apart from one that can be believed as it stands."""
    model = Recorded(manifest).model.get("name")
    return {"run_id": manifest.get("run_id"), "name": name, "model": model, "marks": marks(summary)}


def _doubts(summary: Mapping[str, Any]) -> Iterator[str]:
    """Say what a reader of the comparison must know of one of its runs."""
    failed = [check for check in mappings(summary.get("validity")) if not check.get("ok")]
    for check in failed:
        if check.get("level") == "error" or check.get("check") == QUESTIONS:
            judged = "not valid: " if check.get("level") == "error" else ""
            yield f"{judged}{check.get('check')}: {check.get('detail')}"
    if stopped := unfinished(summary):
        yield stopped


def pair_queries(base: Queries, candidate: Queries, compared: Sequence[Definition] = COMPARED) -> Both:
    """Line up the questions that both runs were asked. Raises UsageError where there is none."""
    ids = _keys(base), _keys(candidate)
    shared = np.intersect1d(ids[0], ids[1])
    if len(shared) == 0:
        what = "task" if compared is COMPARED_TASKS else "question"
        raise UsageError(f"the runs share no {what}", "compare runs over the same data set, or tasks of one name")
    columns = {name for definition in compared for name in (definition.numerator, definition.denominator)}
    means = [_means(queries, keys, shared, columns) for queries, keys in zip((base, candidate), ids, strict=True)]
    return Both(means[0], means[1], len(np.union1d(ids[0], ids[1])) - len(shared))


def compare_metric(
    definition: Definition,
    both: Both,
    start_sd: float | None = None,
    no_energy: str | None = None,
    item: str = "question",
) -> Row:
    """Compare one metric over the questions, or other items, for which both runs know both of its parts."""
    parts = [part[name] for part in both[:2] for name in (definition.numerator, definition.denominator)]
    known = np.isfinite(np.stack(parts)).all(axis=0)
    above, below, above_too, below_too = (part[known] for part in parts)
    n = int(known.sum())
    row: Row = {
        "metric": definition.name, "label": definition.label, "unit": definition.unit, "better": definition.better,
        "kind": "ratio", "base": None, "candidate": None, "change": None, "low": None, "high": None, "n": n,
        "start_sd": start_sd, "reason": None,
    }  # fmt: skip
    if n == 0:
        energy = definition.is_energy and no_energy
        return row | {"reason": no_energy if energy else f"no {item} has it in both runs"}
    if below.sum() <= 0 or below_too.sum() <= 0:
        return row | {"reason": "nothing to divide by"}
    row |= {"base": float(above.sum() / below.sum()), "candidate": float(above_too.sum() / below_too.sum())}
    if definition.name in IN_POINTS:
        low, high = difference_bounds(above_too - above, 0.025)
        return row | {"kind": "difference", "change": row["candidate"] - row["base"], "low": low, "high": high}
    if row["base"] <= 0 or row["candidate"] <= 0:
        return row | {"reason": "a ratio to or of nothing is not a number"}
    linear = above_too / above_too.mean() - below_too / below_too.mean() - above / above.mean() + below / below.mean()
    log_ratio = math.log(row["candidate"] / row["base"])
    if n < 2:
        return row | {"change": math.expm1(log_ratio), "reason": f"one {item} shows no spread"}
    half = student_t975(n - 1) * math.hypot(float(linear.std(ddof=1)) / math.sqrt(n), math.sqrt(2) * (start_sd or 0))
    return row | {
        "change": math.expm1(log_ratio), "low": math.expm1(log_ratio - half), "high": math.expm1(log_ratio + half),
    }  # fmt: skip


def _with_estimates(row: Row, definition: Definition, manifests: list[dict[str, Any]]) -> Row:
    """Widen the change of estimated joules by what each side may be off: their difference is no better known."""
    widening = [facts.widening for facts in map(energy_facts, manifests)]
    row = row | {"estimated": definition.is_energy and any(widening)}
    if not row["estimated"] or row["low"] is None:
        return row
    change, off = math.log1p(row["change"]), math.hypot(*map(math.log1p, widening))
    below, above = change - math.log1p(row["low"]), math.log1p(row["high"]) - change
    return row | {
        "low": math.expm1(change - math.hypot(below, off)),
        "high": math.expm1(change + math.hypot(above, off)),
    }


def _check_alike(manifests: list[dict[str, Any]]) -> None:
    for key, hint in (("basis", "measure both with the same --sensors"), ("schema_version", "derive both again")):
        a, b = (manifest.get(key) for manifest in manifests)
        if a != b:
            raise UsageError(f"the runs differ in {key}: {a or 'none'} and {b or 'none'}", hint)
    kinds = [Recorded(manifest).workload for manifest in manifests]
    datasets = [part_of(kind, "parameters").get("dataset") for kind in kinds]
    if datasets[0] != datasets[1]:
        raise UsageError(f"the runs are over different data sets: {datasets[0]} and {datasets[1]}")


def _queries(run: RunDir) -> Queries:
    try:
        queries = load_queries(run)
    except (OSError, ValueError) as error:
        raise UsageError(f"{run}: its queries cannot be read: {error}", "was the run copied whole?") from None
    if len(queries) == 0:
        raise UsageError(f"{run} holds no queries to compare", "`ipw report` shows runs of any kind side by side")
    return queries


def _keys(queries: Queries) -> npt.NDArray[np.str_]:
    subjects, ids = queries.texts["subject"], queries.texts["query_id"]
    return np.array([f"{subject}\t{name}" for subject, name in zip(subjects, ids, strict=True)])


def _means(
    queries: Queries, keys: npt.NDArray[np.str_], shared: npt.NDArray[np.str_], columns: set[str]
) -> dict[str, Array]:
    mine = np.isin(keys, shared)
    index = np.searchsorted(shared, keys[mine])
    counts = np.bincount(index, minlength=len(shared))
    return {name: np.bincount(index, queries.numbers[name][mine], len(shared)) / counts for name in columns}


def _devices(manifest: Mapping[str, Any]) -> set[str]:
    return {str(each.get("device")) for each in manifest.get("sensors", []) if each.get("in_total")}
