"""Runs as traces of OpenTelemetry, in OTLP's JSON: a span for the measured window, and one for each query in it.

Each task of an agent is a trace of its own, with a link to the window's span.
Names are those of its conventions for generative AI; joules, for which it has none, stand under `ipw.`. Texts of
questions and answers are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ipw.errors import UsageError
from ipw.interchange.exports import StoredRun
from ipw.interchange.otlp_spans import CLIENT, INTERNAL, attributes, identity, span_of
from ipw.interchange.otlp_tasks import Traced, task_spans, traced
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import model_name
from ipw.runs.recorded import Recorded

OPERATIONS = {"completions": "text_completion"}
WINDOW = (
    "energy_j",
    "net_energy_j",
    "mean_power_w",
    "idle_power_w",
    "accuracy",
    "accuracy_per_joule",
    "accuracy_per_watt",
)
NUMBERS = {
    "gen_ai.usage.input_tokens": "prompt_tokens",
    "gen_ai.usage.output_tokens": "completion_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens",
    "ipw.energy_j": "energy_j",
    "ipw.energy_low_j": "energy_low_j",
    "ipw.energy_high_j": "energy_high_j",
    "ipw.net_energy_j": "net_energy_j",
    "ipw.prefill_energy_j": "prefill_energy_j",
    "ipw.decode_energy_j": "decode_energy_j",
    "ipw.power_w": "power_w",
    "ipw.score": "score",
}
WHOLE = {"prompt_tokens", "completion_tokens", "cached_tokens", "max_tokens"}
COLUMNS = ("query_id", "start_ns", "first_token_ns", "end_ns", "status", "error", "finish_reason", "task", "turn",
           *NUMBERS.values())  # fmt: skip


def as_otlp(runs: Sequence[StoredRun]) -> str:
    """Write one `TracesData`. Raises UsageError for a run that does not say when it was."""
    return json.dumps(traces_of(runs), allow_nan=False) + "\n"


def traces_of(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Make one `TracesData`. Raises UsageError for a run that does not say when it was."""
    return {"resourceSpans": [_resource(run) for run in runs]}


def _resource(run: StoredRun) -> dict[str, Any]:
    recorded = Recorded(run.manifest)
    version = recorded.software.get("ipw")
    told = {
        "service.name": "ipw",
        "service.version": version,
        "service.instance.id": run.summary.get("run_id"),
        "host.name": recorded.host.get("name"),
        "os.description": recorded.host.get("system"),
    }
    scope = {"name": "ipw"} | ({"version": clean(version, 40)} if version else {})
    spans = {"scope": scope, "spans": list(_spans(run))}
    return {"resource": {"attributes": attributes(told)}, "scopeSpans": [spans]}


def _spans(run: StoredRun) -> Iterator[dict[str, Any]]:
    run_id = str(run.summary.get("run_id"))
    shift_ns, window = _shift_ns(run), Recorded(run.manifest).attribution.get("window_ns")
    trace, root = identity(run_id, 16), identity(f"{run_id}/window", 8)
    queries = _queries(run)
    ends = [(each["start_ns"], each["end_ns"]) for each in queries if each.get("start_ns") and each.get("end_ns")]
    if not isinstance(window, list) and not ends:
        raise UsageError(f"{run_id} does not say when it was", "only runs that were measured become traces")
    start, end = window if isinstance(window, list) else (min(a for a, _ in ends), max(b for _, b in ends))
    energy = _energy(run)
    metrics = {f"ipw.{name}": run.value(name) for name in WINDOW}
    name = clean(f"{Derived(run.summary).kind} {model_name(run.summary)}")
    yield span_of(trace, root, None, name, INTERNAL, (start + shift_ns, end + shift_ns), energy | metrics)
    tasks = traced(run, run_id)
    yield from task_spans(run, tasks, shift_ns, energy, (trace, root))
    parameters = Derived(run.summary).parameters
    operation = OPERATIONS.get(str(parameters.get("api")), "chat")
    model = model_name(run.summary)
    common: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": model,
        "gen_ai.provider.name": _provider(run),
        **{f"gen_ai.request.{name}": _number(parameters.get(name), name) for name in ("max_tokens", "temperature")},
    }
    for place, each in enumerate(queries):
        if not each.get("start_ns") or not each.get("end_ns"):
            continue
        told = common | energy | {key: _number(each.get(column), column) for key, column in NUMBERS.items()}
        if reason := each.get("finish_reason"):
            told["gen_ai.response.finish_reasons"] = [clean(reason, 40)]
        if first := each.get("first_token_ns"):
            told["gen_ai.response.time_to_first_chunk"] = (first - each["start_ns"]) / 1e9
        told["ipw.query.id"] = each.get("query_id")
        failed = each.get("status") not in (None, "ok")
        if failed:
            told["error.type"] = str(each.get("status"))
        span = identity(f"{run_id}/{place}", 8)
        mine = tasks.get(str(each.get("task")), Traced(trace, root))
        if mine.trace != trace:
            told |= {"gen_ai.conversation.id": each["task"], "ipw.turn": each.get("turn")}
        moments = (each["start_ns"] + shift_ns, each["end_ns"] + shift_ns)
        error = clean(each.get("error") or "failed", 200) if failed else None
        yield span_of(mine.trace, span, mine.span, f"{operation} {clean(model)}", CLIENT, moments, told, error)


def _queries(run: StoredRun) -> list[dict[str, Any]]:
    table = None if run.run is None else run.run.read_table("queries", COLUMNS)
    return [] if table is None else list(table.to_pylist())


def _shift_ns(run: StoredRun) -> int:
    """From the run's clock to the wall clock."""
    anchors = run.manifest.get("anchors")
    first = anchors[0] if isinstance(anchors, list) and anchors else None
    if not (isinstance(first, list) and len(first) == 2 and all(isinstance(each, int) for each in first)):
        raise UsageError(
            f"{run.summary.get('run_id')} does not say when it was", "only runs that were measured have a clock"
        )
    return int(first[1] - first[0])


def _energy(run: StoredRun) -> dict[str, Any]:
    return {
        "ipw.energy.basis": run.summary.get("basis"),
        "ipw.energy.method": run.summary.get("method"),
        "ipw.energy.estimated": run.estimated,
        "ipw.valid": bool(run.summary.get("valid")),
    }


def _provider(run: StoredRun) -> str:
    """Which engine answered, which conventions call a provider."""
    model, parameters = Recorded(run.manifest).model, Derived(run.summary).parameters
    told = model.get("engine") or parameters.get("engine")
    return clean(told, 40) if isinstance(told, str) else "openai_compatible"


def _number(value: object, column: str) -> float | int | None:
    told = number(value)
    return None if told is None else int(told) if column in WHOLE else told
