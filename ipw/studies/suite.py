"""Suite files: a study of many cells, which a matrix spans over the shared settings of a run file.

name = "dense against MoE"
repeat = 2                          # each cell so often; default once
seeds = [0, 1]                      # or: each cell with each of these
label = "{model} at {concurrency}"  # what each is called in tables and charts; default: by what differs

[run]                               # what all cells share, as in a run file
workload = "lm"
serve = "serve-it --quant {quantisation} --port {port}"

[matrix]                            # every combination is a cell
model = ["dense", "moe"]
concurrency = [1, 8]
quantisation = ["q4", "q8"]         # no option of the workload: a name to write in braces elsewhere
accelerator = ["H100"]              # where a cell may run, on a cluster

[[exclude]]                         # cells that have all of these are left out
model = "moe"
concurrency = 8

[[include]]                         # and these are added
model = "dense"
concurrency = 32

[placement]                         # what a node must have; sensors are never shared, whatever it says
gpus = 1
memory_gb = 40
resources = { fast_disk = 1 }
shards = 2                          # the questions over so many nodes of one kind
    nodes = 2                           # or one model over so many nodes: all of them are measured
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ipw.errors import UsageError, near
from ipw.foreign_toml import read_toml
from ipw.secrets_out import without_secrets
from ipw.studies.runfile import Cell, Commands, parse

TABLES = ("name", "repeat", "seeds", "label", "run", "matrix", "include", "exclude", "placement")
PLACEMENT = ("accelerator", "gpus", "memory_gb", "resources", "shards", "nodes")
Point = dict[str, Any]
"""One combination of the matrix."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What a node must have for a cell to run there."""

    accelerator: str | None = None
    gpus: float = 0
    memory_gb: float = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    shards: int = 1
    """Nodes over which the questions are spread."""
    nodes: int = 1
    """Nodes that one model is spread over: the first runs the cell, all are measured."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell of a study."""

    key: str
    """A digest of all that makes the cell what it is: the same in every reading of the same suite."""
    cell: Cell
    placement: Placement
    repetition: int


@dataclass(frozen=True, slots=True)
class Suite:
    """A study: its name and its cells, in the order of the file."""

    name: str
    cells: Sequence[Planned]


def read_suite(path: Path, commands: Commands) -> Suite:
    """Read and check a suite file; every cell is checked before any runs. Raises UsageError."""
    document = read_toml(path)
    for key in document:
        if key not in TABLES:
            raise UsageError(f"{path}: {key!r} is not known here", near(key, TABLES))
    name = document.get("name", path.stem)
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{path}: name must be a text", 'name = "what is compared"')
    shared = document.get("run")
    if not isinstance(shared, Mapping):
        raise UsageError(f"{path}: there is no table [run]", '[run] with workload = "lm" and what all cells share')
    placement = _table(document, "placement", path)
    points = list(_points(document, path))
    if not points:
        raise UsageError(f"{path}: every cell of the matrix is excluded", None)
    cells = [
        planned for point in points for planned in _planned(point, dict(shared), placement, document, path, commands)
    ]
    keys = [planned.key for planned in cells]
    if len(set(keys)) < len(keys):
        raise UsageError(f"{path}: the same cell is there twice", "repeat = 2 runs each cell twice")
    return Suite(name.strip(), cells)


# --- the matrix -----------------------------------------------------------------------------------------------------


def _points(document: Mapping[str, Any], path: Path) -> Iterator[Point]:
    matrix = _table(document, "matrix", path)
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{path}: matrix.{key} must be a list of values", f'{key} = ["a", "b"]')
    excluded, included = (_tables(document, name, path) for name in ("exclude", "include"))
    for pattern in excluded:
        for key in pattern:
            if key not in matrix:
                raise UsageError(f"{path}: exclude names {key!r}, which the matrix does not have", near(key, matrix))
    for combination in itertools.product(*matrix.values()):
        point = dict(zip(matrix, combination, strict=True))
        if not any(all(point[key] == value for key, value in pattern.items()) for pattern in excluded if pattern):
            yield point
    yield from included


