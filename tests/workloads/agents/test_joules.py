"""Joules of tasks, turns and tools against a machine whose power at every moment is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from doubles.typed import typed

from ipw.errors import USAGE
from ipw.metrics.outcomes import load_outcomes
from ipw.pipeline import derive
from ipw.profilers.base import Channel
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.readings import READINGS, RECORD_FIELDS
from ipw.workloads.agents.asked import Asked, Call, Message
from ipw.workloads.agents.derive import derive_agent
from ipw.workloads.agents.joules import Drew
from ipw.workloads.agents.structure import structure
from ipw.workloads.agents.tables import task_rows
from ipw.workloads.agents.task_scores import TASK_SCORES, write_task_scores

SECOND = 1_000_000_000
GPU_IDLE, GPU_BUSY, CPU_IDLE, CPU_TOOL = 20.0, 120.0, 10.0, 60.0
SENSORS: Sequence[tuple[str, Literal["gpu", "package"]]] = (("nvml/gpu0", "gpu"), ("rapl/package-0", "package"))
HELLO = Message("user", "hello")


def asks(number: int, start_s: float, end_s: float, one: dict[str, Any]) -> dict[str, Any]:
    start, end = int(start_s * SECOND), int(end_s * SECOND)
    agent = Asked(start_ns=start, end_ns=end, **one).as_record()
    return {
        "kind": "query", "query_id": f"q{number}", "status": "ok", "start_ns": start, "end_ns": end, "agent": agent,
        "first_token_ns": start + (end - start) // 10, "prompt_tokens": 10 * (number + 1), "completion_tokens": 5,
        "cached_tokens": 2, "concurrency": 1,
    }  # fmt: skip


def calling(text: str, *tools: str) -> Message:
    return Message("assistant", text, text[:4], tuple(Call(f"{text}-{t}", t, t) for t in tools))


def write(folder: Path, records: list[dict[str, Any]], busy: Sequence[tuple[int, float, float, float]]) -> RunDir:
    """A GPU and a package, read every 100 ms; `busy` says which of them draws how much more, from when to when."""
    run = RunDir.create(folder, "agents")
    channels = [
        Channel(name=name, kind="counter", scope=scope, method="counter", gain_rel=0.0).as_dict()
        | {"index": index, "in_total": True}
        for index, (name, scope) in enumerate(SENSORS)
    ]
    run.write_manifest(
        {
            "workload": {"kind": "agent", "parameters": {}},
            "sensors": channels,
            "method": "counter",
            "basis": "gpu+package",
        }
    )
    spans = [("idle before", "idle", 0, 9), ("measure", "measure", 10, 40), ("idle after", "idle", 41, 50)]
    marks = [
        {"kind": "span", "name": n, "phase": p, "start_ns": a * SECOND, "end_ns": b * SECOND} for n, p, a, b in spans
    ]
    (run.path / JOURNAL).write_text("".join(json.dumps(record) + "\n" for record in [*marks, *records]))
    t_s = np.linspace(0, 50, 501)
    readings = np.zeros(2 * t_s.size, RECORD_FIELDS)
    for channel, idle_w in enumerate((GPU_IDLE, CPU_IDLE)):
        mine = readings[channel::2]
        mine["channel"], mine["t_ns"], mine["value"] = channel, t_s * SECOND, idle_w * t_s
        for which, more_w, since, until in busy:
            mine["value"] += more_w * np.clip(t_s - since, 0, until - since) * (which == channel)
    (run.path / READINGS).write_bytes(readings.tobytes())
    return run


def rows(run: RunDir, name: str) -> list[dict[str, Any]]:
    table = run.read_table(name)
    assert table is not None
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def one_agent() -> list[dict[str, Any]]:
    first = calling("", "search", "calc")
    second = Message("assistant", "so", "so")
    history = (HELLO, first, Message("tool", "r", "", (), (first.calls[0].id,)))
    return [
        asks(0, 12, 16, {"messages": (HELLO,), "said": first}),
        asks(1, 20, 24, {"messages": history, "said": second}),
        asks(2, 30, 32, {"messages": (*history, second, Message("user", "go")), "said": Message("assistant", "end")}),
    ]


GPU, CPU = 0, 1
TURNS = [(GPU, GPU_BUSY - GPU_IDLE, a, b) for a, b in ((12, 16), (20, 24), (30, 32))]


def test_turns_tools_and_pauses_of_a_task_are_what_was_drawn_in_it(tmp_path: Path) -> None:
    run = write(tmp_path, one_agent(), [*TURNS, (CPU, CPU_TOOL - CPU_IDLE, 16, 20)])
    derive_agent(run)
    (task,) = rows(run, "tasks")
    both_idle = GPU_IDLE + CPU_IDLE
    drawn = 20 * both_idle + 10 * (GPU_BUSY - GPU_IDLE) + 4 * (CPU_TOOL - CPU_IDLE)
    assert task["energy_j"] == pytest.approx(drawn, rel=1e-3)
    assert task["energy_j"] == pytest.approx(
        task["turn_energy_j"] + task["tool_energy_j"] + task["pause_energy_j"], rel=1e-9
    )
    assert task["tool_energy_j"] == pytest.approx(4 * (GPU_IDLE + CPU_TOOL), rel=1e-2)
    assert task["pause_energy_j"] == pytest.approx(6 * both_idle, rel=1e-2)
    assert task["net_energy_j"] == pytest.approx(drawn - 20 * both_idle, rel=2e-2)
    assert task["energy_low_j"] < task["energy_j"] < task["energy_high_j"]
    counts = ("task", "conversations", "turns", "tool_calls", "start_ns", "end_ns", "tool_s")
    assert [task[name] for name in counts] == ["task-1", 1, 3, 2, 12 * SECOND, 32 * SECOND, 4.0]
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "resent_tokens")
    assert [task[name] for name in tokens] == [60, 6, 15, 15 + 25]
    search, calc = rows(run, "tools")
    assert search["energy_j"] == calc["energy_j"] == pytest.approx(task["tool_energy_j"] / 2)
    queries = rows(run, "queries")
    assert [(q["task"], q["conversation"], q["turn"], q["tool"]) for q in queries] == [
        ("task-1", 1, 1, "search, calc"), ("task-1", 1, 2, None), ("task-1", 1, 3, None),
    ]  # fmt: skip


def test_a_tool_of_one_agent_beside_the_requests_of_another_bears_the_cpu_and_not_the_gpu(tmp_path: Path) -> None:
    """One agent's tool heats the CPU while the GPU answers another; each is alone for a while too."""
    first, other = calling("", "search"), Message("user", "other")
    after = (HELLO, first, Message("tool", "r", "", (), (first.calls[0].id,)))
    records = [
        asks(0, 12, 14, {"messages": (HELLO,), "said": first}),
        asks(1, 18, 26, {"messages": (other,), "said": Message("assistant", "long")}),
        asks(2, 30, 32, {"messages": after, "said": Message("assistant", "end")}),
    ]
    more_w = GPU_BUSY - GPU_IDLE
    busy = [(GPU, more_w, 12, 14), (GPU, more_w, 18, 26), (GPU, more_w, 30, 32), (CPU, 50.0, 14, 30)]
    run = write(tmp_path, records, busy)
    derive_agent(run)
    (tool,) = rows(run, "tools")
    _, beside, _ = rows(run, "queries")
    assert tool["net_energy_j"] == pytest.approx(16 * 50.0, rel=0.03)
    assert beside["net_energy_j"] == pytest.approx(8 * more_w, rel=0.03)
    assert tool["energy_j"] == pytest.approx(16 * 50.0 + 8 * GPU_IDLE + 8 * CPU_IDLE + 4 * CPU_IDLE, rel=0.03)
    tasks = rows(run, "tasks")
    facts = run.manifest()["attribution"]
    assert sum(task["energy_j"] for task in tasks) == pytest.approx(facts["attributed_j"] + facts["beside_j"])
    assert facts["measured_j"] == pytest.approx(
        facts["attributed_j"] + facts["beside_j"] + facts["idle_j"] + facts["unattributed_j"], rel=1e-6
    )


