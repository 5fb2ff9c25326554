"""Rows of data-set files, each with the place at which a person finds it."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from ipw.errors import UsageError

Row = tuple[str, dict[str, Any]]
"""Where it is (`line 3`), and its values by column."""

ASKED = ("prompt", "question")
LETTERED = tuple("ABCDEFGHIJ")
"""Columns that hold a choice each."""
COLUMNS = {*ASKED, "answer", "id", "subject", "choices", *LETTERED, "text", "domain", "messages", "turns", "answers"}
"""Those that are read of a Parquet file, which may have large ones beside them."""
ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
"""By the mark with which a file begins."""
WHICH = "which one is meant? leave the other out"


def json_rows(path: Path, _more: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a file with one JSON object a line, or with one JSON list of objects; blank lines are left out."""
    encoding = encoding_of(path)
    with path.open(encoding=encoding) as file:
        try:
            begun = False
            for number, line in enumerate(file, 1):
                text = line.strip("\ufeff \t\r\n")  # files that were joined have a mark in the middle
                if not begun and text.startswith("["):
                    for place, row in enumerate(_json(path, line + file.read(), number), 1):
                        yield _row(path, f"row {place}", row)
                    return
                if text:
                    begun = True
                    yield _row(path, f"line {number}", _json(path, text.removesuffix(","), number))
        except UnicodeDecodeError:
            raise _not_text(path, encoding) from None


def csv_rows(path: Path, more: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a file with a header line, parted by commas, semicolons or tabs; every value is text.

    Rows without any value are left out.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    encoding = encoding_of(path)
    with path.open(encoding=encoding, newline="") as file:
        try:
            delimiter = _delimiter(next((line for line in file if line.strip()), ""), {*COLUMNS, *more})
            file.seek(0)
            yield from _under_header(path, file, delimiter, {*COLUMNS, *more})
        except UnicodeDecodeError:
            raise _not_text(path, encoding) from None


def parquet_rows(path: Path, more: Collection[str] = ()) -> Iterator[Row]:
    """Rows of a Parquet file, a few thousand at a time in memory; columns that nobody reads have no values.

    Read are those of the usual names, and `more`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            known = _once(path, [name for name in names if name in {*COLUMNS, *more}])
            unread = dict.fromkeys(names)
            for batch in file.iter_batches(batch_size=4096, columns=known):
                columns = [_values(batch.column(name)) for name in known]
                for values in zip(*columns, strict=True) if known else [()] * batch.num_rows:
                    number += 1
                    yield f"row {number}", unread | dict(zip(known, values, strict=True))
    except pa.ArrowException as error:
        raise UsageError(f"{path} is not Parquet: {str(error).splitlines()[0]}", "was it copied whole?") from None


Reader = Callable[..., Iterator[Row]]
READERS: dict[str, Reader] = {
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".parquet": parquet_rows,
}
"""How to read a file, by the end of its name."""
UNTYPED = (csv_rows,)
"""Readers to which every value is text."""


def _json(path: Path, text: str, line: int) -> Any:
    """Parse what begins on this line."""
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        where, reason = line + error.lineno - 1, f"{error.msg}, at {error.doc[error.pos :][:30]!r}"
    except _TwiceError as error:
        where, reason = line, f"the name {error.args[0][:40]!r} is there twice"
    except (ValueError, RecursionError) as error:
        where, reason = line, "it is nested too deep" if isinstance(error, RecursionError) else str(error)
    raise UsageError(f"{path}, line {where} is not JSON: {reason}", "one JSON object a line, or one list of them")


def _row(path: Path, where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise UsageError(f"{path}, {where} is not a JSON object", 'like {"prompt": "2+2", "answer": "4"}')
    return where, row


class _TwiceError(Exception):
    """An object has a name twice, of which JSON's readers take any."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _delimiter(header: str, known: Collection[str]) -> str:
    """Tell what parts the names in the header: that under which one is a column that is known."""
    for delimiter in ",;\t":
        names = {name.strip().strip('"') for name in header.split(delimiter)}
        if len(names) > 1 and names & set(known):
            return delimiter
    return ","


def _under_header(path: Path, file: TextIO, delimiter: str, known: Collection[str]) -> Iterator[Row]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for values in reader:
            where, line = f"line {line}", reader.line_num + 1
            if not any(value.strip() for value in values):
                continue
            if names is None:
                names = _once(path, [value.strip() for value in values], known)
                continue
            if len(values) > len(names):
                raise UsageError(f"{path}, {where} has more values than the header", "quote values with commas")
            yield where, dict(zip(names, [*values, *[None] * (len(names) - len(values))], strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}, line {line} is not CSV: {error}", "quote values with commas or quotes") from None


def _once(path: Path, names: list[str], known: Collection[str] = COLUMNS) -> list[str]:
    """Refuse a column that is there twice."""
    if twice := [name for name in names if name in known and names.count(name) > 1]:
        raise UsageError(f"{path} has the column {twice[0]!r} twice", WHICH)
    return names


def _values(column: Any) -> list[Any]:
    """Values of an Arrow column; a float of 32 bits is the number of fewest digits that it stands for: 0.1 is 0.1."""
    import pyarrow as pa

    for short, text, long in (
        (pa.float32(), pa.string(), pa.float64()),
        (pa.list_(pa.float32()), pa.list_(pa.string()), pa.list_(pa.float64())),
    ):
        if column.type.equals(short):
            column = column.cast(text).cast(long)
    return list(column.to_pylist())


def encoding_of(path: Path) -> str:
    """UTF-8, unless the first bytes say that it is UTF-16 or UTF-32."""
    with path.open("rb") as file:
        start = file.read(4)
    for mark, encoding in ENCODINGS:
        if start.startswith(mark):
            return encoding
    return {b"\0": "utf-16-be"}.get(start[:1], "utf-16-le" if start[1:2] == b"\0" else "utf-8")


def _not_text(path: Path, encoding: str) -> UsageError:
    where = "its end"
    if encoding.startswith("utf-8"):
        where = f"line {path.read_bytes()[: _first_bad(path)].count(10) + 1}"
    return UsageError(f"{path}, {where} is not {encoding.removesuffix('-sig').upper()} text", "save the file as UTF-8")


def _first_bad(path: Path) -> int:
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0
