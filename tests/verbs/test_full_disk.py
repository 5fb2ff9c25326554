from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles.full_disk import room_for
from doubles.openai_server import Behaviour, serving

from ipw.errors import FAILURE, OutageError
from ipw.verbs.common.conclude import conclude
from ipw.verbs.resume import resume
from ipw.workloads.lm.measure import measure_lm
from ipw.workloads.lm.parameters import Parameters

ROOM = 12_000
"""Bytes that the kernel lets a file have: enough for a manifest, too little for the journal."""


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    rows = [{"id": f"q{i}", "prompt": f"say {i}", "answer": f"say {i}" if i % 3 else "no"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_whose_journal_cannot_be_written_ends_with_what_it_has_and_can_be_resumed(
    questions: Path, tmp_path: Path
) -> None:
    with serving(lambda request: Behaviour([request.prompt])) as server:
        parameters = Parameters(base_url=server.url, dataset=str(questions), warmup=0)
        with room_for(ROOM):
            run, interrupted = measure_lm(parameters, "estimate", 0.05, tmp_path / "runs")
        assert not interrupted
        with pytest.raises(OutageError, match=r"cannot write .*journal\.jsonl: File too large; \d+ of 40") as told:
            conclude(run, interrupted=False, as_json=False, strict=False)
        assert told.value.exit_code == FAILURE
        assert "ipw resume" in (told.value.hint or "")
        kept = [record["query_id"] for record in run.journal("query")]
        assert (run.path / "journal.jsonl").read_bytes().endswith(b"}\n")
        summary = run.summary()
        assert summary is not None
        assert 0 < len(kept) == summary["metrics"]["queries"]["value"] < 40
        assert not summary["valid"]
        assert [check["ok"] for check in summary["validity"] if check["check"] == "record"] == [True]

        assert resume(run=run.path, as_json=False, strict=True) == 0
        assert sorted(record["query_id"] for record in run.journal("query")) == sorted(f"q{i}" for i in range(40))
