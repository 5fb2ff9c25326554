"""From a run directory to `summary.json`: every metric with its interval, or the reason why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ipw.errors import IpwError
from ipw.metrics.accounting import questions_of
from ipw.metrics.answered import Answered
from ipw.metrics.definitions import PERPLEXITY
from ipw.metrics.derived import Derived
from ipw.metrics.load import judged, slo_of
from ipw.metrics.metric import IMPORTED, Metric, energy_facts, metric, number
from ipw.metrics.ratios import UNSCORED, query_metrics, rates, shared_error
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.gpu_load import gpu_load, gpu_load_check
from ipw.metrics.validity.other_load import idle_spans, other_load, other_load_check
from ipw.metrics.validity.questions import with_questions
from ipw.metrics.validity.record import verified
from ipw.metrics.validity.run import check_run
from ipw.metrics.validity.too_short import too_short_check
from ipw.metrics.window import measured_energy, window_metrics, window_s
from ipw.registry import answers_questions, load
from ipw.registry import workload as known_workload
from ipw.runs.directory import RunDir
from ipw.runs.queries import load_queries
from ipw.runs.recorded import Recorded, part_of
from ipw.runs.schema import SCHEMA_VERSION

NO_LOGPROBS = "the server sent no log-probabilities"


def summarize(run: RunDir) -> dict[str, Any]:
    """Derive the summary of `run` from its files alone; the same files give the same numbers.

    Raises UsageError where the manifest or a table cannot be read.
    """
    recorded = Recorded.of(run)
    manifest, workload, readings = recorded.entries, recorded.workload, recorded.readings
    run_id = str(manifest.get("run_id", run.path.name))
    others = other_load(manifest, readings, idle_spans(run))
    energy = energy_facts(manifest)
    energy = others.widened_facts(energy) if others else energy
    kind = known_workload(workload.get("kind"))
    columns = load(kind.query_columns) if kind and kind.query_columns else ()
    queries = judged(load_queries(run, columns), slo_of(manifest))
    duration_s = window_s(manifest, queries)
    measured = measured_energy(manifest)
    if recorded.unseen:
        queries, measured = queries.without_energy(), None
    metrics = window_metrics(run, measured, energy, duration_s, others)
    by_subject, by_turn = {}, {}
    if kind and kind.answers:
        seed = seed_of(run_id)
        error = shared_error(queries, measured, number(recorded.attribution.get("idle_j")))
        metrics = query_metrics(queries, energy, error, seed) | rates(queries, duration_s, seed) | metrics
        if kind.metrics:
            answered = Answered(recorded, queries, energy, error, duration_s, metrics, seed)
            metrics |= load(kind.metrics)(answered)
        for subject, part in queries.by_subject().items():
            by_subject[subject] = query_metrics(part, energy, error, seed_of(f"{run_id}/{subject}"))
        for turn, part in queries.by_turn().items():
            by_turn[turn] = query_metrics(part, energy, error, seed_of(f"{run_id}/turn {turn}"))
        for found in (metrics, *by_subject.values(), *by_turn.values()):
            say_why_unscored(found, manifest)
        if part_of(workload, "parameters").get("logprobs") is True:
            metrics = {d.name: metric(d, None, reason=NO_LOGPROBS) for d in PERPLEXITY} | metrics
    gpus = gpu_load(manifest, readings)
    checks = [*check_run(recorded), *other_load_check(manifest, others), *gpu_load_check(gpus)]
    checks += too_short_check(manifest, readings, metrics.get("energy_j"))
    summary = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        **facts_of(manifest),
        "status": manifest.get("status"),
        "workload": workload,
        "model": manifest.get("model"),
        "basis": manifest.get("basis"),
        "method": energy.method,
        "devices": devices(manifest),
        "valid": not any(check["level"] == "error" and not check["ok"] for check in checks),
        "validity": checks,
        "other_load": others._asdict() if others else None,
        "other_gpu_load": gpus._asdict() if gpus else None,
        "metrics": metrics,
        "by_subject": by_subject,
    }
    if by_turn:
        summary["by_turn"] = by_turn
    return with_questions(summary, run, manifest) if kind and kind.answers else summary


def stored_summary(run: RunDir) -> dict[str, Any] | None:
    """Read the summary of `run`, `None` where it was never derived; it is held against the files it was made from.

    One of an earlier version does not tell what became of the questions; that is then found in the run's tables.
    """
    stored = run.summary()
    stored = stored and called(facts_of(run.manifest()) | verified(stored, run), run)
    kind = Derived(stored or {}).kind
    if (
        stored is None
        or not answers_questions(kind)
        or questions_of(stored)
        or str(stored.get("basis")).startswith(IMPORTED)
    ):
        return stored
    manifest = run.manifest()
    try:
        return with_questions(stored | {"status": manifest.get("status")}, run, manifest)
    except IpwError:  # the stored numbers stand, also where the tables are damaged
        return stored


def facts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give what tables say of a run beside its metrics, as it is in the manifest."""
    return {name: manifest.get(name) for name in ("label", "started", "dataset", "host", "software")}


def called(summary: dict[str, Any], run: RunDir) -> dict[str, Any]:
    """Give a summary the label that the run has on this occasion, where it was given one."""
    return summary if run.called is None else summary | {"label": run.called}


def say_why_unscored(metrics: dict[str, Metric], manifest: Mapping[str, Any]) -> None:
    """Replace the bare statement that nothing was scored by the reason that the manifest knows."""
    scorer = Recorded(manifest).dataset.get("scorer")
    why = manifest.get("scoring_reason") or ("nothing can be right in this data set" if scorer == "none" else None)
    for entry in metrics.values():
        if why and entry["reason"] == UNSCORED:
            entry["reason"] = str(why)


def devices(manifest: Mapping[str, Any]) -> list[str]:
    """List what the joules come from, so that runs on different devices can be told apart."""
    host = Recorded(manifest).host.get("name")
    return [f"{host}: {c.get('device') or c.get('name')}" for c in total_channels(manifest)]


def seed_of(text: str) -> int:
    """Make a seed that every machine derives alike."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8], "big")
