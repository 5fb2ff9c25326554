"""Tables of a language-model run: every query and every phase of it, with its share of the energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.energy.timeline import Spans
from ipw.rundir import RunDir
from ipw.workloads.derive import MEASURED, Attributed, attribute_run, straight_energy
from ipw.workloads.lm.journal_table import query_tables
from ipw.workloads.lm.phases import DECODE, MISSING, PREFILL, Timing, query_spans

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Columns = dict[str, Floats]
"""By name; NaN where unknown."""

JOULES = ("energy_j", "energy_low_j", "energy_high_j", "net_energy_j")


def derive_lm(run: RunDir) -> None:
    """Write `queries.parquet` and `spans.parquet`, and the attribution's totals to the manifest."""
    timing = read_timing(run)
    spans = query_spans(timing)
    marked = list(run.journal("span"))
    window = measured_window(marked, timing)
    attributed = _attributed(run, timing, spans, window) if window else None
    run.update_manifest(
        attribution=attributed.facts if attributed else None,
        attribution_reason=None if window else "the measured window holds nothing",
    )
    run.write_parts("queries", query_parts(run, query_energy(timing, spans, attributed)))
    run.write_parts("spans", span_parts(run, marked, spans, attributed))


def read_timing(run: RunDir, kind: str = "query") -> Timing:
    """Read times and counts of all finished queries, or of the warm-up's."""
    tables = query_tables(run, kind)
    pieces = [[table[name].fill_null(MISSING).to_numpy() for name in Timing._fields] for table in tables]
    return Timing(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _attributed(run: RunDir, timing: Timing, spans: Spans, window: tuple[int, int]) -> Attributed | None:
    """Attribute the window to the queries, knowing of the warm-up before it: what it drew is no whim of idle power."""
    before = read_timing(run, "warmup")
    both = Timing(*(np.concatenate(columns) for columns in zip(timing, before, strict=True)))
    attributed = attribute_run(run, query_spans(both), window)
    return attributed and attributed.first(spans.owner.size, timing.start_ns.size)


def measured_window(marked: list[dict[str, Any]], timing: Timing) -> tuple[int, int] | None:
    """From the first to the last moment of measuring; where a crash left no mark, of the queries that finished."""
    measured = [span for span in marked if span.get("phase") == MEASURED]
    if measured:
        return min(int(s["start_ns"]) for s in measured), max(int(s["end_ns"]) for s in measured)
    if timing.start_ns.size:
        return int(timing.start_ns.min()), int(timing.end_ns.max())
    return None


def query_energy(timing: Timing, spans: Spans, attributed: Attributed | None) -> Columns:
    """Columns of `queries.parquet` in joules and watts; unknown where readings do not surround the query."""
    unknown = np.full(timing.start_ns.size, np.nan)
    phases = {"prefill_energy_j": PREFILL, "decode_energy_j": DECODE}
    if attributed is None:
        return dict.fromkeys((*JOULES, *phases, "power_w"), unknown)
    known = np.ones(unknown.size, bool)
    np.logical_and.at(known, spans.owner, attributed.covered)
    share = attributed.owners
    values = (share.energy_j, share.low_j, share.high_j, share.net_energy_j)
    columns = {name: unknown if value is None else value for name, value in zip(JOULES, values, strict=True)}
    for name, phase in phases.items():
        mine = spans.phase == phase
        columns[name] = unknown.copy()
        columns[name][spans.owner[mine]] = attributed.spans.energy_j[mine]
    seconds = (timing.end_ns - timing.start_ns) / 1e9
    columns["power_w"] = np.divide(share.energy_j, seconds, out=unknown.copy(), where=seconds > 0)
    return {name: np.where(known, column, np.nan) for name, column in columns.items()}


def query_parts(run: RunDir, energy: Columns) -> Iterator[pa.Table]:
    """`queries.parquet`, piece by piece: what the journal has, and the energy."""
    at = 0
    for part in query_tables(run):
        table = part
        for name, column in _rows(energy, at, at + part.num_rows).items():
            table = table.append_column(name, column)
        at += part.num_rows
        yield table


def span_parts(
    run: RunDir, marked: list[dict[str, Any]], spans: Spans, attributed: Attributed | None
) -> Iterator[pa.Table]:
    """`spans.parquet`, piece by piece: what was marked, and below the measured window the queries' phases, by id."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: [span[name] for span in marked] for name in ("name", "phase", "start_ns", "end_ns")
    }
    if attributed and marked:
        columns |= dict(zip(JOULES, straight_energy(run, columns["start_ns"], columns["end_ns"]), strict=False))
    yield _span_table(columns | {"span_id": range(len(marked))}, len(marked))

    parent = next((i for i, span in enumerate(marked) if span["phase"] == MEASURED), None)
    energy: Columns = {}
    if attributed:
        share = attributed.spans
        values = {"energy_j": share.energy_j, "energy_low_j": share.low_j, "energy_high_j": share.high_j}
        values |= {} if share.net_energy_j is None else {"net_energy_j": share.net_energy_j}
        energy = {name: np.where(attributed.covered, column, np.nan) for name, column in values.items()}
    first_query = first = 0
    for queries in query_tables(run):
        last = int(np.searchsorted(spans.owner, first_query + queries.num_rows))
        rows, count = slice(first, last), last - first
        part = {
            "span_id": np.arange(first, last) + len(marked),
            "parent_id": pa.array([parent] * count, pa.int64()),
            "name": queries["query_id"].take(pa.array(spans.owner[rows] - first_query)),
            "phase": pa.array(spans.phases).take(pa.array(spans.phase[rows])),
            "start_ns": spans.start_ns[rows],
            "end_ns": spans.end_ns[rows],
            "tokens": spans.work[rows].astype(np.int64),
        }
        yield _span_table(part | _rows(energy, first, last), count)
        first_query, first = first_query + queries.num_rows, last


def _rows(columns: Mapping[str, Floats], first: int, last: int) -> dict[str, pa.Array]:
    """Cut a piece out of columns; NaN is null."""
    import pyarrow as pa

    return {name: pa.array(column[first:last], pa.float64(), from_pandas=True) for name, column in columns.items()}


def _span_table(columns: Mapping[str, Any], count: int) -> pa.Table:
    """Make a piece of `spans.parquet`; columns that are not given are null."""
    import pyarrow as pa

    whole, text, real = pa.int64(), pa.string(), pa.float64()
    fields = {"span_id": whole, "parent_id": whole, "name": text, "phase": text, "start_ns": whole, "end_ns": whole}
    fields |= {"tokens": whole} | dict.fromkeys(JOULES, real)
    arrays = {name: columns.get(name, pa.nulls(count, kind)) for name, kind in fields.items()}
    return pa.table(arrays, schema=pa.schema(list(fields.items())))
