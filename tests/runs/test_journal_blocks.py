from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipw.runs import journal_lines
from ipw.runs.directory import RunDir
from ipw.runs.run_shapes import record_of

SPAN = b'{"kind":"span","name":"idle","phase":"idle","start_ns":0,"end_ns":%d}'
QUERY = b'{"kind":"query","query_id":"%d","start_ns":1,"end_ns":2}'
ODD = b'{ "kind":"span","name":"by hand","phase":"idle","start_ns":0,"end_ns":%d}'
LINES = st.sampled_from([SPAN, ODD, b"torn %d", b'{"kind":"querying","n":%d}', b'{"kind":"query\r","n":%d}'])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_lines, "BLOCK_BYTES", 300)
    monkeypatch.setattr(journal_lines.JournalLines, "KEPT", 4)


@given(st.lists(st.one_of(LINES, st.integers(1, 40)), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_of_a_kind_are_found_wherever_they_stand_among_many_of_another(
    small_blocks: None, tmp_path: Path, parts: list[bytes | int], ends: bool
) -> None:
    lines: list[bytes] = []
    for part in parts:  # a number stands for so many questions
        lines += [QUERY % n for n in range(part)] if isinstance(part, int) else [part % len(lines)]
    (tmp_path / "journal.jsonl").write_bytes(b"\n".join(lines) + b"\n" * ends)
    run = RunDir(tmp_path)
    whole = [record for line in lines if (record := record_of(line))]
    for _ in range(2):  # as scanned, and as kept from it
        for kind in ("span", "query", "warmup"):
            assert list(run.journal(kind)) == [record for record in whole if record["kind"] == kind]
