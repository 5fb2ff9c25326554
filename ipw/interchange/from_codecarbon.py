"""Rows of the `emissions.csv` that codecarbon writes: one run each, its kilowatt-hours as joules."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping

from ipw.errors import UsageError
from ipw.interchange.imported import ESTIMATE, Imported, amount, metrics_of, word
from ipw.metrics.definitions import WINDOW, Definition
from ipw.reports.facts import JOULES_PER_KWH

SOURCE = "codecarbon"
NEEDED = frozenset({"timestamp", "project_name", "duration", "emissions", "energy_consumed"})
PARTS = ("cpu_energy", "gpu_energy", "ram_energy")
CAVEAT = "it does not say which of its joules were measured: memory is always a model, the processor often is"
IDLE = "codecarbon measures no idle power"


def read_codecarbon(text: str, name: str) -> list[Imported] | None:
    """Read every row of a file, `None` where the heading is another's. Raises UsageError for a damaged one."""
    lines = text.splitlines(keepends=True)
    heading = next((i for i, line in enumerate(lines) if all(name in line for name in NEEDED)), None)
    if heading is None:
        return None
    try:
        rows = csv.DictReader(lines[heading:])
        if rows.fieldnames is None or not set(rows.fieldnames) >= NEEDED:
            return None
        return list(_runs(rows, name))
    except csv.Error as error:
        raise UsageError(f"{name} is not a whole CSV file: {error}", "was the file copied whole?") from None


def _runs(rows: Iterator[dict[str, str]], name: str) -> Iterator[Imported]:
    for count, row in enumerate(rows, start=1):
        yield _run(_trusted(row, f"{name}, row {count}"), f"{name}, row {count}: ")


def _trusted(row: dict[str, str], where: str) -> dict[str, str]:
    """Cells that stand below their heading. codecarbon appends rows without their empty columns, which moves the rest.

    Such a row is believed up to its total where that is the sum of its parts, and refused otherwise.
    """
    if all(isinstance(key, str) and isinstance(value, str) for key, value in row.items()):
        return row
    heads = [key for key in row if isinstance(key, str)]
    kept = {key: row[key] or "" for key in heads[: heads.index("energy_consumed") + 1]}
    parts = [amount(kept.get(name), f"{where}: {name}") for name in PARTS]
    total = amount(kept["energy_consumed"], f"{where}: energy_consumed")
    known = [part for part in parts if part is not None]
    if None in row or total is None or len(known) < len(PARTS) or not math.isclose(sum(known), total, rel_tol=1e-6):
        raise UsageError(f"{where} has more or fewer cells than the heading", "was the file copied whole?")
    return kept


def _run(row: Mapping[str, str], where: str) -> Imported:
    kwh = amount(row["energy_consumed"], f"{where}energy_consumed")
    duration_s = amount(row.get("duration"), f"{where}duration")
    energy_j = None if kwh is None else kwh * JOULES_PER_KWH
    values = {
        "energy_j": energy_j,
        "duration_s": duration_s,
        "mean_power_w": energy_j / duration_s if energy_j is not None and duration_s else None,
    }
    memory_gb = amount(row.get("ram_total_size"), f"{where}ram_total_size")
    threads = amount(row.get("cpu_count"), f"{where}cpu_count")
    host = {
        "cpu": word(row.get("cpu_model")),
        "threads": None if threads is None else int(threads),
        "memory_bytes": None if memory_gb is None else int(memory_gb * 2**30),
        "system": word(row.get("os")),
    }
    return Imported(
        source=SOURCE,
        version=word(row.get("codecarbon_version")),
        kind="command",
        name=word(row.get("project_name")) or SOURCE,
        metrics=metrics_of(WINDOW, values, _why, method=ESTIMATE),
        caveat=CAVEAT,
        method=ESTIMATE,
        started=word(row.get("timestamp")),
        parameters={"command": word(row.get("project_name")) or SOURCE},
        host=host,
        told={key: value for key, value in row.items() if value},
    )


def _why(definition: Definition) -> str:
    return IDLE if definition.name in {"net_energy_j", "idle_power_w"} else "codecarbon left it empty"
