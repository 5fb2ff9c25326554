"""Run directories of the harness that the paper was made with (HazyResearch/intelligence-per-watt): two layouts.

`ipw profile` there leaves a data set in Arrow files, whose column `model_metrics` holds a record per query and model,
and a `summary.json` with `profiler_config`; `ipw run` leaves `traces.jsonl` and a `summary.json` with `totals`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ipw.errors import UsageError
from ipw.foreign_text import read_text
from ipw.interchange.documents import moment
from ipw.interchange.imported import OF_MODELS, Imported, metrics_of, word
from ipw.metrics.definitions import Definition
from ipw.metrics.metric import mapping, number

SOURCE = "intelligence-per-watt"
SUMMARY = "summary.json"
CAVEAT = (
    "a query's energy is the GPU's last reading less the first one inside it, so up to a period at each end is missing"
)
OVERLAP = "queries overlapped, and each was given the energy of the whole device"
COPIED = "was the folder copied whole?"


class Query(NamedTuple):
    """One query, as far as it is told; joules of 0 say that the counter was not read twice, and are none."""

    correct: bool | None
    energy_j: float | None
    latency_s: float | None
    ttft_s: float | None
    prompt_tokens: float | None
    output_tokens: float | None


def read_upstream(folder: Path) -> list[Imported] | None:
    """Read a folder, a run for each model; `None` for another's. Raises UsageError for a damaged one."""
    try:
        summary = mapping(json.loads(read_text(folder / SUMMARY)))
    except (OSError, ValueError, RecursionError):
        return None
    config = mapping(summary.get("config")) or mapping(summary.get("profiler_config"))
    overlapping = (number(config.get("concurrency")) or number(config.get("max_concurrency")) or 1) > 1
    if {"profiler_config", "total_queries"} <= set(summary):
        found = _profile(folder, word(summary.get("model")) or "model")
    elif {"config", "totals", "efficiency"} <= set(summary):
        found = {word(config.get("model")) or "model": list(_traces(folder))}
    else:
        return None
    if not any(found.values()):
        raise UsageError(f"{folder} holds no queries", COPIED)
    return [_run(model, queries, summary, overlapping=overlapping) for model, queries in found.items() if queries]


def _run(model: str, queries: Sequence[Query], summary: Mapping[str, Any], *, overlapping: bool) -> Imported:
    dataset = word(summary.get("dataset")) or word(mapping(summary.get("config")).get("dataset"))
    values, why = _metrics([q._replace(energy_j=None) for q in queries] if overlapping else queries)

    def absent(definition: Definition) -> str:
        return OVERLAP if overlapping and definition.is_energy else why(definition)

    system = mapping(summary.get("system_info"))
    return Imported(
        source=SOURCE,
        version=word(mapping(summary.get("versions")).get("ipw")),
        kind="lm",
        name=model,
        metrics=metrics_of(OF_MODELS, values, absent, n=len(queries)),
        caveat=CAVEAT,
        started=moment(summary.get("generated_at")),
        model={"name": model},
        parameters={"dataset": dataset},
        host={"name": word(system.get("host_name")), "cpu": word(system.get("cpu_brand")),
              "gpu": word(mapping(summary.get("gpu_info")).get("name"))},
        told={key: value for key, value in summary.items() if key in {"hardware_label", "totals", "efficiency"}},
    )  # fmt: skip


# --- the two layouts ------------------------------------------------------------------------------------------------


def _profile(folder: Path, model: str) -> dict[str, list[Query]]:
    """Queries of each model, from the Arrow files."""
    import pyarrow as pa

    found: dict[str, list[Query]] = {}
    paths = sorted(folder.glob("data-*.arrow"))
    if not paths:
        raise UsageError(f"{folder} holds no data-*.arrow", COPIED)
    for path in paths:
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as batches:
                records = [r for batch in batches for r in batch.column("model_metrics").to_pylist()]
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            what = str(error).partition("\n")[0][:120]
            raise UsageError(f"{path} cannot be read: {what}", "git lfs pull, where it is a pointer") from None
        for record in records:
            for name, told in mapping(record).items():
                if isinstance(told, dict):
                    found.setdefault(name or model, []).append(_profiled(told))
    return found


