"""Which part of a host's joules belongs to which rank."""

from __future__ import annotations

from pathlib import Path

from ipw.attribution.ranks import rank_parts
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL


def test_a_span_of_no_rank_has_all_of_the_hosts(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    sensors = [{"name": "package", "index": 0, "scope": "package", "kind": "counter"}]
    run.write_manifest({"run_id": "a", "sensors": sensors, "ranks": {"on_this_host": 2}})
    (run.path / JOURNAL).write_text('{"kind":"rank","rank":0,"devices":[],"ended":true}\n')
    parts = rank_parts(run, [{"phase": "step", "rank": 0}, {"phase": "step"}, {"phase": "measure", "rank": 0}])
    assert parts["package"].tolist() == [0.5, 1.0, 1.0]
