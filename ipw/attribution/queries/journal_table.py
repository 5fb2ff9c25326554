"""The queries of a journal as Arrow tables, a piece at a time, so that a run of any length fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ipw.runs.checks.tries import APART
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL, blocks
from ipw.runs.run_shapes import record_of
from ipw.shapes import COUNT, MOMENT

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 16 << 20
PARSED_BYTES = 1 << 20
"""Of a block, parsed by one thread: the other cores have the others."""

TEXTS = (
    "query_id", "subject", "status", "error", "failure", "finish_reason", "tokens_source", "usage_doubt", "question",
    "response", "reasoning", "answer", "task",
)  # fmt: skip
WHOLES = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "start_ns", "first_token_ns", "end_ns", "concurrency",
    "logprob_tokens", "last_token_ns", "scheduled_ns", "http_status", "chunks", "tool_calls", "conversation", "turn",
)  # fmt: skip
REALS = ("score", "logprob_sum")
TRUTHS = ("parsed", "graded", "final")
LISTS = ("itl_us", "itl_counts")
TURNS = ("task", "conversation", "turn", "graded", "final")
"""Of `queries.parquet` too, where the run holds conversations."""
COLUMNS = tuple(name for name in (*TEXTS, *WHOLES, *REALS, *TRUTHS, *LISTS) if name not in TURNS)
"""Of `queries.parquet`."""
ARRIVALS_AT = "arrivals"
"""Where in `arrivals.bin` the chunks of a request stand."""


NEEDED = ("query_id", "start_ns", "end_ns")


def query_tables(run: RunDir) -> Iterator[pa.Table]:
    """Tables of the finished queries in the order of the journal: at least one, maybe empty."""
    columns = query_columns(run)
    for table in journal_tables(run):
        yield queries_of(table, columns)


def query_columns(run: RunDir) -> list[str]:
    """Name the columns of a run's `queries.parquet` that its journal has."""
    return [*COLUMNS, *(TURNS if run.manifest().get("turns") else ())]


def queries_of(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Keep the finished queries of a table of all records."""
    import pyarrow.compute as pc

    return table.filter(pc.equal(table["kind"], "query")).select(columns)


def journal_tables(run: RunDir) -> Iterator[pa.Table]:
    """Tables of all records, with their `kind` and what is known of a query: at least one, maybe empty.

    What is absent is null. Lines that are no whole record, as a crash leaves them, are left out: each time the same
    ones, since all columns are looked at.
    """
    schema = _schema()
    yield schema.empty_table()
    for block in _blocks(run):
        yield _parse(block, schema)


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {name: pa.string() for name in ("kind", *TEXTS)} | {name: pa.int64() for name in WHOLES}
    types |= {name: pa.float64() for name in REALS} | {name: pa.bool_() for name in TRUTHS}
    types |= {name: pa.list_(pa.int64()) for name in LISTS} | {ARRIVALS_AT: pa.int64()}
    return pa.schema(list(types.items()))


def _blocks(run: RunDir) -> Iterator[bytes]:
    """Whole lines, many at once."""
    path = run.path / JOURNAL
    if path.is_file():
        yield from blocks(path, BLOCK_BYTES)


def _parse(block: bytes, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for size in (PARSED_BYTES, len(block) + 1):  # a line must fit into what one thread parses
        try:
            table = pj.read_json(BytesIO(block), pj.ReadOptions(block_size=size), parsing)
        except pa.ArrowInvalid:
            continue
        if _fits(table):
            return table
        break
    # some line is torn, or holds what cannot be: one by one
    records = [record for line in block.splitlines() if (record := record_of(line)) and _says(record)]
    return pa.Table.from_pylist(records, schema)


def _says(record: Mapping[str, Any]) -> bool:
    """Whether a line has what it says nothing without: of a question its times, and of one that counts its name."""
    needed = NEEDED if record["kind"] == "query" else NEEDED[1:] if record["kind"] in APART else ()
    return all(record.get(name) is not None for name in needed)


def _fits(table: pa.Table) -> bool:
    """Whether all of a block is what `run_shapes` lets through: numbers, the order of moments, names and times."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in table.column_names:
        if name in WHOLES or name == ARRIVALS_AT:
            ends = pc.min_max(table[name])
            most = MOMENT.stop if name.endswith("_ns") else COUNT.stop
            if ends["min"].is_valid and not 0 <= ends["min"].as_py() <= ends["max"].as_py() < most:
                return False
        if name in REALS and pc.all(pc.is_finite(table[name])).as_py() is False:
            return False
    for first, later in combinations(("start_ns", "first_token_ns", "end_ns"), 2):
        if pc.any(pc.less(table[later], table[first])).as_py():
            return False
    queries = pc.equal(table["kind"], "query")
    asked = pc.is_in(table["kind"], pa.array(("query", *APART)))
    kinds = (queries if name == NEEDED[0] else asked for name in NEEDED)
    return all(
        not pc.any(pc.and_(mine, pc.is_null(table[name]))).as_py() for mine, name in zip(kinds, NEEDED, strict=True)
    )
