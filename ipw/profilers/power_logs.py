"""Logs of power that a replay plays: our own CSV, `nvidia-smi --query-gpu`, and `tegrastats`.

Cells of nvidia-smi carry units, and holes carry words. Its times are local and without a zone, so only their
differences count; one that goes back (the clock was set, summer ended) goes on from where it was.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, get_args

from ipw.profilers.base import Channel, Method, Scope
from ipw.profilers.linux.rails import INPUTS, SUM, WITHIN
from ipw.runs.readings import Kind, Status
from ipw.shapes import MOMENT

COLUMNS = ("t_ns", "channel", "unit", "scope", "value")
KINDS: dict[str, Kind] = {"J": "counter", "W": "power"}
PREFIXES = {
    "n": 1e-9,
    "u": 1e-6,
    "\N{MICRO SIGN}": 1e-6,
    "\N{GREEK SMALL LETTER MU}": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
}
UNITS: dict[str, tuple[str, float]] = {"J": ("J", 1.0), "W": ("W", 1.0), "Wh": ("J", 3600.0), "Ws": ("J", 1.0)}
"""What is a unit of joules or of watts, and how many; each with any prefix."""
SCOPES: dict[str, Scope] = {scope: scope for scope in get_args(Scope)}
GPU_POWER = ("power.draw.instant", "power.draw", "power.draw.average")
"""Columns of nvidia-smi, the best first."""
GPU_NAMES = ("index", "uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "serial")
UNSUPPORTED = ("n/a", "not supported", "insufficient permissions")
SMI_TIMES = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")
TEGRA_LINE = re.compile(r"^(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) .*\bRAM \d+/\d+MB", re.MULTILINE)
TEGRA_UNDATED = re.compile(r"^RAM \d+/\d+MB", re.MULTILINE)
DMON = re.compile(r"^#\s*(?:Date\s+Time\s+)?gpu\s+pwr\b", re.MULTILINE)
MOST_BEFORE = 50
"""So many lines may come before the heads: what a shell or a program said."""
TEGRA_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/\d+(?:mW)?(?= |$)")
TEGRA_OTHERS = {"RAM", "SWAP", "IRAM"}
SMI = "nvidia-smi --query-gpu=timestamp,index,power.draw --format=csv -lms 100"
KNOWN = (
    f"it is not a CSV with the columns {', '.join(COLUMNS)}, not a log of nvidia-smi "
    "--query-gpu=timestamp,index,power.draw --format=csv, and not one of tegrastats --logfile with dates"
)
MOST_CELL = 1 << 17
"""Characters of a cell: more is no log."""


class Record(NamedTuple):
    """One recorded reading."""

    t_ns: int
    value: float
    status: Status
    uncertainty_ns: int


Tracks = dict[str, list[Record]]
"""Readings by channel name."""
Log = tuple[list[Channel], Tracks]


def read_log(text: str) -> Log:
    """Read a log of any kind. Raises ValueError, which names the line."""
    lines = [line for line in text.splitlines() if line.strip()]
    for start, line in enumerate(lines[:MOST_BEFORE]):
        heads = _cells(line)
        if {"t_ns", "channel"} & set(heads):
            return _ours(lines[start:], start)
        if any(_power_column(head) for head in heads):
            return _nvidia_smi(lines[start:], start)
    if TEGRA_LINE.search(text):
        return _tegrastats(lines)
    if TEGRA_UNDATED.search(text):
        raise ValueError("its lines of tegrastats have no dates, so nobody knows when they were true: a newer one has")
    if DMON.search(text):
        raise ValueError(f"nvidia-smi dmon tells whole watts and often no time: log with {SMI}")
    raise ValueError(KNOWN)


def _ours(lines: list[str], before: int) -> Log:
    """Read our own CSV, which has so many lines before it. A cell without a value is a hole.

    Joules in any unit are a counter, watts a power, and all else is a gauge.
    """
    heads, decimals = _cells(lines[0]), "," if _delimiter(lines[0]) == ";" else "."
    if missing := [column for column in COLUMNS if column not in heads]:
        raise ValueError(f"there is no column {', '.join(missing)}")
    channels: dict[str, Channel] = {}
    tracks: Tracks = {}
    for number, row in _rows(lines, before):
        name, (unit, factor) = row["channel"], _unit(row["unit"])
        kind = KINDS.get(unit, "gauge")
        method: Method = "integrated_power" if kind == "power" else "counter"
        if row["scope"] not in SCOPES:
            raise ValueError(f"line {number}: {row['scope']!r} is not a scope; choose one of {', '.join(SCOPES)}")
        channels[name] = Channel(name=name, kind=kind, scope=SCOPES[row["scope"]], method=method, unit=unit)
        value = row["value"].replace(decimals, ".")
        record = _record(_int(row["t_ns"], number), value, f"line {number}: value")
        tracks.setdefault(name, []).append(record._replace(value=factor * record.value))
    return list(channels.values()), tracks


def _nvidia_smi(lines: list[str], before: int) -> Log:
    heads = _cells(lines[0])
    rows = list(_rows(lines, before, whole=False))
    found = {_power_column(head): head for head in heads if _power_column(head)}
    powers = [found[column] for column in GPU_POWER if column in found]
    told = (head for head in powers if any(row[head][:1].isdigit() for _, row in rows))
    power = next(told, powers[0])
    if "timestamp" not in heads:
        raise ValueError("there is no column timestamp: log with --query-gpu=timestamp,index,power.draw")
    which = next((name for name in GPU_NAMES if name in heads), None)
    channels: dict[str, Channel] = {}
    tracks: Tracks = {}
    clocks: dict[str, _Clock] = {}
    for number, row in rows:
        gpu = row[which] if which else "0"
        name = f"nvidia-smi/gpu{gpu}" if gpu.isdigit() else f"nvidia-smi/{gpu}"
        device = " ".join(filter(None, (row.get("name"), row.get("uuid"))))
        channels.setdefault(name, _watts(name, "gpu", device))
        t_ns = clocks.setdefault(name, _Clock()).at(_time(row["timestamp"], SMI_TIMES, number))
        cell, factor = _watts_of(row[power], power)
        record = _record(t_ns, cell, f"line {number}: {power}")
        tracks.setdefault(name, []).append(record._replace(value=factor * record.value))
    return list(channels.values()), tracks


def _tegrastats(lines: list[str]) -> Log:
    """Read the rails; lines of one second are spread over it."""
    seen = [
        (_time(found[1], ("%m-%d-%Y %H:%M:%S",), number), line)
        for number, line in enumerate(lines, 1)
        if (found := TEGRA_LINE.match(line))
    ]
    tracks: Tracks = {}
    clock = _Clock()
    for at, group in groupby(seen, key=itemgetter(0)):
        of_one_second = [line for _, line in group]
        for k, line in enumerate(of_one_second):
            t_ns = clock.at(at + timedelta(seconds=k / len(of_one_second)))
            for label, milliwatts in TEGRA_RAIL.findall(line):
                if label not in TEGRA_OTHERS:
                    tracks.setdefault(f"tegrastats/{label}", []).append(Record(t_ns, int(milliwatts) / 1e3, "ok", 0))
    labels = {name.partition("/")[2] for name in tracks}
    board = next((label for label in INPUTS if label in labels), None)
    return [_rail(label, board, labels) for label in sorted(labels)], tracks


def _rail(label: str, board: str | None, labels: set[str]) -> Channel:
    """Say what contains a rail, as for those that are read here; one whose place nobody knows is a gauge."""
    channel = _watts(f"tegrastats/{label}", "soc", "")
    outer = WITHIN.get(label)
    inside = outer if outer in labels else board if label != board else None
    if board or label in SUM or outer:
        return channel if inside is None else _inside(channel, f"tegrastats/{inside}")
    return Channel(name=channel.name, kind="gauge", scope="soc", method="counter", unit="W")


def _watts(name: str, scope: Scope, device: str) -> Channel:
    return Channel(name=name, kind="power", scope=scope, method="integrated_power", unit="W", device=device)


def _inside(channel: Channel, outer: str) -> Channel:
    return Channel(**(channel.as_dict() | {"included_in": outer}))


class _Clock:
    """Local times as nanoseconds that never go back and never stand still."""

    def __init__(self) -> None:
        self._last_ns, self._step_ns, self._ahead_ns = -1, 1_000_000, 0

    def at(self, time: datetime) -> int:
        """Turn one into nanoseconds."""
        t_ns = (time.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
        if t_ns + self._ahead_ns <= self._last_ns:
            self._ahead_ns = self._last_ns + self._step_ns - t_ns
        now_ns, before_ns = t_ns + self._ahead_ns, self._last_ns
        self._last_ns, self._step_ns = now_ns, now_ns - before_ns if before_ns >= 0 else self._step_ns
        return now_ns


def _power_column(head: str) -> str | None:
    bare = re.sub(r"\s*\[[a-zA-Z]?W\]$", "", head)
    return bare if bare in GPU_POWER else None


def _unit(told: str) -> tuple[str, float]:
    """Tell whether a unit is one of joules or of watts, and how many of these it is; any other stays as it is."""
    if told[1:] in UNITS and told[0] in PREFIXES:
        base, factor = UNITS[told[1:]]
        return base, factor * PREFIXES[told[0]]
    return UNITS.get(told, (told, 1.0))


def _watts_of(cell: str, head: str) -> tuple[str, float]:
    """Take the unit off a cell, which may have it itself or in the heading."""
    own = re.fullmatch(r"(.*?)\s*([a-zA-Z]?W)", cell)
    above = re.search(r"\[([a-zA-Z]?W)\]$", head)
    told = own[2] if own else above[1] if above else "W"
    return (own[1] if own else cell), _unit(told)[1]


def _record(t_ns: int, cell: str, where: str) -> Record:
    """Make a reading of a cell; words that stand for a value that is not there make a hole."""
    word = cell.strip("[] ").lower()
    if not word or word in UNSUPPORTED:
        return Record(t_ns, math.nan, "unsupported" if word else "lost", 0)
    if cell.startswith("[") or "err" in word:
        return Record(t_ns, math.nan, "lost", 0)
    return Record(t_ns, _float(cell, where), "ok", 0)


def _float(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{where} is {cell[:40]!r}, which is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{where} is not finite")
    return value


def _int(cell: str, number: int) -> int:
    try:
        t_ns = int(cell) if cell.lstrip("-").isdigit() else int(_float(cell, ""))
    except ValueError:
        t_ns = 1 << 64
    if abs(t_ns) not in MOMENT:
        raise ValueError(f"line {number}: t_ns is {cell[:40]!r}, which is not a whole number of nanoseconds")
    return t_ns


def _time(cell: str, forms: Iterable[str], number: int) -> datetime:
    for form in forms:
        try:
            return datetime.strptime(cell, form)  # noqa: DTZ007 - the log does not tell its zone
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(cell).replace(tzinfo=None)
    except ValueError:
        raise ValueError(f"line {number}: {cell[:40]!r} is not a time") from None


def _rows(lines: list[str], before: int, *, whole: bool = True) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield each row by the names of its columns, with its number in a log that has so many lines before these.

    A last line that was cut off while it was written is left out, and so are headings in the middle; unless they must
    be `whole`, also lines with too few cells, which say something else.
    """
    heads = _cells(lines[0])
    for number, cells in enumerate(_table(lines[1:], _delimiter(lines[0])), 2):
        if cells == heads or (len(cells) < len(heads) and (number == len(lines) or not whole)):
            continue
        if len(cells) < len(heads):
            raise ValueError(f"line {before + number} has {len(cells)} of {len(heads)} cells")
        yield before + number, dict(zip(heads, cells, strict=False))


def _table(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    try:
        csv.field_size_limit(MOST_CELL)  # of the whole process: a data set may have allowed more
        for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=True):
            yield [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(f"it is not a CSV: {error}") from None


def _cells(line: str) -> list[str]:
    return next(_table([line], _delimiter(line)))


def _delimiter(head: str) -> str:
    return max(",;\t|", key=head.count)
