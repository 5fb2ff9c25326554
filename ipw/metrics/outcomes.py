"""What became of each question: the little that the accounting needs of every answer, read a part at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.metrics.stats import Array
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.runs.queries import shared_texts

if TYPE_CHECKING:
    import pyarrow as pa

Texts = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]
TEXTS = ("status", "error", "failure", "finish_reason", "tokens_source", "usage_doubt")
NUMBERS = ("score", "parsed", "logprob_tokens", "completion_tokens", "graded")
ALSO = ("tool_calls", "final")
"""Read for what is made of them."""
ANSWERS = ("response", "reasoning")
"""Of these texts only this is kept: whether they are white space alone, and whether an answer is the usual one. A text
that is not there is not known."""
LONGEST = 200
"""Characters of a text that tell it from others."""
FIRST = 64
"""Answers among which the usual one is looked for."""
ROWS = 1 << 14
"""Read at once: the answers of all queries may be gigabytes."""


class Outcomes(NamedTuple):
    """A row a question that was asked in the measured window; of a task, its last request.

    Absent text is '', an absent number NaN.
    """

    status: Texts
    error: Texts
    failure: Texts
    """`transport` where no whole answer came, so that the question may be asked another time."""
    finish_reason: Texts
    tokens_source: Texts
    usage_doubt: Texts
    """What speaks against the server's own count of tokens."""
    score: Array
    """As it was given: a question that nobody scored is NaN here, also where others were."""
    parsed: Array
    logprob_tokens: Array
    completion_tokens: Array
    graded: Array
    """0 where nothing can be right, as in a turn without an answer in the data set."""
    blank: Bools
    """Whether the answer is there and says nothing; one that calls a tool does, unless it was the last of its task."""
    thinking: Bools
    """Whether there is thinking beside it."""
    usual: Texts
    """The answer, where it is the text that is the commonest among the first ones; else ''."""


def load_outcomes(run: RunDir) -> Outcomes:
    """Read them from `queries.parquet`, or from the journal where a crash came before the tables.

    Raises ValueError or OSError where the table is damaged.
    """
    parts, usual = [], ""
    for table in _tables(run):
        usual = usual or _usual(table)
        parts.append(_columns(table, usual))
    return Outcomes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _tables(run: RunDir) -> Iterator[pa.Table]:
    import pyarrow as pa

    columns = (*TEXTS, *NUMBERS, *ANSWERS, *ALSO)
    yield pa.table({name: pa.nulls(0) for name in columns})
    if (run.path / "queries.parquet").is_file():
        yield from run.read_parts("queries", columns, ROWS)
        return
    rows = [[_plain(record.get(name), name) for name in columns] for record in counted(run)]
    if rows:
        yield pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _plain(x: object, name: str) -> object:
    if name in NUMBERS or name in ALSO:
        return float(x) if isinstance(x, bool | int | float) else None
    if not isinstance(x, str):
        return None
    text = x.encode(errors="replace").decode()
    return text.strip()[: LONGEST if name == "response" else 1] if name in ANSWERS else text


def _usual(table: pa.Table) -> str:
    """The commonest text of the first answers that say something; '' where none does."""
    if not {"status", "response"} <= set(table.column_names):
        return ""
    answers = zip(*(table[name].slice(0, FIRST).to_pylist() for name in ("status", "response")), strict=True)
    said = [text for status, answer in answers if status == "ok" and (text := (answer or "").strip()[:LONGEST])]
    return Counter(said).most_common(1)[0][0] if said else ""


def _columns(table: pa.Table, usual: str) -> list[npt.NDArray[np.generic]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    def column(name: str, kind: pa.DataType) -> pa.ChunkedArray:
        found = table[name] if name in table.column_names else pa.nulls(table.num_rows)
        return pa.chunked_array(found.cast(kind))

    final = column("final", pa.float64())
    table = table.filter(pc.not_equal(final, 0).fill_null(True))  # the others ask for a tool, and the task goes on
    final = column("final", pa.float64())
    texts = [shared_texts(column(name, pa.string())) for name in TEXTS]
    numbers = [column(name, pa.float64()).to_numpy(zero_copy_only=False) for name in NUMBERS]
    response, reasoning = (pc.utf8_trim_whitespace(column(name, pa.string())) for name in ANSWERS)
    calls = pc.greater(column("tool_calls", pa.float64()).fill_null(0), 0)
    silent = pc.and_(pc.equal(response, ""), pc.or_(pc.invert(calls), pc.equal(final, 1).fill_null(False)))
    alike = pc.equal(pc.utf8_slice_codeunits(response, 0, LONGEST), usual)
    each = (silent, pc.not_equal(reasoning, ""), alike)
    blank, thinking, same = (truths.fill_null(False).to_numpy() for truths in each)
    return [*texts, *numbers, blank, thinking, np.where(same, np.array(usual, np.object_), "")]
