"""`ipw import` of files that lie or are damaged: each is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interchange.peer_files import AIPERF, LM_EVAL, VLLM, amount, guidellm, refusal, written


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (AIPERF | {"request_latency": amount("fortnights", p50=1.0)}, "the unit 'fortnights'"),
        (AIPERF | {"request_count": amount("requests", avg=-1.0)}, "not a number from 0 on"),
        (AIPERF | {"total_osl": {"unit": "tokens", "avg": "<script>"}}, "not a number from 0 on"),
        (AIPERF | {"request_count": amount("requests", avg=1e308)}, "more than anything can be"),
        ({key: value for key, value in AIPERF.items() if key != "error_request_count"}
         | {"error_summary": [{"count": 1e308}, {"count": 1e308}]}, "more than anything can be"),
        (VLLM | {"duration": "soon"}, "not a number from 0 on"),
        (VLLM | {"ttfts": [{}], "errors": [""]}, "not a number from 0 on"),
        (LM_EVAL | {"results": {"one": {"acc,none": 7.0}}}, "more than 1"),
        ({"benchmarks": [guidellm(1) | {"metrics": guidellm(1)["metrics"] | {"request_totals": {"successful": []}}}]},
         "not a number from 0 on"),
        ({"something": "else"}, "nothing that can be imported"),
    ],
)  # fmt: skip
def test_a_file_that_says_what_cannot_be_is_refused_in_one_line(document: Any, told: str, tmp_path: Path) -> None:
    assert told in refusal(written(tmp_path / "foreign.json", document))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ['{"results": ', "[" * 5000, '{"a": 1}\n{"b"', "\x00\x01", "PK\x03\x04", ""])
def test_damaged_files_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text(text)
    refusal(tmp_path / "foreign")
