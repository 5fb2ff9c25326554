"""Tables of a language-model run: every query and every phase of it, with its share of the energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.attribution.beside import Beside
from ipw.attribution.queries.arrivals import read_arrivals
from ipw.attribution.queries.engine_seen import engine_seen
from ipw.attribution.queries.journal_table import ARRIVALS_AT, journal_tables, queries_of, query_columns, query_tables
from ipw.attribution.queries.phases import DECODE, MISSING, PREFILL, Timing, first_owners, query_spans
from ipw.attribution.queries.server_counts import server_counts
from ipw.attribution.queries.windows import attribute_windows, measured_windows
from ipw.attribution.run import MEASURED, Attributed, placed, straight_energy, unread
from ipw.energy.attribution import Share
from ipw.energy.timeline import Spans
from ipw.runs.checks.tries import APART, replaced
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.runs.scores import newest_scores

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Columns = dict[str, Floats]
"""By name; NaN where unknown."""

JOULES = ("energy_j", "energy_low_j", "energy_high_j", "net_energy_j")
COUNTED = (*Timing._fields, ARRIVALS_AT)
SPANS_AT_ONCE = 1 << 18
PARSED_BYTES = 256 << 20
"""A journal of no more is parsed once, and kept until its table is written."""


class Finished(NamedTuple):
    """What the attribution needs of a journal: of the queries, in its order, and of all else that was asked."""

    timing: Timing
    others: Timing
    """Warm-up, probes, tries that a later one replaced and what was cut off: they draw power, and are in no table."""
    arrivals_at: Ints
    """Of the queries and then of the others: where in `arrivals.bin` the chunks of each stand, or `MISSING`."""
    query_id: pa.ChunkedArray
    kept: npt.NDArray[np.bool_]
    """Which queries of the journal these are."""
    parsed: Sequence[pa.Table] | None = None
    """All queries of the journal, in pieces, where it is short enough to stay in memory."""


class BesideDrew(NamedTuple):
    """What the owners of activities beside the requests drew."""

    share: Share
    known: npt.NDArray[np.bool_]
    """Whether readings surround all that each owner did."""


def derive_lm(run: RunDir) -> None:
    """Write `queries.parquet` and `spans.parquet`, and the attribution's totals to the manifest."""
    derive_queries(run, read_finished(run))


def derive_queries(
    run: RunDir, finished: Finished, beside: Beside | None = None, more: Mapping[str, pa.Array] | None = None
) -> BesideDrew | None:
    """Do the same with what went on `beside` the queries that count, and with `more` columns of these.

    Returns what those activities drew, where there are any and it is known.
    """
    import pyarrow as pa

    recorded = Recorded.of(run)
    timing = finished.timing
    asked = Timing(*_joined([timing, finished.others]))
    chunks, kept = read_arrivals(run, asked, finished.arrivals_at)
    counts = server_counts(run, asked)
    run.update_manifest(arrivals=kept, **({"server_counts": counts} if counts else {}))
    engine = engine_seen(asked, chunks)
    del chunks
    everything = query_spans(asked)
    spans = first_owners(everything, timing.start_ns.size)
    marked = list(run.journal("span"))
    windows = measured_windows(marked, timing)
    # Knowing of the warm-up before it: what that drew is no whim of idle power.
    attributed = attribute_windows(recorded, everything, windows, engine, beside) if windows else None
    drew = None
    if attributed and beside:
        drew = _drew(recorded, beside, attributed, everything.owners or 0)
        attributed = attributed.first(everything.owner.size, everything.owners or 0)
        beside_j = float(drew.share.energy_j.sum())
        attributed.facts["attributed_j"] -= beside_j
        attributed.facts["beside_j"] = beside_j
    if attributed:
        failed_tries_j = float(attributed.owners.energy_j[timing.start_ns.size :].sum())
        attributed.facts["attributed_j"] -= failed_tries_j
        attributed.facts["failed_tries_j"] = failed_tries_j
        attributed = attributed.first(spans.owner.size, timing.start_ns.size)
    run.update_manifest(
        attribution=attributed.facts if attributed else None,
        attribution_reason=None if attributed else unread(recorded) if windows else "the measured window holds nothing",
    )
    scores = newest_scores(run, finished.kept.size)
    run.update_manifest(scoring=scores[1] if scores else None)
    columns = query_energy(timing, spans, attributed)
    columns |= {name: column[finished.kept] for name, column in scores[0]._asdict().items()} if scores else {}
    run.write_parts("queries", query_parts(run, columns, finished.kept, more, finished.parsed))
    run.write_parts("spans", span_parts(recorded, finished.query_id, marked, spans, attributed))
    pa.default_memory_pool().release_unused()
    return drew


def _drew(recorded: Recorded, beside: Beside, attributed: Attributed, queries: int) -> BesideDrew:
    whole = attributed.owners
    net = whole.net_energy_j
    share = Share(
        whole.energy_j[queries:], whole.low_j[queries:], whole.high_j[queries:], None if net is None else net[queries:]
    )
    known = np.ones(beside.owners, bool)
    for curve in recorded.total_curves.values():
        np.logical_and.at(known, beside.owner, placed(curve, beside.start_ns, beside.end_ns))
    return BesideDrew(share, known)


