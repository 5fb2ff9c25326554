"""The queries of a run as arrays: from `queries.parquet`, or from the journal where a crash came before the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    texts: Mapping[str, npt.NDArray[np.object_]]
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
    if table is None:
        return from_records(list(run.journal("query")))
    import pyarrow as pa

    absent = pa.nulls(table.num_rows)
    columns = {name: table[name] if name in table.column_names else absent for name in (*NUMBERS, *TEXTS)}
    numbers = {name: columns[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in NUMBERS}
    texts = {name: columns[name].cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False) for name in TEXTS}
    return derived(numbers, texts)


def from_records(rows: Sequence[Mapping[str, Any]]) -> Queries:
    """Make the arrays from journal records, which know nothing of joules yet."""
    numbers = {name: np.array([_number(row.get(name)) for row in rows], np.float64) for name in NUMBERS}
    texts = {name: np.array([_text(row.get(name)) for row in rows], np.object_) for name in TEXTS}
    return derived(numbers, texts)


def derived(numbers: dict[str, Array], texts: dict[str, npt.NDArray[np.object_]]) -> Queries:
    """Complete the columns that a table has: failed queries score 0, joules get their standard deviations."""
    known = {name: np.where(np.isfinite(column), column, np.nan) for name, column in numbers.items()}
    failed = texts["status"] != "ok"
    known["score"] = np.where(failed, 0.0, np.clip(np.nan_to_num(known["score"]), 0.0, 1.0))
    for name in ("prompt_tokens", "completion_tokens"):
        known[name] = np.where(failed, np.nan_to_num(known[name]), known[name])
    energy_sd = np.nan_to_num((known["energy_high_j"] - known["energy_low_j"]) / (2 * Z95))
    with np.errstate(divide="ignore", invalid="ignore"):
        power_sd = np.nan_to_num(known["power_w"] * energy_sd / known["energy_j"], posinf=0.0, neginf=0.0)
    known |= {
        "one": np.ones(len(failed)),
        "tokens": known["prompt_tokens"] + known["completion_tokens"],
        "uncached_tokens": known["prompt_tokens"] - np.nan_to_num(known["cached_tokens"]),
        "latency_s": (known["end_ns"] - known["start_ns"]) / 1e9,
        "ttft_s": (known["first_token_ns"] - known["start_ns"]) / 1e9,
    }
    # In joules, the edge between prefill and decode is as uncertain as the edges of the query.
    in_joules = dict.fromkeys(("energy_j", "prefill_energy_j", "decode_energy_j"), energy_sd)
    return Queries(known, texts, in_joules | {"power_w": power_sd})


def _number(x: object) -> float:
    return float(x) if isinstance(x, int | float) and not isinstance(x, bool) else np.nan


def _text(x: object) -> str:
    return x if isinstance(x, str) else ""
