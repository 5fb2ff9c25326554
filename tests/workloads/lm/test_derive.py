from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipw.attribution.queries import journal_table
from ipw.attribution.queries import tables as derive
from ipw.attribution.queries.tables import derive_lm
from ipw.profilers.base import Channel
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.readings import READINGS, RECORD_FIELDS

SECOND = 1_000_000_000
IDLE_W, BUSY_W = 10.0, 50.0


def query(number: int, start_s: float, first_s: float | None, end_s: float, **values: Any) -> dict[str, Any]:
    times = {"start_ns": start_s, "first_token_ns": first_s, "end_ns": end_s}
    record: dict[str, Any] = {
        "kind": "query",
        "query_id": f"q{number}",
        "subject": "sum",
        "status": "ok",
        "error": None,
    }
    record |= {"prompt_tokens": 4, "completion_tokens": 3, "cached_tokens": 0, "tokens_source": "usage"}
    record |= {"finish_reason": "stop", "response": "4", "reasoning": "", "answer": "4", "score": 1.0, "concurrency": 1}
    record |= {name: None if value is None else int(value * SECOND) for name, value in times.items()}
    return record | values


def span(name: str, phase: str, start_s: float, end_s: float) -> dict[str, Any]:
    return {
        "kind": "span", "name": name, "phase": phase, "start_ns": int(start_s * SECOND), "end_ns": int(end_s * SECOND)
    }  # fmt: skip


def write_run(
    folder: Path, records: list[dict[str, Any] | str], *, until_s: float = 30.0, sensor: bool = True
) -> RunDir:
    """Write a run whose GPU draws `IDLE_W` up to second 10 and from 20 on, `BUSY_W` between, read every 10 ms."""
    run = RunDir.create(folder, "test")
    channel = Channel(name="nvml/gpu0", kind="counter", scope="gpu", method="counter", gain_rel=0.0).as_dict()
    run.write_manifest(
        {
            "workload": {"kind": "lm", "parameters": {}},
            "sensors": [channel | {"index": 0, "in_total": True}] if sensor else [],
            "method": "counter",
            "basis": "gpu" if sensor else None,
        }
    )
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (run.path / JOURNAL).write_text("".join(line + "\n" for line in lines))
    readings = np.zeros(int(until_s * 100) + 1, RECORD_FIELDS)
    t_s = np.linspace(0, until_s, readings.size)
    readings["t_ns"] = t_s * SECOND
    readings["value"] = IDLE_W * t_s + (BUSY_W - IDLE_W) * np.clip(t_s - 10, 0, 10)
    (run.path / READINGS).write_bytes(readings.tobytes() if sensor else b"")
    return run


MARKS = [span("idle before", "idle", 0, 9), span("warm-up", "warmup", 9, 10), span("measure", "measure", 10, 20)]


def rows(run: RunDir, name: str) -> list[dict[str, Any]]:
    table = run.read_table(name)
    assert table is not None
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_a_query_alone_gets_all_that_was_drawn_meanwhile(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14), query(1, 15, 16, 20)])
    derive_lm(run)
    first, second = rows(run, "queries")
    assert first["energy_j"] == pytest.approx(4 * BUSY_W, rel=1e-3)
    assert first["net_energy_j"] == pytest.approx(4 * (BUSY_W - IDLE_W), rel=1e-2)
    assert first["prefill_energy_j"] == pytest.approx(BUSY_W, rel=1e-2)
    assert first["decode_energy_j"] == pytest.approx(3 * BUSY_W, rel=1e-2)
    assert first["power_w"] == pytest.approx(BUSY_W, rel=1e-3)
    assert first["energy_low_j"] <= first["energy_j"] <= first["energy_high_j"]
    assert second["energy_j"] == pytest.approx(5 * BUSY_W, rel=1e-3)
    attribution = run.manifest()["attribution"]
    assert attribution["measured_j"] == pytest.approx(10 * BUSY_W, rel=1e-3)
    assert attribution["measured_j"] == pytest.approx(
        attribution["attributed_j"] + attribution["idle_j"] + attribution["unattributed_j"], rel=1e-6
    )


def test_queries_in_flight_together_share_and_lose_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, *(query(i, 10, 10.5 + i, 20, concurrency=4) for i in range(4))])
    derive_lm(run)
    assert sum(row["energy_j"] for row in rows(run, "queries")) == pytest.approx(10 * BUSY_W, rel=1e-3)


