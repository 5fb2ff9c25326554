"""The queries of a run as arrays: from `queries.parquet`, or from the journal where a crash came before the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.reports.stats import Z95, Array
from ipw.rundir import RunDir

NUMBERS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "start_ns",
    "first_token_ns",
    "end_ns",
    "score",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "net_energy_j",
    "prefill_energy_j",
    "decode_energy_j",
    "power_w",
)
TEXTS = ("query_id", "subject", "status", "error", "response", "answer")


@dataclass(frozen=True, slots=True)
class Queries:
    """All queries of a measured window, one a row. What is not known is NaN in `numbers`, '' in `texts`."""

    numbers: Mapping[str, Array]
    """`NUMBERS`, and what follows from them: `one`, `tokens`, `uncached_tokens`, `latency_s`, `ttft_s`."""
    texts: Mapping[str, npt.NDArray[np.str_ | np.object_]]
    sds: Mapping[str, Array]
    """Standard deviation of the measurement, for the columns in joules and watts."""

    def __len__(self) -> int:
        return len(self.numbers["one"])

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """Which queries were answered."""
        return np.asarray(self.texts["status"] == "ok")

    def where(self, mask: npt.NDArray[np.bool_]) -> Queries:
        """Keep only the rows in `mask`."""
        return Queries(*({name: column[mask] for name, column in part.items()} for part in self._parts()))

    def by_subject(self) -> dict[str, Queries]:
        """Split by subject, in alphabetical order; queries without one are left out."""
        subjects = self.texts["subject"]
        return {str(name): self.where(subjects == name) for name in np.unique(subjects) if name}

    def _parts(self) -> tuple[Mapping[str, Any], ...]:
        return self.numbers, self.texts, self.sds


def load_queries(run: RunDir) -> Queries:
    """Read the queries of `run`; none is no error. Raises ValueError or OSError where a table is damaged."""
    table = run.read_table("queries")
    if table is not None:
        names = set(table.column_names)
        return from_columns(
            {name: table[name].to_pylist() for name in (*NUMBERS, *TEXTS) if name in names}, table.num_rows
        )
    return from_records(run.journal("query"))


def from_records(records: Iterable[Mapping[str, Any]]) -> Queries:
    """Make the arrays from journal records, which know nothing of joules yet."""
    rows = list(records)
    return from_columns({name: [row.get(name) for row in rows] for name in (*NUMBERS, *TEXTS)}, len(rows))


def from_columns(columns: Mapping[str, list[Any]], rows: int) -> Queries:
    """Make the arrays from columns of Python values, `None` for unknown; whole columns may be missing."""
    absent = [None] * rows
    known = {name: np.array([_number(x) for x in columns.get(name, absent)], np.float64) for name in NUMBERS}
    texts = {name: np.array([_text(x) for x in columns.get(name, absent)], np.object_) for name in TEXTS}
    failed = texts["status"] != "ok"
    known["score"] = np.where(failed | np.isnan(known["score"]), 0.0, known["score"])
    known["completion_tokens"] = np.where(
        failed & np.isnan(known["completion_tokens"]), 0.0, known["completion_tokens"]
    )
    energy = known["energy_j"]
    energy_sd = np.nan_to_num((known["energy_high_j"] - known["energy_low_j"]) / (2 * Z95))
    with np.errstate(divide="ignore", invalid="ignore"):
        power_sd = np.nan_to_num(known["power_w"] * energy_sd / energy, posinf=0.0, neginf=0.0)
    derived = {
        "one": np.ones(rows),
        "tokens": known["prompt_tokens"] + known["completion_tokens"],
        "uncached_tokens": known["prompt_tokens"] - np.nan_to_num(known["cached_tokens"]),
        "latency_s": (known["end_ns"] - known["start_ns"]) / 1e9,
        "ttft_s": (known["first_token_ns"] - known["start_ns"]) / 1e9,
    }
    # The edge between prefill and decode is as uncertain as the edges of the query, in joules.
    in_joules = dict.fromkeys(("energy_j", "net_energy_j", "prefill_energy_j", "decode_energy_j"), energy_sd)
    return Queries(known | derived, texts, in_joules | {"power_w": power_sd})


def _number(x: object) -> float:
    return float(x) if isinstance(x, int | float) and not isinstance(x, bool) else np.nan


def _text(x: object) -> str:
    return x if isinstance(x, str) else ""
