"""The spans of a run as arrays: from `spans.parquet`, or from the journal where a crash came before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ipw.energy.curve import Ints
from ipw.runs.directory import RunDir
from ipw.shapes import finite as number


class RecordedSpans(NamedTuple):
    """What was going on when; arrays of one length."""

    phases: tuple[str, ...]
    phase: Ints
    """Index into `phases`."""
    start_ns: Ints
    end_ns: Ints

    def of(self, phase: str) -> RecordedSpans:
        """Keep the spans of one phase."""
        keep = self.phase == (self.phases.index(phase) if phase in self.phases else -1)
        return RecordedSpans(self.phases, self.phase[keep], self.start_ns[keep], self.end_ns[keep])


def load_spans(run: RunDir) -> RecordedSpans:
    """Read the spans of `run`; none is no error. Raises ValueError, KeyError or OSError where the table is damaged."""
    names = ["phase", "start_ns", "end_ns"]
    table = run.read_table("spans", names)
    if table is None:
        return from_records(run.journal("span"))
    import pyarrow as pa

    whole = table.select(names).drop_null()
    phase = whole["phase"].cast(pa.string()).combine_chunks().dictionary_encode()
    times = [whole[name].cast(pa.int64()).to_numpy() for name in ("start_ns", "end_ns")]
    return RecordedSpans(tuple(phase.dictionary.to_pylist()), phase.indices.to_numpy().astype(np.int64), *times)


def from_records(records: Iterable[Mapping[str, Any]]) -> RecordedSpans:
    """Make the arrays from journal records; those without times are left out."""
    known = [r for r in records if number(r.get("start_ns")) is not None and number(r.get("end_ns")) is not None]
    phases = tuple(dict.fromkeys(str(r.get("phase")) for r in known))
    phase = np.array([phases.index(str(r.get("phase"))) for r in known], np.int64)
    start, end = (np.array([int(r[name]) for r in known], np.int64) for name in ("start_ns", "end_ns"))
    return RecordedSpans(phases, phase, start, end)