def test_tasks_keep_the_scores_that_they_were_given(tmp_path: Path) -> None:
    run = write(tmp_path, one_agent(), TURNS)
    write_task_scores(run, {"task-1": 0.5, "nobody": 1.0})
    derive_agent(run)
    assert [task["score"] for task in rows(run, "tasks")] == [0.5]


def test_tasks_of_a_run_that_has_ended_are_scored_by_a_file(tmp_path: Path) -> None:
    run = write(tmp_path, one_agent(), TURNS)
    derive(run)
    scores = tmp_path / "scores.csv"
    scores.write_text("task,score\ntask-1,0.5\nnobody,1\n")
    said = typed("score", str(run.path), "--scores", str(scores), "--json")
    assert (said.returncode, said.stderr) == (0, "not a task of this run: nobody\n")
    assert json.loads(said.stdout)["metrics"]["task_accuracy"]["value"] == 0.5
    assert RunDir.open(run.path).manifest()["recorded"]["files"][TASK_SCORES]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--scores", "{none}"], "no score is of a task"),
        ([], "say how to score"),
        (["--scores", "{none}", "--scorer", "exact"], "say how to score"),
        (["--scores", "{none}", "--judge-url", "http://localhost:9"], "say how to score"),
        (["--scorer", "exact"], "holds no answers to score"),
    ],
)
def test_scores_that_fit_no_task_or_no_run_are_refused_in_one_line(tmp_path: Path, words: list[str], told: str) -> None:
    run = write(tmp_path, one_agent(), TURNS)
    derive(run)
    none = tmp_path / "none.csv"
    none.write_text("task,score\nnobody,1\n")
    said = typed("score", str(run.path), *(word.format(none=none) for word in words))
    assert said.returncode == USAGE
    assert told in said.stderr


