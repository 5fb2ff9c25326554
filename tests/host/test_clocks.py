"""Clocks of several nodes: offsets from round trips, and power series on one clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import IpwError
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD
from ipw.studies.cluster.clocks import Offset, Recording, between, join, offset

MS = 1_000_000


@given(
    st.integers(-(10**15), 10**15),
    st.lists(st.tuples(st.integers(0, 20 * MS), st.integers(0, 20 * MS)), min_size=1, max_size=20),
)
def test_an_offset_is_as_good_as_it_says_however_the_network_delays(ahead: int, delays: list[tuple[int, int]]) -> None:
    now, trips = 10**9, []
    for there, back in delays:
        trips.append((now, now + there + ahead, now + there + back))
        now += there + back + MS
    found = offset(trips)
    assert abs(found.ahead_ns - ahead) <= found.error_ns + 1
    assert found.error_ns <= min(there + back for there, back in delays) // 2 + 1


@given(st.integers(-3 * 10**9, 3 * 10**9), st.floats(-1e-4, 1e-4))
def test_a_clock_that_is_off_by_seconds_and_drifts_is_corrected_to_a_millisecond(off: int, drift: float) -> None:
    """The other node's clock is `off` ahead of the driver's and drifts; the main one's is the driver's."""
    start, end = 10**10, 10**10 + 600 * 10**9

    def ahead(t_ns: int) -> int:
        return off + int(drift * (t_ns - start))

    main = (Offset(start, 0, MS // 10), Offset(end, 0, MS // 10))
    other = (Offset(start, ahead(start), MS // 10), Offset(end, ahead(end), MS // 10))
    base, rate, error = between(main, other)
    for t_ns in (start, (start + end) // 2, end):
        there = t_ns + ahead(t_ns)
        assert abs(there + base + rate * there - t_ns) < MS
    assert error <= MS


def test_a_clock_that_is_not_known_to_a_millisecond_is_refused() -> None:
    vague = (Offset(0, 0, 2 * MS), Offset(10**9, 0, MS))
    with pytest.raises(IpwError, match=r"2\.1 ms"):
        between((Offset(0, 0, MS // 10), Offset(10**9, 0, MS // 10)), vague)


def made(folder: Path) -> RunDir:
    run = RunDir(folder / "run")
    run.path.mkdir()
    run.write_manifest({"sensors": [channel()]})
    (run.path / READINGS).write_bytes(b"".join(RECORD.pack(t * MS, 1.0 * t, 0, 0, 10) for t in range(0, 100, 10)))
    return run


def channel(**more: Any) -> dict[str, Any]:
    return {"name": "nvml/gpu0", "index": 0, "kind": "counter", "in_total": True, "included_in": None} | more


def test_readings_of_another_node_join_on_the_runs_clock_as_uncertain_as_the_offset(tmp_path: Path) -> None:
    run = made(tmp_path)
    ahead = 2 * 10**9  # two seconds
    theirs = b"".join(RECORD.pack(t * MS + ahead, 5.0 * t, 0, 0, 10) for t in range(5, 100, 10))
    exact = (Offset(0, 0, 1000), Offset(10**9, 0, 1000))
    other = (Offset(0, ahead, 2000), Offset(10**9, ahead, 2000))
    join(run, exact, [Recording("b", [channel()], theirs + b"torn", other)])
    readings = run.readings()
    assert np.all(np.diff(readings["t_ns"]) == 5 * MS)
    assert readings["channel"].tolist() == [0, 1] * 10
    assert set(readings["uncertainty_ns"][readings["channel"] == 1].tolist()) == {3010}
    assert [c["name"] for c in run.manifest()["sensors"]] == ["nvml/gpu0", "node2/nvml/gpu0"]


def test_nodes_whose_joules_have_another_basis_are_refused(tmp_path: Path) -> None:
    exact = (Offset(0, 0, 1000), Offset(10**9, 0, 1000))
    with pytest.raises(IpwError, match="measures rapl/package-0, not nvml/gpu0"):
        join(made(tmp_path), exact, [Recording("b", [channel(name="rapl/package-0")], b"", exact)])