def _profiled(told: Mapping[str, Any]) -> Query:
    energy, latency, tokens, evaluation = (
        mapping(told.get(part)) for part in ("energy_metrics", "latency_metrics", "token_metrics", "evaluation")
    )
    correct = evaluation.get("is_correct")
    return Query(
        correct if isinstance(correct, bool) else None,
        number(energy.get("per_query_joules")),
        number(latency.get("total_query_seconds")),
        number(latency.get("time_to_first_token_seconds")),
        number(tokens.get("input")),
        number(tokens.get("output")),
    )


def _traces(folder: Path) -> Iterator[Query]:
    """Queries of the agentic layout, a line each."""
    path = folder / "traces.jsonl"
    try:
        lines = [json.loads(line) for line in read_text(path).splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "export the run with jsonl, and copy it whole") from None
    for line in map(mapping, lines):
        turns = [mapping(turn) for turn in line.get("turns") or []] if isinstance(line.get("turns"), list) else []
        energy_j = number(line.get("query_gpu_energy_joules"))
        each = [number(turn.get("gpu_energy_joules")) for turn in turns]
        correct = line.get("is_resolved")
        yield Query(
            correct if isinstance(correct, bool) else None,
            energy_j if energy_j is not None else _total(each),
            number(line.get("total_wall_clock_s")),
            None,
            _total([number(turn.get("input_tokens")) for turn in turns]),
            _total([number(turn.get("output_tokens")) for turn in turns]),
        )


# --- metrics --------------------------------------------------------------------------------------------------------


def _metrics(queries: Sequence[Query]) -> tuple[dict[str, float | None], Callable[[Definition], str]]:
    """Every metric that all queries together tell, and why another is absent: a mean over some of them is not one."""
    n = len(queries)
    right = [q.correct for q in queries if q.correct is not None]
    energy = np.array([q.energy_j for q in queries if q.energy_j and q.energy_j > 0])
    times = np.array([q.latency_s for q in queries if q.latency_s and q.latency_s > 0])
    first = np.array([q.ttft_s for q in queries if q.ttft_s and q.ttft_s > 0])
    out = _total([q.output_tokens for q in queries]) or None
    both = _total([x for q in queries for x in (q.prompt_tokens, q.output_tokens)]) or None
    accuracy = sum(right) / n if len(right) == n else None
    values: dict[str, float | None] = {"queries": float(n), "accuracy": accuracy}
    for name, seconds in (("latency", times), ("ttft", first)):
        if len(seconds) == n:
            values |= {f"{name}_p{q}_s": float(np.quantile(seconds, q / 100)) for q in (50, 90, 99)}
    if len(energy) == n:
        total_j = float(energy.sum())
        power_w = float((energy / times).mean()) if len(times) == n else None
        values |= {
            "energy_per_query_j": total_j / n,
            "energy_per_correct_j": total_j / sum(right) if accuracy else None,
            "energy_per_output_token_j": total_j / out if out else None,
            "energy_per_token_j": total_j / both if both else None,
            "mean_query_power_w": power_w,
            "accuracy_per_joule": None if accuracy is None else accuracy / (total_j / n),
            "accuracy_per_watt": None if accuracy is None or power_w is None else accuracy / power_w,
        }

    def why(definition: Definition) -> str:
        if definition.name in {"prefill_energy_per_token_j", "decode_energy_per_token_j"}:
            return "phases are not imported"
        if {"score", "right"} & {definition.numerator, definition.denominator} and len(right) < n:
            return f"{n - len(right)} of {n} answers were not judged"
        if definition.numerator and definition.is_energy and len(energy) < n:
            return f"{n - len(energy)} of {n} queries have no joules: fewer than two readings fell into each"
        if definition.name.startswith(("latency", "ttft")) or definition.numerator:
            return "not told of every query"
        return "it tells of each query, and not of the run as a whole"

    return values, why


def _total(values: Sequence[float | None]) -> float | None:
    """Sum where all are known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
