"""The queries of a journal as Arrow tables, a piece at a time, so that a run of any length fits in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ipw.rundir import JOURNAL, RunDir

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 16 << 20

TEXTS = ("query_id", "subject", "status", "error", "finish_reason", "tokens_source", "response", "reasoning", "answer")
WHOLES = ("prompt_tokens", "completion_tokens", "cached_tokens", "start_ns", "first_token_ns", "end_ns", "concurrency")
REALS = ("score",)


def query_tables(run: RunDir, kind: str = "query") -> Iterator[pa.Table]:
    """Tables of the finished queries (or `warmup`s) in the order of the journal: at least one, maybe empty.

    What is absent is null. Lines that are no whole record, as a crash leaves them, are left out.
    """
    import pyarrow.compute as pc

    schema = _schema()
    columns = schema.names[1:]
    yield schema.empty_table().select(columns)
    for block in _blocks(run):
        table = _parse(block, schema)
        yield table.filter(pc.equal(table["kind"], kind)).select(columns)


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {name: pa.string() for name in ("kind", *TEXTS)}
    types |= {name: pa.int64() for name in WHOLES} | {name: pa.float64() for name in REALS}
    return pa.schema(list(types.items()))


def _blocks(run: RunDir) -> Iterator[bytes]:
    """Whole lines, many at once."""
    path = run.path / JOURNAL
    if not path.is_file():
        return
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block + file.readline()


def _parse(block: bytes, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as pj

    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        return pj.read_json(BytesIO(block), pj.ReadOptions(block_size=len(block) + 1), parsing)
    except pa.ArrowInvalid:  # some line is torn: one by one
        return pa.Table.from_pylist([record for line in block.splitlines() if (record := _record(line))], schema)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