def _planned(
    point: Point, shared: Point, placement: Point, document: Mapping[str, Any], path: Path, commands: Commands
) -> Iterator[Planned]:
    command = commands.get(str(shared.get("workload")))
    options = {name.replace("-", "_") for p in command.params for name in _names(p)} if command else set()
    set_here = {key: value for key, value in point.items() if key.replace("-", "_") in options or key == "workload"}
    names = {key: value for key, value in point.items() if key not in set_here}
    where = f"{path}, cell {label(point)}" if point else str(path)
    table = {key: _filled(value, names) for key, value in {**_label(document, path), **shared, **set_here}.items()}
    for key in names:
        if key not in PLACEMENT and not _written(key, {**shared, **set_here}):
            workload = shared.get("workload")
            hint = f"write {{{key}}} in an option, or see `ipw run {workload} --help`"
            raise UsageError(f"{path}: {key!r} is not an option of {workload} and stands nowhere in braces", hint)
    place = _placement({**placement, **{key: names[key] for key in names if key in PLACEMENT}}, where)
    for seed in _seeds(document, path):
        for repetition in range(_repeat(document, path)):
            final = table if seed is None else {**table, "seed": seed}
            cell = parse(final, label(point if seed is None else {**point, "seed": seed}), where, commands)
            yield Planned(_key(cell, place, repetition), cell, place, repetition)


def label(point: Mapping[str, Any]) -> str:
    """Name a cell after its place in the matrix, without what may be a secret."""
    return without_secrets(" ".join(f"{key}={value}" for key, value in point.items())) or "the only cell"


def _names(parameter: Any) -> list[str]:
    return [name.removeprefix("--") for name in parameter.opts]


def _filled(value: Any, names: Point) -> Any:
    """Put the matrix's names into texts; other braces stay as they are."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: str(names.get(found[1], found[0])), value)
    return [_filled(each, names) for each in value] if isinstance(value, list) else value


def _written(key: str, options: Mapping[str, Any]) -> bool:
    return f"{{{key}}}" in json.dumps(list(options.values()), default=str)


def _key(cell: Cell, placement: Placement, repetition: int) -> str:
    options = {name: value for name, value in cell.options.items() if name != "label"}  # it changes no measurement
    whole = {"workload": cell.workload, "options": options, "placement": asdict(placement)}
    text = json.dumps(whole | {"repetition": repetition}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- checks ---------------------------------------------------------------------------------------------------------


def _placement(table: Point, where: str) -> Placement:
    for key in table:
        if key not in PLACEMENT:
            raise UsageError(f"{where}: placement has no {key!r}", near(key, PLACEMENT))
    resources = table.get("resources", {})
    if not isinstance(resources, Mapping) or not all(_amount(value) for value in resources.values()):
        raise UsageError(f"{where}: resources must be numbers by name", "resources = { fast_disk = 1 }")
    for key in ("gpus", "memory_gb"):
        if key in table and not _amount(table[key]):
            raise UsageError(f"{where}: {key} must be a number of 0 or more", f"{key} = 1")
    shards, nodes, accelerator = table.get("shards", 1), table.get("nodes", 1), table.get("accelerator")
    for key, count in (("shards", shards), ("nodes", nodes)):
        if type(count) is not int or count < 1:
            raise UsageError(f"{where}: {key} must be a whole number of 1 or more", f"{key} = 2")
    if accelerator is not None and not isinstance(accelerator, str):
        raise UsageError(f"{where}: accelerator must be a text", 'accelerator = "H100"')
    return Placement(accelerator, table.get("gpus", 0), table.get("memory_gb", 0), dict(resources), shards, nodes)


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _label(document: Mapping[str, Any], path: Path) -> Point:
    label = document.get("label")
    if label is not None and (not isinstance(label, str) or not label.strip()):
        raise UsageError(f"{path}: label must be a text", 'label = "{model} at {concurrency}"')
    return {} if label is None else {"label": label}


def _repeat(document: Mapping[str, Any], path: Path) -> int:
    repeat = document.get("repeat", 1)
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 1:
        raise UsageError(f"{path}: repeat must be a whole number of 1 or more", "repeat = 3")
    return repeat


def _seeds(document: Mapping[str, Any], path: Path) -> Sequence[int | None]:
    seeds = document.get("seeds", [None])
    if not isinstance(seeds, list) or not seeds or not all(s is None or type(s) is int for s in seeds):
        raise UsageError(f"{path}: seeds must be a list of whole numbers", "seeds = [0, 1, 2]")
    return seeds


def _table(document: Mapping[str, Any], key: str, path: Path) -> Point:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {key} must be a table", f"[{key}]")
    return table


def _tables(document: Mapping[str, Any], key: str, path: Path) -> list[Point]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise UsageError(f"{path}: {key} must be a list of tables", f"[[{key}]]")
    return tables
