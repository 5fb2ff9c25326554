"""Two agents do the same if their tasks are the same, whatever each asks of the model on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workloads.agents.test_joules import HELLO, asks, calling, write

from ipw.errors import UsageError
from ipw.gate.comparable import check_session, invalid, observe, what_differs
from ipw.gate.compare import compare
from ipw.gate.judging import check_metrics, judge_rules, paired_scores
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import CHECKS, Rule, read_policy
from ipw.gate.tasks import load_tasks
from ipw.metrics.metric import EnergyFacts
from ipw.pipeline import derive
from ipw.runs.agent_tables import TASKS
from ipw.runs.directory import RunDir
from ipw.runs.queries import from_records
from ipw.workloads.agents.asked import Asked, Message
from ipw.workloads.agents.joules import Drew
from ipw.workloads.agents.metrics import task_metrics
from ipw.workloads.agents.structure import structure
from ipw.workloads.agents.tables import COUNTS, table, task_rows
from ipw.workloads.agents.task_scores import write_task_scores

SAME_MODEL = {"model": {"name": "m", "digest": "sha256:1"}}
Given = dict[str, Any]


def system(text: str) -> Message:
    return Message("system", text)


def question(number: int) -> Message:
    return Message("user", f"question {number}")


def plain(number: int, at: float, instructions: str = "answer", **more: Any) -> list[Given]:
    """A task of one request."""
    asked = (system(instructions), question(number))
    return [asks(10 * number, at, at + 1, {"messages": asked, "said": Message("assistant", "so")} | more)]


def with_tool(number: int, at: float, instructions: str = "call", **more: Any) -> list[Given]:
    """The same task in two requests with a tool between, under other instructions."""
    asked, call = (system(instructions), question(number)), calling(f"c{number}", "calc")
    history = (*asked, call, Message("tool", "r", "", (), (call.calls[0].id,)))
    first = asks(10 * number, at, at + 1, {"messages": asked, "said": call} | more)
    second = asks(10 * number + 1, at + 2, at + 3, {"messages": history, "said": Message("assistant", "so")} | more)
    return [first | {"prompt_tokens": 99, "cached_tokens": 0}, second | {"cached_tokens": 90}]


def derived(folder: Path, arm: ArmName, records: list[Given], scores: dict[str, float]) -> RunDir:
    """A run with readings, all of whose figures are derived."""
    place = folder / arm
    place.mkdir()
    run = write(place, records, [])
    write_task_scores(run, scores)
    run.write_summary(derive(run))
    return run


def measured(
    folder: Path, arm: ArmName, pair: int, records: list[Given], scores: Mapping[str, float] | None = None
) -> Observed:
    """A run of which only the tasks are derived."""
    run = RunDir.create(folder, f"{arm}-{pair}")
    found = structure([Asked.from_record(record) for record in records])
    tokens = {name: np.array([record[name] for record in records], np.float64) for name in COUNTS}
    drew = [Drew(*(np.ones(len(some)) for _ in Drew._fields)) for some in (records, found.gaps, found.pauses)]
    rows = task_rows(found, drew[0], drew[1], drew[2], tokens, scores or {})
    run.write_table("tasks", table(rows, TASKS))
    metrics = task_metrics(rows, EnergyFacts("counter", "", None), seed=1)
    summary = {"workload": {"kind": "agent"}, "metrics": metrics}
    return Observed(arm, pair, 0, str(run), SAME_MODEL, summary, from_records(records), {}, {}, load_tasks(run))


def session(folder: Path, base: list[Given], candidate: list[Given], **given: Any) -> list[Observed]:
    arms: tuple[tuple[ArmName, list[Given]], ...] = (("base", base), ("candidate", candidate))
    return [measured(folder, arm, 0, records, **given) for arm, records in arms]


def tasks(one: Any, count: int = 3, **more: Any) -> list[Given]:
    return [record for number in range(count) for record in one(number, 12 + 5 * number, **more)]


def faults(observed: list[Observed], **given: Any) -> list[str]:
    return [f"{check['check']}: {check['detail']}" for check in invalid(check_session(observed, **given))]


def test_an_agent_with_tools_can_be_compared_with_one_without(tmp_path: Path) -> None:
    observed = session(tmp_path, tasks(plain), tasks(with_tool))
    assert faults(observed) == []
    checks = {check["check"]: check["detail"] for check in check_session(observed)}
    assert checks["tasks"] == "the same 3 in every run"
    assert set(checks) <= set(CHECKS)
    (told,) = what_differs(observed)
    assert "base 1 requests, 0 calls of tools" in told
    assert "candidate 2 requests, 1 calls of tools" in told
    assert faults(observed, equal=["prompt_tokens"])[0].startswith("prompt_tokens")


def test_agents_that_do_other_tasks_are_not_comparable_until_tasks_are_named(tmp_path: Path) -> None:
    observed = session(tmp_path / "fewer", tasks(plain), tasks(with_tool, 2))
    assert faults(observed)[0] == (
        "tasks: candidate 1 against base 1: 2 tasks against 3, of which 2 are the same; "
        "name tasks (x-ipw-task, --tasks) if both sides ask for them in other words"
    )
    other = [asks(0, 12, 13, {"messages": (HELLO,)})]
    observed = session(tmp_path / "other", tasks(plain, 1), other)
    assert faults(observed)[0].startswith("tasks")
    assert faults(observed, allow=["tasks"]) == []
    named = [asks(0, 12, 13, {"messages": (HELLO,), "task": "t"})]
    assert faults(session(tmp_path / "named", tasks(plain, 1, task="t"), named)) == []


def test_the_prompts_of_one_arm_that_a_server_had_at_hand_in_one_run_alone_are_a_fault(tmp_path: Path) -> None:
    warm = [record | {"cached_tokens": record["prompt_tokens"]} for record in tasks(plain)]
    observed = [*session(tmp_path, tasks(plain), tasks(with_tool)), measured(tmp_path, "base", 2, warm)]
    (told,) = faults(observed)
    assert told.startswith("cached tokens: base 1")
    assert "candidate" not in told


def test_accuracy_is_judged_task_by_task_where_one_side_solves_none(tmp_path: Path) -> None:
    arms: tuple[tuple[ArmName, Any, float], ...] = (("base", with_tool, 1.0), ("candidate", plain, 0.0))
    observed = []
    for arm, one, score in arms:
        scores = {f"task-{number}": score for number in (1, 2, 3)}
        observed.append(measured(tmp_path, arm, 0, tasks(one), scores))
    rule = Rule("task_accuracy", 0.01, "lower", in_points=True)
    assert check_metrics(observed, [rule])["ok"]
    assert [scores.tolist() for scores in paired_scores(observed)] == [[1.0] * 3, [0.0] * 3]
    found = judge_rules(observed, [rule], {}, 0.3)["task_accuracy"]
    assert (found.verdict, found.estimate, found.n) == ("regressed", -1.0, 3)


def test_stored_runs_of_agents_are_compared_task_by_task(tmp_path: Path) -> None:
    scores = {f"task-{number}": 1.0 for number in (1, 2, 3)}
    base, candidate = (
        derived(tmp_path, "base", tasks(plain), scores), derived(tmp_path, "candidate", tasks(with_tool), scores)
    )  # fmt: skip
    assert observe(base, "base", 0, 0).tasks is not None
    found = compare(base, candidate)
    shown = {row["metric"]: row for row in found["rows"]}
    assert (found["paired_by"], found["questions"], found["left_out"]) == ("task", 3, 0)
    assert shown["turns_per_task"]["change"] == pytest.approx(1.0)
    assert (shown["task_accuracy"]["kind"], shown["task_accuracy"]["change"]) == ("difference", 0.0)
    assert shown["cached_token_share"]["reason"] is None
    assert shown["babbling_energy_share"]["reason"] == "no task has it in both runs"
    assert shown["energy_per_task_j"]["change"] == pytest.approx(2.0, rel=0.01)  # 3 s of the same idle for 1 s


def test_a_gate_holds_tasks_that_are_solved_to_points_or_to_a_fraction() -> None:
    (points,) = read_policy({"metrics": {"task_accuracy": {"margin_points": 2.0}}}, "g", "agent").rules
    (fraction,) = read_policy({"metrics": {"task_accuracy": {"margin": 0.02}}}, "g", "agent").rules
    assert (points.margin, points.points, fraction.margin, fraction.points) == (0.02, True, 0.02, False)
    with pytest.raises(UsageError, match="'margin' is not known"):
        read_policy({"metrics": {"accuracy": {"margin": 0.02}}}, "g", "agent")


def test_later_turns_of_a_conversation_may_hold_other_answers(tmp_path: Path) -> None:
    def row(turn: int, tokens: int) -> Given:
        told = {"query_id": f"q{turn}", "status": "ok", "score": 1.0, "turn": turn, "completion_tokens": 3}
        return told | {"prompt_tokens": tokens}

    def run(arm: ArmName, *tokens: int) -> Observed:
        queries = from_records([row(turn, count) for turn, count in enumerate(tokens, 1)])
        return Observed(arm, 0, 0, "", SAME_MODEL, {"workload": {"kind": "lm"}}, queries, {}, {})

    assert faults([run("base", 10, 20), run("candidate", 10, 25)]) == []
    assert faults([run("base", 10, 20), run("candidate", 11, 20)])[0].startswith("prompt_tokens")


def test_tasks_that_an_older_version_derived_lack_what_it_did_not_tell(tmp_path: Path) -> None:
    one = measured(tmp_path, "base", 0, tasks(plain))
    run = RunDir(Path(one.path))
    stored = run.read_table("tasks")
    assert stored is not None
    run.write_table("tasks", stored.drop_columns(["named", "opens", "tokens", "calls_measured", "ended_energy_j"]))
    found = load_tasks(run)
    assert found.texts["query_id"].tolist() == ["task-1", "task-2", "task-3"]
    assert np.isnan(found.numbers["tokens"]).all()
    run.write_table("tasks", stored.slice(0, 0))
    assert load_tasks(run).numbers["score"].size == 0
