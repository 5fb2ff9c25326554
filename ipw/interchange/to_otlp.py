"""Runs as traces of OpenTelemetry, in OTLP's JSON: a span for the measured window, and one for each query in it.

Names are those of its conventions for generative AI; joules, for which it has none, stand under `ipw.`. Texts of
questions and answers are left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipw.errors import UsageError
from ipw.interchange.exports import StoredRun
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.names import model_name
from ipw.runs.recorded import Recorded

INTERNAL, CLIENT, FAILED = 1, 3, 2
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
WHOLE = {"prompt_tokens", "completion_tokens", "cached_tokens"}
COLUMNS = ("query_id", "start_ns", "first_token_ns", "end_ns", "status", "error", "finish_reason", *NUMBERS.values())


def as_otlp(runs: Sequence[StoredRun]) -> str:
    """Write one `TracesData`. Raises UsageError for a run that does not say when it was."""
    return json.dumps({"resourceSpans": [_resource(run) for run in runs]}, allow_nan=False) + "\n"


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
    return {"resource": {"attributes": _attributes(told)}, "scopeSpans": [spans]}


def _spans(run: StoredRun) -> Iterator[dict[str, Any]]:
    run_id = str(run.summary.get("run_id"))
    shift_ns, window = _shift_ns(run), Recorded(run.manifest).attribution.get("window_ns")
    trace, root = _identity(run_id, 16), _identity(f"{run_id}/window", 8)
    queries = _queries(run)
    ends = [(each["start_ns"], each["end_ns"]) for each in queries if each.get("start_ns") and each.get("end_ns")]
    if not isinstance(window, list) and not ends:
        raise UsageError(f"{run_id} does not say when it was", "only runs that were measured become traces")
    start, end = window if isinstance(window, list) else (min(a for a, _ in ends), max(b for _, b in ends))
    energy = _energy(run)
    metrics = {f"ipw.{name}": run.value(name) for name in WINDOW}
    name = clean(f"{Derived(run.summary).kind} {model_name(run.summary)}")
    yield _span(trace, root, None, name, INTERNAL, (start + shift_ns, end + shift_ns), energy | metrics)
    operation = OPERATIONS.get(str(Derived(run.summary).parameters.get("api")), "chat")
    model = model_name(run.summary)
    common = {"gen_ai.operation.name": operation, "gen_ai.request.model": model, "gen_ai.provider.name": _provider(run)}
    for place, each in enumerate(queries):
        if not each.get("start_ns") or not each.get("end_ns"):
            continue
        told = common | energy | {key: _number(each.get(column), column) for key, column in NUMBERS.items()}
        if reason := each.get("finish_reason"):
            told["gen_ai.response.finish_reasons"] = [clean(reason, 40)]
        if first := each.get("first_token_ns"):
            told["ipw.time_to_first_token_s"] = (first - each["start_ns"]) / 1e9
        told["ipw.query.id"] = each.get("query_id")
        failed = each.get("status") not in (None, "ok")
        if failed:
            told["error.type"] = str(each.get("status"))
        span = _identity(f"{run_id}/{place}", 8)
        moments = (each["start_ns"] + shift_ns, each["end_ns"] + shift_ns)
        error = clean(each.get("error") or "failed", 200) if failed else None
        yield _span(trace, span, root, f"{operation} {clean(model)}", CLIENT, moments, told, error)


def _span(
    trace: str, span: str, parent: str | None, name: str, kind: int, moments: tuple[int, int],
    told: Mapping[str, Any], error: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    start, end = moments
    found: dict[str, Any] = {
        "traceId": trace, "spanId": span, "name": name, "kind": kind, "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(end), "attributes": _attributes(told),
        "status": {} if error is None else {"code": FAILED, "message": error},
    }  # fmt: skip
    return found if parent is None else found | {"parentSpanId": parent}


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


def _identity(text: str, size: int) -> str:
    """Make an identity that the same run has again."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[: 2 * size]


def _number(value: object, column: str) -> float | int | None:
    told = number(value)
    return None if told is None else int(told) if column in WHOLE else told


def _attributes(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in told.items() if _told(value)]


def _told(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": clean(value)}
