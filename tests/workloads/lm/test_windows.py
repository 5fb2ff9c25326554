from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reports.made_runs import BUSY_W, IDLE_W, SECOND, make_run

from ipw.attribution.queries.phases import Timing, query_spans
from ipw.attribution.queries.windows import attribute_windows, measured_windows
from ipw.runs.directory import RunDir
from ipw.runs.readings import RECORD_FIELDS
from ipw.runs.recorded import Recorded

PARTS = ((0, 20), (100, 130))
"""Seconds that were measured; the machine was busy in between too, with who knows what."""


def timing(starts_s: list[float], length_s: float = 1.0) -> Timing:
    starts = (np.array(starts_s) * SECOND).astype(np.int64)
    ends = starts + int(length_s * SECOND)
    count = np.ones(starts.size, np.int64)
    return Timing(starts, ends, ends, 10 * count, 0 * count, count)  # the first token is all of the answer


def mark(start_s: float, end_s: float) -> dict[str, object]:
    return {"name": "measure", "phase": "measure", "start_ns": int(start_s * SECOND), "end_ns": int(end_s * SECOND)}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A counter that was read from 3 s before each part to 3 s behind it."""
    made = make_run(tmp_path, readings=False)
    pieces = []
    for start, end in PARTS:
        t = np.arange((start - 3) * SECOND, (end + 3) * SECOND + 1, SECOND // 10)
        rows = np.zeros(t.size, RECORD_FIELDS)
        busy = np.clip(t, start * SECOND, end * SECOND) - start * SECOND
        rows["t_ns"], rows["value"] = t, (IDLE_W * (t - t[0]) + (BUSY_W - IDLE_W) * busy) / SECOND
        rows["value"] += 1e4 if start else 0.0
        pieces.append(rows)
        lost = np.zeros(1, RECORD_FIELDS)
        lost["t_ns"], lost["value"], lost["status"] = t[-1] + 1, np.nan, 4
        pieces.append(lost)
    (made.path / "power.bin").write_bytes(np.concatenate(pieces[:-1]).tobytes())
    return made


def test_windows_are_as_marked_and_where_nothing_was_marked_as_the_queries_lie() -> None:
    queries = timing([1, 5, 101, 110])
    assert measured_windows([mark(0, 20), mark(100, 130)], queries) == [(0, 20 * SECOND), (100 * SECOND, 130 * SECOND)]
    assert measured_windows([mark(0, 20)], queries) == [(0, 20 * SECOND), (101 * SECOND, 111 * SECOND)]
    assert measured_windows([], timing([1, 5])) == [(1 * SECOND, 6 * SECOND)]
    assert measured_windows([], timing([])) == []


def test_every_query_of_a_resumed_run_gets_its_own_and_what_lies_between_the_parts_is_nobodys(run: RunDir) -> None:
    starts = [second for start, end in PARTS for second in range(start, end)]
    spans = query_spans(timing([float(s) for s in starts]))
    found = attribute_windows(Recorded.of(run), spans, [(start * SECOND, end * SECOND) for start, end in PARTS])
    assert found is not None
    assert found.owners.energy_j == pytest.approx(BUSY_W, rel=0.02)
    assert found.owners.energy_j.sum() == pytest.approx(50 * BUSY_W, rel=1e-3)
    assert found.facts["measured_j"] == pytest.approx(50 * BUSY_W, rel=1e-3)
    assert found.facts["attributed_j"] == pytest.approx(found.owners.energy_j.sum())
    assert found.facts["mean_power_w"] == pytest.approx(BUSY_W, rel=1e-3)
    assert found.facts["coverage"] == pytest.approx(1)
    assert found.facts["channels"] == {"nvml/gpu0": pytest.approx(50 * BUSY_W, rel=1e-3)}
    assert found.facts["windows_ns"] == [[start * SECOND, end * SECOND] for start, end in PARTS]
    assert found.covered.all()


def test_one_window_is_attributed_as_ever(run: RunDir) -> None:
    found = attribute_windows(Recorded.of(run), query_spans(timing([1.0, 5.0])), [(0, 20 * SECOND)])
    assert found is not None
    assert "windows_ns" not in found.facts
    assert attribute_windows(Recorded.of(run), query_spans(timing([])), []) is None