def test_without_a_tool_and_a_pause_there_are_empty_tables(tmp_path: Path) -> None:
    run = write(tmp_path, one_agent()[:1], TURNS[:1])
    derive_agent(run)
    (task,) = rows(run, "tasks")
    assert (task["tool_calls"], task["tool_energy_j"], task["pause_energy_j"]) == (2, None, 0.0)
    costs = [row for row in rows(run, "costs") if row["by"] == "tool"]
    names = ("count", "measured", "seconds", "energy_j", "energy_high_j")
    assert [tuple(row[name] for name in names) for row in costs] == [(1, 0, None, None, None)] * 2
    assert [(tool["end_ns"], tool["energy_j"]) for tool in rows(run, "tools")] == [(None, None)] * 2


def test_calls_at_once_of_one_tool_are_as_uncertain_together_as_what_they_share(tmp_path: Path) -> None:
    records = one_agent()
    records[0]["agent"]["said"] = Asked(start_ns=0, end_ns=0, said=calling("", "calc", "calc")).as_record()["said"]
    run = write(tmp_path, records, [*TURNS, (CPU, CPU_TOOL - CPU_IDLE, 16, 20)])
    derive_agent(run)
    (cost,) = [row for row in rows(run, "costs") if row["by"] == "tool"]
    each = rows(run, "tools")
    assert (cost["count"], cost["measured"], cost["seconds"], len(each)) == (2, 2, 4.0, 2)
    for end in ("energy_low_j", "energy_j", "energy_high_j"):
        assert cost[end] == pytest.approx(sum(row[end] for row in each)), end


@pytest.mark.parametrize(("told", "tokens", "resent"), [(5, 75, 40), (None, None, None)])
def test_tokens_that_one_answer_does_not_tell_are_no_zero(
    told: int | None, tokens: int | None, resent: int | None
) -> None:
    found = structure([Asked.from_record(record) for record in one_agent()])
    numbers = {"prompt_tokens": np.array([10.0, 20.0, 30.0]), "cached_tokens": np.zeros(3)}
    numbers["completion_tokens"] = np.array([5.0, np.nan if told is None else told, 5.0])
    drew = Drew(*(np.ones(3) for _ in Drew._fields))
    gap, pause = (Drew(*(np.ones(len(some)) for _ in Drew._fields)) for some in (found.gaps, found.pauses))
    (task,) = task_rows(found, drew, gap, pause, numbers, {})
    assert (task["tokens"], task["resent_tokens"], task["prompt_tokens"]) == (tokens, resent, 60)


def test_a_request_for_vectors_has_no_tokens_of_an_answer() -> None:
    found = structure([Asked(start_ns=0, end_ns=SECOND, task="t", api="embeddings", tells=False)])
    numbers = {"prompt_tokens": np.array([7.0]), "cached_tokens": np.array([np.nan])}
    numbers["completion_tokens"] = np.array([np.nan])
    one, none = (Drew(*(np.ones(count) for _ in Drew._fields)) for count in (1, 0))
    (task,) = task_rows(found, one, none, none, numbers, {})
    assert (task["tokens"], task["completion_tokens"]) == (7, 0)


def test_a_run_without_a_request_has_empty_tables(tmp_path: Path) -> None:
    run = write(tmp_path, [], [])
    derive_agent(run)
    assert rows(run, "tasks") == rows(run, "tools") == []


def test_a_request_that_was_tried_again_is_no_failed_question(tmp_path: Path) -> None:
    first, again, *_ = one_agent()
    failed = first | {"query_id": "f", "status": "error", "start_ns": SECOND * 11, "end_ns": int(SECOND * 11.5)}
    failed |= {"first_token_ns": None, "agent": first["agent"] | {"said": None}}
    run = write(tmp_path, [failed, first, again], TURNS[:2])
    derive_agent(run)
    assert [q["retries"] for q in rows(run, "queries")] == [None, "f", None]
    assert load_outcomes(run).status.tolist() == ["ok", "ok"]
    (task,) = rows(run, "tasks")
    assert (task["turns"], task["requests"], task["failed"]) == (2, 3, 1)
    assert task["failed_energy_j"] > 0
