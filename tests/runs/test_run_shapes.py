"""Lines of a journal whose moments do not follow one another are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipw.runs.run_shapes import manifest_fault, record_of

SPAN = {"kind": "span", "phase": "idle", "start_ns": 5, "end_ns": 5}
STEP = {"kind": "step", "method": "a", "step": 0, "start_ns": 1, "end_ns": 9, "phases": ["x"], "edges_ns": [1, 5, 9],
        "data_ns": [0, 1]}  # fmt: skip
QUERY = {"kind": "query", "query_id": "a", "start_ns": 1, "first_token_ns": 2, "end_ns": 2}
OFFLOAD = {"kind": "offload", "cache_size": 1, "expert_bytes": 1, "decode_ns": [[1, 2], [2, 2]], "decoded_tokens": 1,
           "accesses": 1, "hits": 1, "loaded_bytes": 1}  # fmt: skip


@pytest.mark.parametrize("anchor", [[], [1], [1, 2, 3]])
def test_an_anchor_is_a_moment_by_each_of_two_clocks(anchor: list[int]) -> None:
    manifest = {"schema_version": 2, "run_id": "a", "anchors": [[1, 2], anchor]}
    assert manifest_fault(manifest) == f"anchors[1] has {len(anchor)} moments, not 2"
    assert manifest_fault(manifest | {"anchors": [[1, 2], [3, 4]]}) is None


def read(record: dict[str, Any]) -> dict[str, Any] | None:
    return record_of(json.dumps(record).encode())


@pytest.mark.parametrize("record", [SPAN, STEP, OFFLOAD, QUERY, QUERY | {"first_token_ns": None}])
def test_moments_in_order_are_read(record: dict[str, Any]) -> None:
    assert read(record) == record


@pytest.mark.parametrize(
    "record",
    [
        SPAN | {"end_ns": 4},
        STEP | {"rank": {}},
        {"kind": "loss", "step": 0, "rank": "0", "loss": 1.0},
        QUERY | {"first_token_ns": 3},
        QUERY | {"first_token_ns": 0},
        QUERY | {"first_token_ns": None, "end_ns": 0},
        QUERY | {"kind": "warmup", "end_ns": 0},
        STEP | {"end_ns": 0},
        STEP | {"edges_ns": [1, 9, 5]},
        OFFLOAD | {"decode_ns": [[1, 2], [3, 2]]},
        OFFLOAD | {"decode_ns": [[1, 2, 3]]},
        OFFLOAD | {"decode_ns": [[1]]},
    ],
)
def test_what_cannot_be_is_no_line(record: dict[str, Any]) -> None:
    assert read(record) is None
