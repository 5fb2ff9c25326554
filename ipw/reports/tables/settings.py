"""What was measured how, as columns of a table: parameters, facts of the model, data set, host and software."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.registry import workloads
from ipw.reports.names import NAMED
from ipw.runs.recorded import part_of

Summary = Mapping[str, Any]
WHO = (
    "run", "run_id", "label", "started", "workload", "model", "quantisation", "dataset", "basis", "method", "estimated",
    "valid", "rank", "status", "apart",
)  # fmt: skip
"""The first columns of every table."""
PARAMETER = "parameter_"
"""Stands before a parameter that has the name of another column."""
FACTS = ("model", "dataset", "host", "software")
"""Entries of a manifest whose facts are columns with the entry's name before them."""
QUESTIONS = "questions_"
FIRST = (
    "concurrency", "rate", "arrival", "limit", "scorer", "max_tokens", "temperature", "seed", "repetition", "api",
    "engine", "methods", "steps", "batch_size", "sequence_length", "device", "dtype",
    "model_name", "model_quantisation", "model_file_type", "model_parameters", "model_active_parameters",
    "model_architecture", "model_experts", "model_experts_per_token", "model_context_tokens", "model_bytes",
    "model_digest", "model_engine", "model_device",
    "host_name", "host_cpu", "host_cores", "host_threads", "host_memory_bytes", "host_system", "host_machine",
)  # fmt: skip
"""The order of what readers look for first; others follow by the alphabet."""
ENDS = ("", "_low", "_high")


def settings(summary: Summary) -> dict[str, Any]:
    """Name every setting of a run and give its value: a number, a text, a truth value, or `None`.

    What a parameter left to the engine or the data set is what was chosen (`concurrency`, `scorer`). Lists are texts
    with commas, objects are JSON.
    """
    run = Derived(summary)
    given = dict(run.parameters)
    if "concurrency" in given:
        given["concurrency"] = NAMED["concurrency"](run)
    if "scorer" in given:
        given["scorer"] = given["scorer"] or part_of(summary, "dataset").get("scorer")
    taken = {*WHO, *definitions_of(run.kind)}
    found = {f"{PARAMETER}{name}" if name in taken else name: _plain(value) for name, value in given.items()}
    for entry in FACTS:
        found |= {f"{entry}_{name}": _plain(value) for name, value in part_of(summary, entry).items()}
    return found


def in_order(columns: Iterable[str]) -> list[str]:
    """Put columns into the one order of all tables, whichever runs are in them."""
    metrics = {f"{name}{end}": place for place, name in enumerate(_metrics()) for end in ENDS}
    asked = list(dict.fromkeys(columns))
    return sorted(asked, key=lambda name: _place(name, asked.index(name), metrics))


def _place(name: str, given: int, metrics: Mapping[str, int]) -> tuple[int, int, str]:
    if name in WHO:
        return 0, WHO.index(name), ""
    if name.startswith(QUESTIONS):
        return 10, given, ""  # in the order in which they are counted
    if name in metrics:
        return 11, metrics[name], name.removesuffix("_high").removesuffix("_low") + str(_end(name))
    group = next((2 + i for i, entry in enumerate(FACTS) if name.startswith(f"{entry}_")), 1)
    return group, FIRST.index(name) if name in FIRST else len(FIRST), name


def _end(name: str) -> int:
    return next(i for i, end in ((1, "_low"), (2, "_high"), (0, "")) if name.endswith(end))


def _metrics() -> list[str]:
    return list(dict.fromkeys(name for kind in workloads() for name in definitions_of(kind)))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(each, str | int | float) for each in value):
        return ", ".join(map(str, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value
