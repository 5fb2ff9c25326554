"""The queries of a run as arrays: from `queries.parquet`, or from the journal where a crash came before the tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats
from ipw.energy.curve import Z95
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir

if TYPE_CHECKING:
    import pyarrow as pa

NUMBERS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "start_ns",
    "first_token_ns",
    "last_token_ns",
    "end_ns",
    "scheduled_ns",
    "score",
    "parsed",
    "logprob_sum",
    "logprob_tokens",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "turn",
    "graded",
    "prefill_energy_j",
    "decode_energy_j",
    "power_w",
)
DRAWN = (
    "prompt_tokens", "completion_tokens", "score", "energy_j", "prefill_energy_j", "decode_energy_j", "latency_s",
    "ttft_s",
)  # fmt: skip
"""What a page draws of all queries of all its runs."""
PASSES = ("forwards", "committed", "computed", "computable", "answer_length", "spared", "agrees")
"""Of masked diffusion models alone."""
TEXTS = ("query_id", "subject", "status")
"""What is short. Answers are read for the few that are shown (reports/answers.py)."""


@dataclass(frozen=True, slots=True)
class Queries:
    """All queries of a measured window, one a row. What is not known is NaN in `numbers`, '' in `texts`."""

    numbers: Mapping[str, Floats]
    """`NUMBERS`, and what follows from them: `right` (the score, and 0 in turns of a conversation in which nothing can
    be right, whose `score` is NaN), `one`, `tokens`, `uncached_tokens`, `latency_s`, `ttft_s`, `itl_s`
    (the mean of a query), `good` (whether it keeps to the latency targets; NaN without any)."""
    texts: Mapping[str, npt.NDArray[np.object_]]
    sds: Mapping[str, Floats]
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

    def without_energy(self) -> Queries:
        """Forget joules and watts."""
        unknown = {name: np.full(len(self), np.nan) for name in self.sds}
        return Queries({**self.numbers, **unknown}, self.texts, {name: np.zeros(len(self)) for name in self.sds})

    def drawn(self) -> Queries:
        """Keep what a page draws, in half the bytes: hundreds of runs are in memory at once."""
        numbers = {name: cast("Floats", self.numbers[name].astype(np.float32)) for name in DRAWN}  # single on purpose
        texts = {"query_id": _interned(self.texts["query_id"]), "status": self.texts["status"]}
        return Queries({**numbers, "one": cast("Floats", np.ones(len(self), np.bool_))}, texts, {})

    def by_subject(self) -> dict[str, Queries]:
        """Split by subject, in alphabetical order; queries without one are left out."""
        subjects = self.texts["subject"]
        return {str(name): self.where(subjects == name) for name in np.unique(subjects) if name}

    def by_turn(self) -> dict[str, Queries]:
        """Split by the turn of a conversation, from the first on; none where there are no conversations."""
        turns = self.numbers["turn"]
        return {f"{turn:g}": self.where(turns == turn) for turn in np.unique(turns[np.isfinite(turns)])}

    def _parts(self) -> tuple[Mapping[str, Any], ...]:
        return self.numbers, self.texts, self.sds


def _interned(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Let runs that were asked the same share the names of the questions."""
    return np.array(list(map(sys.intern, texts.tolist())), np.object_)


def load_queries(run: RunDir, more: Sequence[str] = ()) -> Queries:
    """Read the queries of `run`, with `more` columns of numbers; none is no error.

    Raises ValueError or OSError where a table is damaged.
    """
    wanted = (*NUMBERS, *more)
    table = run.read_table("queries", (*wanted, *TEXTS))
    if table is None:
        return from_records(list(counted(run)))
    import pyarrow as pa

    absent = pa.nulls(table.num_rows)
    columns = {name: table[name] if name in table.column_names else absent for name in (*wanted, *TEXTS)}
    numbers = {name: columns[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in wanted}
    return derived(numbers, {name: shared_texts(columns[name]) for name in TEXTS})


def shared_texts(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Texts as an array in which equal ones are one object."""
    import pyarrow as pa

    texts = pa.chunked_array(column.cast(pa.string())).fill_null("").combine_chunks().dictionary_encode()
    found: npt.NDArray[np.object_] = np.array(texts.dictionary.to_pylist(), np.object_)[texts.indices.to_numpy()]
    return found


def from_records(rows: Sequence[Mapping[str, Any]]) -> Queries:
    """Make the arrays from journal records, which know nothing of joules yet."""
    numbers = {name: np.array([_number(row.get(name)) for row in rows], np.float64) for name in NUMBERS}
    numbers["graded"] = np.array([float(row.get("graded") is not False) for row in rows])
    texts = {name: np.array([_text(row.get(name)) for row in rows], np.object_) for name in TEXTS}
    return derived(numbers, texts)


def derived(numbers: dict[str, Floats], texts: dict[str, npt.NDArray[np.object_]]) -> Queries:
    """Complete the columns that a table has: failed queries score 0, joules get their standard deviations."""
    known = {name: np.where(np.isfinite(column), column, np.nan) for name, column in numbers.items()}
    failed = texts["status"] != "ok"
    if np.isfinite(known["score"][~failed]).any() or failed.all():  # else nothing was scored, and failing is no wrong
        known["right"] = np.where(failed, 0.0, np.clip(np.nan_to_num(known["score"]), 0.0, 1.0))
        known["right"] = np.where(known["graded"] == 0, 0.0, known["right"])
    else:
        known["right"] = np.full(len(failed), np.nan)
    known["score"] = np.where(known["graded"] == 0, np.nan, known["right"])
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
        "itl_s": _mean_gap_s(known),
        "good": np.full(len(failed), np.nan),
        "perplexity": _perplexity(known),
    }
    # In joules, the edge between prefill and decode is as uncertain as the edges of the query.
    in_joules = dict.fromkeys(("energy_j", "prefill_energy_j", "decode_energy_j"), energy_sd)
    return Queries(known, texts, in_joules | {"power_w": power_sd})


def _perplexity(known: Mapping[str, Floats]) -> Floats:
    """Of each answer to the model that gave it; NaN where no log-probability is known."""
    tokens = known["logprob_tokens"]
    mean = np.divide(known["logprob_sum"], tokens, out=np.full(tokens.shape, np.nan), where=tokens > 0)
    perplexity: Floats = np.exp(-np.clip(mean, -700.0, 0.0))
    return perplexity


def _mean_gap_s(known: Mapping[str, Floats]) -> Floats:
    """Mean time an output token after the first; NaN where there is none."""
    gaps = known["completion_tokens"] - 1
    total_s = (known["last_token_ns"] - known["first_token_ns"]) / 1e9
    mean: Floats = np.divide(total_s, gaps, out=np.full(gaps.shape, np.nan), where=gaps > 0)
    return mean


def _number(x: object) -> float:
    return float(x) if isinstance(x, int | float) and not isinstance(x, bool) else np.nan


def _text(x: object) -> str:
    return x if isinstance(x, str) else ""
