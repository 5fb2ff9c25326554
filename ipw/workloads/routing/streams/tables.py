"""Rows of traces from CSV, read by columns, and from JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError, near
from ipw.foreign_json import parsed
from ipw.printable import clean
from ipw.workloads.routing.streams.rows import Rows

Ints = npt.NDArray[np.integer[Any]]
NAMES: dict[str, tuple[str, ...]] = {
    "layer": ("layer", "layer_idx", "layer_id", "layer_index", "moe_layer", "il", "block"),
    "expert": (
        "expert",
        "expert_id",
        "expert_idx",
        "expert_index",
        "experts",
        "topk_ids",
        "topk_experts",
        "expert_ids",
    ),
    "token": ("token", "token_idx", "token_index", "pos", "position", "step"),
    "text": (
        "text",
        "text_id",
        "sequence",
        "seq",
        "seq_id",
        "prompt",
        "prompt_id",
        "request",
        "request_id",
        "req_id",
        "turn",
    ),
    "phase": ("phase", "stage"),
    "domain": ("domain", "subject"),
}
"""What a trace may call the columns that are read; others are passed over."""
WIDE = re.compile(r"(?:expert|topk|e|id)_?(\d+)")
PROMPT = ("prefill", "prompt", "pp")
BLOCK_BYTES = 16 << 20
LINES = 1 << 14
CUT = "was it copied whole? cut the last line off where it is not"


def column_names(text: str | None) -> dict[str, str]:
    """Read `layer=L,expert=E`: columns of a trace by our names. Raises UsageError."""
    found = {}
    for part in filter(None, (text or "").split(",")):
        ours, _, theirs = part.partition("=")
        if ours.strip() not in NAMES:
            raise UsageError(f"--columns: there is no column {ours.strip()!r} to fill", near(ours.strip(), NAMES))
        if not theirs.strip():
            raise UsageError(f"--columns: {part!r} names no column", "like --columns layer=L,expert=E")
        found[ours.strip()] = theirs.strip()
    return found


class Numbers:
    """Numbers what is named, in the order in which it first comes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._known: dict[str, int] = {}

    def of(self, name: object) -> int:
        """Give the number of one name."""
        text = clean(name)
        if text not in self._known:
            self._known[text] = len(self.names)
            self.names.append(text)
        return self._known[text]


def csv_batches(path: Path, columns: Mapping[str, str], domains: Numbers) -> Iterator[Rows]:
    """Read a CSV, with a header or as `layer,expert`, `token,layer,expert` or `token,layer,id0,id1,…`.

    Values are parted by commas, semicolons, tabs or blanks. Raises UsageError.
    """
    import pyarrow as pa
    from pyarrow import csv

    header, delimiter, skipped = _first_line(path)
    names = header or _without_header(path, delimiter, skipped)
    places = _places(names, columns, path)
    wanted = [names[place] for group in places.values() for place in group]
    options = {
        "read_options": csv.ReadOptions(
            block_size=BLOCK_BYTES, column_names=names, skip_rows=skipped + (1 if header else 0), use_threads=False
        ),
        "parse_options": csv.ParseOptions(delimiter=delimiter),
        "convert_options": csv.ConvertOptions(
            include_columns=wanted,
            column_types={
                names[place]: pa.string() if what in {"text", "phase", "domain"} else pa.int64()
                for what, group in places.items()
                for place in group
            },
        ),
    }
    texts, row, signed = Numbers(), skipped + 1, False
    try:
        with csv.open_csv(path, **options) as reader:
            for batch in reader:
                read = {what: [batch.column(names[place]) for place in group] for what, group in places.items()}
                rows = _rows(f"{path}, rows from {row}", read, texts, domains)
                signed = signed or (rows.token is not None and bool((rows.token < 0).any()))
                if signed and rows.generated is None and rows.token is not None:  # a prompt's positions are below 0
                    rows = rows._replace(generated=np.asarray(rows.token >= 0))
                yield rows
                row += batch.num_rows
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path} is not a whole table of routing: {clean(error, 160)}", CUT) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or clean(error)}") from None


