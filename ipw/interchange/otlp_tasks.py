"""Tasks of agents as traces: a span for the task, one for each tool, and the requests as its other children.

Names are those of OpenTelemetry's conventions for agents: `invoke_agent` and `execute_tool`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ipw.interchange.exports import StoredRun
from ipw.interchange.otlp_spans import INTERNAL, identity, span_of
from ipw.metrics.metric import number
from ipw.printable import clean

ENERGY = ("energy_j", "energy_low_j", "energy_high_j", "net_energy_j")
OF_TASK = (*ENERGY, "turn_energy_j", "tool_energy_j", "pause_energy_j", "failed_energy_j", "score")
COUNTS = ("turns", "tool_calls", "requests", "failed")
TOKENS = {
    "gen_ai.usage.input_tokens": "prompt_tokens",
    "gen_ai.usage.output_tokens": "completion_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens",
}


class Traced(NamedTuple):
    """Where the requests of a task hang."""

    trace: str
    span: str


def traced(run: StoredRun, run_id: str) -> dict[str, Traced]:
    """Give each task a trace of its own; none where the run is no agent's."""
    names = [str(row["task"]) for row in _rows(run, "tasks")]
    return {name: Traced(identity(f"{run_id}/task/{name}", 16), identity(f"{run_id}/task/{name}", 8)) for name in names}


def task_spans(
    run: StoredRun, tasks: Mapping[str, Traced], shift_ns: int, common: Mapping[str, Any], window: tuple[str, str]
) -> Iterator[dict[str, Any]]:
    """Make the spans of tasks, linked to that of the window, and of the calls of tools in them."""
    for row in _rows(run, "tasks"):
        mine = tasks[str(row["task"])]
        told = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": row["task"],
            **common,
            **{f"ipw.{name}": number(row.get(name)) for name in OF_TASK},
            **{f"ipw.{name}": row.get(name) for name in COUNTS},
            **{key: row.get(column) for key, column in TOKENS.items()},
        }
        moments = (row["start_ns"] + shift_ns, row["end_ns"] + shift_ns)
        name = f"invoke_agent {clean(row['task'], 80)}"
        yield span_of(mine.trace, mine.span, None, name, INTERNAL, moments, told, link=window)
    for place, row in enumerate(_rows(run, "tools")):
        found = tasks.get(str(row["task"]))
        if found is None or row["start_ns"] is None or row["end_ns"] is None:
            continue
        told = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": row["tool"],
            "gen_ai.tool.call.id": row["call_id"],
            "gen_ai.conversation.id": row["task"],
            "ipw.turn": row["turn"],
            "ipw.repeated": row["repeated"],
            **common,
            **{f"ipw.{name}": number(row.get(name)) for name in ENERGY},
        }
        failed = bool(row["failed"])
        told |= {"error.type": "tool_error"} if failed else {}
        moments = (row["start_ns"] + shift_ns, row["end_ns"] + shift_ns)
        name = f"execute_tool {clean(row['tool'], 80)}"
        span = identity(f"{found.span}/tool/{place}", 8)
        error = "the tool failed" if failed else None
        yield span_of(found.trace, span, found.span, name, INTERNAL, moments, told, error)


def _rows(run: StoredRun, table: str) -> list[dict[str, Any]]:
    found = None if run.run is None else run.run.read_table(table)
    return [] if found is None else list(found.to_pylist())
