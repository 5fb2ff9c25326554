"""The one reader of a run's tables (Parquet): what is read has the columns and types that the rest computes with.

A table may be cut, of another run, or written by anybody. Arrow is given open files: it would take a path with a colon
for a URI, and one that begins with ~ for a home.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import UsageError
from ipw.runs.agent_tables import COSTS, OF_QUERIES, TASKS, TOOLS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

HINT = "was the run copied whole? `ipw report RUN --recompute` makes all tables but power.parquet anew"
MOST_ROWS_A_BYTE = 1000
"""Readings, questions and steps differ from one another: a file that promises more rows than this is no table of ours,
and would fill the memory."""
FEW_ROWS = 1 << 20

TEXT, WHOLE, REAL, TRUTH, WHOLES = "string", "int64", "double", "bool", "list<element: int64>"
ENERGY = dict.fromkeys(("energy_j", "energy_low_j", "energy_high_j", "net_energy_j"), REAL)
RATE = {"low": REAL, "high": REAL}
TABLES: Mapping[str, Mapping[str, str]] = {
    "power": {"t_ns!": WHOLE, "channel!": TEXT, "value!": REAL, "status!": "uint16", "uncertainty_ns!": "uint32"},
    "queries": {
        **dict.fromkeys(("query_id", "subject", "status", "error", "failure", "finish_reason", "tokens_source",
                         "usage_doubt", "question", "response", "reasoning", "answer"), TEXT),
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens", "start_ns", "first_token_ns", "end_ns",
                         "concurrency", "logprob_tokens", "last_token_ns", "scheduled_ns", "http_status", "chunks",
                         "tool_calls"), WHOLE),
        **dict.fromkeys(("score", "logprob_sum", "prefill_energy_j", "decode_energy_j", "power_w"), REAL),
        **dict.fromkeys(("forwards", "committed", "computed", "computable", "answer_length", "spared", "agrees"), REAL),
        "parsed": REAL, "graded": REAL, "final": REAL, "itl_us": WHOLES, "itl_counts": WHOLES, **ENERGY, **OF_QUERIES,
    },
    "tasks": TASKS,
    "tools": TOOLS,
    "costs": COSTS,
    "spans": {"name": TEXT, "phase!": TEXT, "start_ns!": WHOLE, "end_ns!": WHOLE, "span_id": WHOLE, "parent_id": WHOLE,
              "tokens": WHOLE, "status": TEXT, "error": TEXT, "rank": WHOLE, **ENERGY},
    "steps": {"method!": TEXT, "step": WHOLE, "start_ns": WHOLE, "end_ns": WHOLE, **ENERGY, "loss!?": REAL,
              "energy_j!?": REAL},
    "diffusion_steps": {"step!": WHOLE, "running!": WHOLE, "mean_committed": REAL, "mean_computed": REAL,
                        "mean_masked": REAL, "mean_masked_of_all": REAL, "mean_confidence": REAL},
    "routing_srp": {"level!": TEXT, "index!": WHOLE, "name": TEXT, "segment_length!": WHOLE, "srp!": REAL,
                    "size_ratio!": REAL, **RATE},
    "routing_cache": {"level!": TEXT, "index!": WHOLE, "name": TEXT, "policy!": TEXT, "segment_length": WHOLE,
                      "corrected!": TRUTH, "cache_size!": WHOLE, "cache_ratio!": REAL, "hit_rate!": REAL, **RATE},
    "routing_findings": {"finding!": TEXT, "domain": TEXT, "value!": REAL, "text!": TEXT, **RATE},
}  # fmt: skip
"""Columns that are computed with, by table, each with its type in Arrow. One that ends in `!` must be there, without
gaps; in `!?`, with some."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a table. Raises UsageError, here or inside the block, where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as raw, pq.ParquetFile(raw, page_checksum_verification=True) as file:
            if file.metadata.num_rows > max(FEW_ROWS, MOST_ROWS_A_BYTE * path.stat().st_size):
                raise UsageError(f"{path} promises {file.metadata.num_rows:,} rows, which cannot be in it", HINT)
            yield file
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        why = str(error).partition("\n")[0][:200] or type(error).__name__
        raise UsageError(f"{path} cannot be read: {why}", HINT) from None


def typed(table: pa.Table, path: Path, wanted: Sequence[str] | None = None) -> pa.Table:
    """Give the columns of a table their types; of those in `wanted`, or else all, the needed ones must be there.

    Raises UsageError where a column is missing or of another type.
    """
    import pyarrow as pa

    for entry, kind in TABLES.get(path.stem, {}).items():
        name = entry.rstrip("!?")
        if wanted is not None and name not in wanted:
            continue
        if name not in table.column_names:
            if entry != name:
                raise UsageError(f"{path} has no column {name}", HINT)
            continue
        column = table[name]
        if entry.endswith("!") and column.null_count:
            raise UsageError(f"{path}: the column {name} has gaps", HINT)
        if _differs(column.type, kind):
            try:
                column = column.cast(_type(kind))
            except pa.ArrowException:
                raise UsageError(f"{path}: the column {name} holds {column.type}, not {kind}", HINT) from None
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _differs(found: Any, kind: str) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    return str(found) != kind


def _type(kind: str) -> Any:
    import pyarrow as pa

    return pa.list_(pa.int64()) if kind == WHOLES else pa.type_for_alias(kind)