def test_every_column_of_the_journal_comes_through(tmp_path: Path) -> None:
    odd = query(1, 15, None, 20, status="error", error="HTTP 500", response="", subject=None, prompt_tokens=None)
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14, response='"\n\u0000é\U0001f600'), odd])
    derive_lm(run)
    first, second = rows(run, "queries")
    assert first["response"] == '"\n\u0000é\U0001f600'
    assert (second["status"], second["error"], second["subject"]) == ("error", "HTTP 500", None)
    assert (second["first_token_ns"], second["prompt_tokens"]) == (None, None)
    assert (second["prefill_energy_j"], second["decode_energy_j"]) == (None, None)
    assert second["energy_j"] == pytest.approx(5 * BUSY_W, rel=1e-3)


def test_spans_hold_the_marks_and_below_the_window_the_phases_of_each_query(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14, cached_tokens=1), query(1, 15, None, 20)])
    derive_lm(run)
    spans = rows(run, "spans")
    assert [span["span_id"] for span in spans] == list(range(6))
    assert [(span["name"], span["phase"], span["parent_id"], span["tokens"]) for span in spans] == [
        ("idle before", "idle", None, None),
        ("warm-up", "warmup", None, None),
        ("measure", "measure", None, None),
        ("q0", "prefill", 2, 3),
        ("q0", "decode", 2, 2),
        ("q1", "query", 2, 7),
    ]
    assert spans[0]["energy_j"] == pytest.approx(9 * IDLE_W, rel=1e-3)
    assert spans[3]["energy_j"] + spans[4]["energy_j"] == pytest.approx(4 * BUSY_W, rel=1e-3)


def test_warm_up_questions_are_in_no_table(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(9, 9, 9.2, 10) | {"kind": "warmup"}, query(0, 10, 11, 14)])
    derive_lm(run)
    assert [row["query_id"] for row in rows(run, "queries")] == ["q0"]


def test_a_crash_leaves_its_finished_queries_with_their_energy(tmp_path: Path) -> None:
    torn = json.dumps(query(2, 16, 17, 18))[:50]
    run = write_run(tmp_path, [MARKS[0], query(0, 10, 11, 14), query(1, 14, 15, 16), torn], until_s=18)
    derive_lm(run)
    assert [row["query_id"] for row in rows(run, "queries")] == ["q0", "q1"]
    assert run.manifest()["attribution"]["window_ns"] == [10 * SECOND, 16 * SECOND]
    assert run.manifest()["attribution"]["measured_j"] == pytest.approx(6 * BUSY_W, rel=1e-2)


def test_energy_is_unknown_where_no_reading_surrounds_a_query(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14), query(1, 15, 16, 20)], until_s=16)
    derive_lm(run)
    first, second = rows(run, "queries")
    assert first["energy_j"] is not None
    assert [second[name] for name in second if name.endswith(("_j", "_w"))] == [None] * 7
    assert rows(run, "spans")[-1]["energy_j"] is None


def test_without_a_sensor_there_are_tables_and_no_joules(tmp_path: Path) -> None:
    run = write_run(tmp_path, [*MARKS, query(0, 10, 11, 14)], sensor=False)
    derive_lm(run)
    assert rows(run, "queries")[0]["energy_j"] is None
    assert run.manifest()["attribution"] is None


def test_a_run_without_a_finished_query_has_empty_tables(tmp_path: Path) -> None:
    run = write_run(tmp_path, [MARKS[0]])
    derive_lm(run)
    assert rows(run, "queries") == []
    assert [row["name"] for row in rows(run, "spans")] == ["idle before"]


def test_a_journal_is_the_same_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [10 + i / 5 for i in range(51)]
    records = [query(i, a, a + 0.05, b) for i, (a, b) in enumerate(pairwise(times))]
    run = write_run(tmp_path, [*MARKS, *records[:20], "{torn", *records[20:]])
    derive_lm(run)
    whole = [rows(run, name) for name in ("queries", "spans")]
    monkeypatch.setattr(journal_table, "BLOCK_BYTES", 700)
    monkeypatch.setattr(derive, "SPANS_AT_ONCE", 7)
    derive_lm(run)
    assert [rows(run, name) for name in ("queries", "spans")] == whole
    assert len(whole[0]) == 50