def read_finished(run: RunDir) -> Finished:
    """Read times, counts and names of all queries that count, and times and counts of what else was asked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = np.array(sorted(replaced(run)), np.int64)
    queries, others, ids, kept = [], [], [], []
    columns = query_columns(run)
    parsed: list[pa.Table] | None = [] if run.journal_bytes() <= PARSED_BYTES else None
    at = 0
    for whole in journal_tables(run):
        if parsed is not None:
            parsed.append(queries_of(whole, columns))
        table = whole.select(["kind", "query_id", *COUNTED])
        mine = table.filter(pc.equal(table["kind"], "query"))
        counts = ~np.isin(np.arange(at, at + mine.num_rows), gone)
        others.append(_counted(table.filter(pc.is_in(table["kind"], pa.array(APART)))))
        if not counts.all():
            others.append(_counted(mine.filter(pa.array(~counts))))
            mine = mine.filter(pa.array(counts))
        queries.append(_counted(mine))
        ids.extend(mine["query_id"].chunks)
        kept.append(counts)
        at += counts.size
    pa.default_memory_pool().release_unused()
    *timing, queries_at = _joined(queries)
    *apart, others_at = _joined(others)
    return Finished(
        Timing(*timing), Timing(*apart), np.concatenate([queries_at, others_at]), pa.chunked_array(ids, pa.string()),
        np.concatenate(kept), parsed,
    )  # fmt: skip


def _counted(table: pa.Table) -> list[Ints]:
    return [table[name].fill_null(MISSING).to_numpy() for name in COUNTED]


def _joined(pieces: Sequence[Sequence[Ints]]) -> list[Ints]:
    return [np.concatenate(column) for column in zip(*pieces, strict=True)]


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


def query_parts(
    run: RunDir,
    columns: Columns,
    kept: npt.NDArray[np.bool_],
    more: Mapping[str, pa.Array] | None = None,
    parsed: Sequence[pa.Table] | None = None,
) -> Iterator[pa.Table]:
    """`queries.parquet`, piece by piece: what the journal has of those `kept`, and `columns`, which overrule it."""
    at = read = 0
    for whole in query_tables(run) if parsed is None else parsed:
        mine = kept[read : read + whole.num_rows]
        part = whole if mine.all() else whole.filter(mine)
        table = part.drop_columns([name for name in part.column_names if name in columns or name in (more or {})])
        for name, column in _rows(columns, at, at + part.num_rows).items():
            table = table.append_column(name, column)
        for name, array in (more or {}).items():
            table = table.append_column(name, array.slice(at, part.num_rows))
        at, read = at + part.num_rows, read + whole.num_rows
        yield table


def span_parts(
    recorded: Recorded,
    query_id: pa.ChunkedArray,
    marked: list[dict[str, Any]],
    spans: Spans,
    attributed: Attributed | None,
) -> Iterator[pa.Table]:
    """`spans.parquet`, piece by piece: what was marked, and below the measured window the queries' phases, by id."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: [span.get(name) for span in marked] for name in ("name", "phase", "start_ns", "end_ns")
    }
    if attributed and marked:
        columns |= dict(zip(JOULES, straight_energy(recorded, columns["start_ns"], columns["end_ns"]), strict=False))
    yield _span_table(columns | {"span_id": range(len(marked))}, len(marked))

    windows = sorted((span["start_ns"], i) for i, span in enumerate(marked) if span["phase"] == MEASURED)
    energy: Columns = {}
    if attributed:
        share = attributed.spans
        values = {"energy_j": share.energy_j, "energy_low_j": share.low_j, "energy_high_j": share.high_j}
        values |= {} if share.net_energy_j is None else {"net_energy_j": share.net_energy_j}
        energy = {name: np.where(attributed.covered, column, np.nan) for name, column in values.items()}
    for first in range(0, spans.owner.size, SPANS_AT_ONCE):
        rows = slice(first, min(first + SPANS_AT_ONCE, spans.owner.size))
        part = {
            "span_id": np.arange(first, rows.stop) + len(marked),
            "parent_id": _last_before(windows, spans.start_ns[rows]),
            "name": query_id.take(pa.array(spans.owner[rows])),
            "phase": pa.array(spans.phases).take(pa.array(spans.phase[rows])),
            "start_ns": spans.start_ns[rows],
            "end_ns": spans.end_ns[rows],
            "tokens": spans.work[rows].astype(np.int64),
        }
        yield _span_table(part | _rows(energy, first, rows.stop), rows.stop - first)


def _last_before(windows: list[tuple[int, int]], start_ns: npt.NDArray[np.int64]) -> pa.Array:
    """The number of the last window that begins before each moment; null before the first."""
    import pyarrow as pa

    place = np.searchsorted([begin for begin, _ in windows], start_ns, "right") - 1
    numbers = np.array([number for _, number in windows] or [0], np.int64)
    return pa.array(numbers[place], pa.int64(), mask=place < 0)


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
