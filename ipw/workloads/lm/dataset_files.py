"""Rows of data-set files, each with the place at which a person finds it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ipw.errors import UsageError

Row = tuple[str, dict[str, Any]]
"""Where it is (`line 3`), and its values by column."""


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Rows of a file with one JSON object a line; blank lines are left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except UnicodeDecodeError:
                raise _not_utf8(path, f"line {number}") from None
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", "it is nested too deep")
                raise UsageError(f"{path}, line {number} is no JSON: {reason}", "one JSON object a line") from None
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number} is no JSON object", 'like {"prompt": "2+2", "answer": "4"}')
            yield f"line {number}", row


def csv_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header line; every value is text, and `choices` a JSON list."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                where = f"line {reader.line_num}"
                if None in row:
                    raise UsageError(f"{path}, {where} has more values than the header", "quote values with commas")
                if row.get("choices"):
                    row["choices"] = _json_list(row["choices"], f"{path}, {where}")
                yield where, row
        except UnicodeDecodeError:
            raise _not_utf8(path, f"after line {reader.line_num}") from None
        except csv.Error as error:
            raise UsageError(f"{path}, line {reader.line_num} is no CSV: {error}", "quote values with commas") from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, a few thousand at a time in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("id", "subject", "prompt", "answer", "choices")
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            known = [name for name in file.schema_arrow.names if name in columns]
            if not {"prompt", "answer"} <= set(known):  # let the message name what the file does have
                yield "row 1", dict.fromkeys(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=4096, columns=known):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowException as error:
        raise UsageError(f"{path} is no Parquet file: {str(error).splitlines()[0]}", "was it copied whole?") from None


def _json_list(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{where}: choices is no JSON list", 'like ["red", "green"]') from None


def _not_utf8(path: Path, where: str) -> UsageError:
    return UsageError(f"{path}, {where} is no UTF-8 text", "save the file as UTF-8")


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
}
"""How to read a file, by the end of its name."""
