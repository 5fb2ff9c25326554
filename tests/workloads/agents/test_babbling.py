"""What an answer drew after it was complete, from the moments at which its chunks came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workloads.agents.test_joules import CPU, HELLO, SECOND, asks, calling, rows, write

from ipw.metrics.metric import EnergyFacts
from ipw.runs.arrivals import ARRIVALS, encoded
from ipw.workloads.agents.asked import Asked, Message
from ipw.workloads.agents.babbling import shown
from ipw.workloads.agents.derive import derive_agent
from ipw.workloads.agents.metrics import NO_END, NO_TIMES, task_metrics
from ipw.workloads.agents.reading.sent import asks_for_json

GIVEN = "3 + 4 = 7\n#### 7"
ENDED = f"{GIVEN}\n\nQ: and what then?\nA: nothing"
"""The second of its five chunks completes the answer: a third of the characters."""


def answered(number: int, start_s: float, text: str, **more: Any) -> dict[str, Any]:
    """One second until the first of five chunks, and one between them."""
    asked = (Message("user", f"question {number}"),)
    record = asks(number, start_s, start_s + 5, {"messages": asked, "said": Message("assistant", text)})
    return record | {"first_token_ns": int((start_s + 1) * SECOND), "response": text, "reasoning": ""} | more


def came(record: dict[str, Any], at: int) -> tuple[dict[str, Any], bytes]:
    stamps = [record["first_token_ns"] + number * SECOND for number in range(5)]
    return record | {"arrivals": at}, encoded(record["start_ns"], stamps)


def test_joules_after_an_answer_are_those_of_its_decoding_behind_the_chunk_that_completed_it(tmp_path: Path) -> None:
    first, block = came(answered(0, 12, ENDED), 0)
    second, other = came(answered(1, 20, GIVEN), len(block))
    silent = answered(2, 28, "who knows")
    run = write(tmp_path, [first, second, silent], [(CPU, 50.0, 13, 17)])
    (run.path / ARRIVALS).write_bytes(block + other)
    found = derive_agent(run)["metrics"]["babbling_energy_share"]
    assert [(q["complete_by"], q["after_tokens"], q["after_s"]) for q in rows(run, "queries")] == [
        ("answer", 3, 3.0), ("answer", 0, 0.0), (None, None, None)
    ]  # fmt: skip
    told = [(task["babbling_energy_j"], task["ended_energy_j"]) for task in rows(run, "tasks")]
    decoding = [query["decode_energy_j"] for query in rows(run, "queries")]
    whole = [query["energy_j"] for query in rows(run, "queries")]
    assert told == [(pytest.approx(decoding[0] * 3 / 4), whole[0]), (0, whole[1]), (None, None)]
    assert decoding[0] == pytest.approx(4 * (20 + 10 + 50), rel=0.02)
    assert found["value"] == pytest.approx(decoding[0] * 3 / 4 / (whole[0] + whole[1]))
    assert (found["n"], found["method"]) == (2, "counter")


def test_each_of_several_answers_has_its_own_moments_in_whatever_order_they_were_kept(tmp_path: Path) -> None:
    second, other = came(answered(1, 20, ENDED), 0)
    first, block = came(answered(0, 12, f"{ENDED}{' and then' * 20}"), len(other))
    run = write(tmp_path, [first, answered(2, 28, ENDED), second], [])
    (run.path / ARRIVALS).write_bytes(other + block)
    derive_agent(run)
    assert [query["after_s"] for query in rows(run, "queries")] == [4.0, None, 3.0]


def test_without_moments_or_without_a_sign_it_is_absent_with_its_reason(tmp_path: Path) -> None:
    run = write(tmp_path, [answered(0, 12, ENDED, first_token_ns=None)], [])
    found = derive_agent(run)["metrics"]["babbling_energy_share"]
    (query,) = rows(run, "queries")
    assert (query["complete_by"], query["after_tokens"], query["after_s"]) == ("answer", 3, None)
    assert (found["value"], found["reason"]) == (None, NO_TIMES)
    none = [dict(rows(run, "tasks")[0]) | {"babbling_energy_j": None, "ended_energy_j": None}]
    assert task_metrics(none, EnergyFacts("counter", "", None), 1)["babbling_energy_share"]["reason"] == NO_END


@pytest.mark.parametrize(
    ("record", "asked", "sign"),
    [
        ({"response": ENDED}, {}, "answer"),
        ({"response": "{} more"}, {"json": True}, "json"),
        ({"response": "{} more"}, {}, None),
        ({"response": "no. " * 30, "finish_reason": "length"}, {}, "loop"),
        ({"response": "no. " * 30, "finish_reason": "stop"}, {}, None),
        ({"response": ENDED}, {"ok": False}, None),
        ({"response": ENDED}, {"said": calling("", "calc")}, None),
        ({"response": None}, {}, None),
        ({}, {}, None),
    ],
)
def test_only_an_answer_that_calls_no_tool_is_looked_at(record: dict[str, Any], asked: Any, sign: str | None) -> None:
    found = shown(record, Asked(start_ns=0, end_ns=1, messages=(HELLO,), **asked))
    assert (found and found.sign) == sign


def test_thinking_is_before_the_answer() -> None:
    one = Asked(start_ns=0, end_ns=1)
    record = {"response": "#### 7\nmore", "reasoning": "x" * 89}
    found = shown(record, one)
    assert found is not None
    assert found.share == pytest.approx(5 / 100)


@pytest.mark.parametrize(
    ("body", "json"),
    [
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"text": {"format": {"type": "json_schema"}}}, True),
        ({"text": {"format": {"type": "text"}}}, False),
        ({"format": "json"}, True),
        ({"format": {"properties": {"a": {}}}}, True),
        ({"format": ""}, False),
        ({"output_config": {"format": {"type": "json_schema"}}}, True),
        ({"guided_json": {"type": "object"}}, True),
        ({"response_format": 5, "text": [], "format": None}, False),
        ({}, False),
    ],
)
def test_that_a_document_is_asked_for_is_read_in_every_api(body: dict[str, Any], *, json: bool) -> None:
    assert asks_for_json(body) is json
    one = Asked(start_ns=0, end_ns=1, json=json)
    assert Asked.from_record({"start_ns": 0, "end_ns": 1, "status": "ok", "agent": one.as_record()}) == one