def json_batches(path: Path, columns: Mapping[str, str], domains: Numbers) -> Iterator[Rows]:
    """Read JSON lines with the experts of one token and layer, or of the tokens of a batch and one layer."""
    texts = Numbers()
    found: list[tuple[int, list[int], Any, Any, Any, Any]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    record = parsed(line)
                except ValueError as error:
                    raise UsageError(f"{path}, line {number} is not JSON: {clean(error, 80)}", CUT) from None
                if isinstance(record, dict) and (record.get("type") in (None, "route")):
                    found.extend(_routes(f"{path}, line {number}", record, columns))
                if len(found) >= LINES:
                    yield _json_rows(f"{path}, before line {number + 1}", found, texts, domains)
                    found = []
        if found:
            yield _json_rows(str(path), found, texts, domains)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {clean(error)}", "save the file as UTF-8") from None


def is_route(record: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Whether a JSON record is one of a trace by layer: its route, or what a logger says of itself first."""
    return record.get("type") in ("meta", "route") or (
        _value(record, "layer", columns) is not None and _value(record, "expert", columns) is not None
    )


def _value(record: Mapping[str, Any], what: str, columns: Mapping[str, str]) -> Any:
    names = (columns[what],) if what in columns else NAMES[what]
    return next((record[name] for name in names if record.get(name) is not None), None)


def _routes(where: str, record: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Any]:
    layer, experts = _value(record, "layer", columns), _value(record, "expert", columns)
    if isinstance(experts, int) and not isinstance(experts, bool):
        experts = [experts]
    if type(layer) is not int or not isinstance(experts, list) or not experts:
        raise UsageError(f"{where} names no layer and experts", "see --columns")
    tokens = experts if isinstance(experts[0], list) else [experts]
    rest = [_value(record, what, columns) for what in ("token", "text", "phase", "domain")]
    for place, ids in enumerate(tokens):
        if not isinstance(ids, list) or len(ids) != len(tokens[0]) or any(type(i) is not int for i in ids):
            raise UsageError(f"{where}: experts must be lists of ids of one length", "cut them to one k")
        token = rest[0] + place if type(rest[0]) is int else None
        yield layer, ids, token, *rest[1:]


def _json_rows(where: str, found: list[Any], texts: Numbers, domains: Numbers) -> Rows:
    layer, ids, token, text, phase, domain = zip(*found, strict=True)
    if len({len(row) for row in ids}) > 1:
        raise UsageError(f"{where}: rows name unlike numbers of experts", "cut them to one k")
    return Rows(
        where,
        np.array(layer),
        np.array(ids),
        None if None in token else np.array(token),
        None if None in text else np.array([texts.of(name) for name in text]),
        None if None in phase else np.array([str(name).lower() not in PROMPT for name in phase]),
        None if None in domain else np.array([domains.of(name) for name in domain]),
    )


def _first_line(path: Path) -> tuple[list[str] | None, str, int]:
    """Names in the header, if there is one; what parts values; and lines before, of comments."""
    skipped = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    break
                skipped += 1
            else:
                raise UsageError(f"{path} holds no routing", "is the trace empty?")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {clean(error)}", "save the file as UTF-8") from None
    delimiter = next((mark for mark in ",;\t" if mark in line), " ")
    values = [value.strip().strip('"') for value in line.rstrip("\r\n").split(delimiter)]
    if all(re.fullmatch(r"-?\d+", value) for value in values):
        return None, delimiter, skipped
    return values, delimiter, skipped


def _without_header(path: Path, delimiter: str, skipped: int) -> list[str]:
    with path.open(encoding="utf-8-sig") as file:
        line = next(line for number, line in enumerate(file) if number == skipped)
    width = len(line.split(delimiter))
    if width < 2:
        raise UsageError(f"{path} has one column: a trace has a layer and an expert", "see --columns")
    if width == 2:
        return ["layer", "expert"]
    return ["token", "layer", *(f"id{place}" for place in range(width - 2))]


def _places(names: list[str], columns: Mapping[str, str], path: Path) -> dict[str, list[int]]:
    small = [name.lower() for name in names]
    found: dict[str, list[int]] = {}
    for what, known in NAMES.items():
        wanted = (columns[what].lower(),) if what in columns else known
        place = next((small.index(name) for name in wanted if name in small), None)
        if place is not None:
            found[what] = [place]
        elif what in columns:
            raise UsageError(
                f"{path} has no column {columns[what]!r}; it has {clean(', '.join(names))}", "see --columns"
            )
    if "expert" not in found:
        wide = {int(match[1]): place for place, name in enumerate(small) if (match := WIDE.fullmatch(name))}
        found["expert"] = [wide[number] for number in sorted(wide)]
    missing = [what for what in ("layer", "expert") if not found.get(what)]
    if missing:
        raise UsageError(
            f"{path} has no column that names the {missing[0]}; it has {clean(', '.join(names))}",
            f"say which it is: --columns {missing[0]}=NAME",
        )
    return found


def _rows(where: str, read: Mapping[str, list[Any]], texts: Numbers, domains: Numbers) -> Rows:
    def numbers(what: str) -> Ints | None:
        if what not in read:
            return None
        parts = []
        for column in read[what]:
            if column.null_count:
                raise UsageError(f"{where}: the {what} is missing in {column.null_count} of them", CUT)
            parts.append(column.to_numpy(zero_copy_only=False))
        return np.stack(parts, axis=1)

    def named(what: str, known: Numbers) -> Ints | None:
        if what not in read:
            return None
        coded = read[what][0].dictionary_encode()
        codes = np.array([known.of(name) for name in coded.dictionary.to_pylist()], np.int64)
        found: Ints = codes[coded.indices.to_numpy(zero_copy_only=False)]
        return found

    layer, experts, token = numbers("layer"), numbers("expert"), numbers("token")
    assert layer is not None
    assert experts is not None
    position = None if token is None else token[:, 0]
    phases = Numbers()
    phase = named("phase", phases)
    generated = None
    if phase is not None:
        generated = np.array([name.lower() not in PROMPT for name in phases.names], np.bool_)[phase]
    return Rows(where, layer[:, 0], experts, position, named("text", texts), generated, named("domain", domains))


def first_record(path: Path) -> Any:
    """Return the first JSON value of a file of JSON lines; `None` where there is none."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = (line for line in file if line.strip())
            return parsed(next(chain(lines, ["null"])))
    except (ValueError, OSError):
        return None
