"""Agents in run files: the options of both verbs become the parameters that their workloads take."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipw.errors import UsageError
from ipw.gate.policy import read_policy
from ipw.metrics.definitions import definition_of
from ipw.studies.runfile import load
from ipw.verbs.common.lazy import WORKLOADS
from ipw.workloads.agents.gateway.measure import GatewayParameters
from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.base import split


def cell(folder: Path, text: str) -> dict[str, object]:
    path = folder / "run.toml"
    path.write_text(f"[run]\n{text}")
    own, _ = split(load(path, WORKLOADS).options)
    return own


def test_a_loop_of_our_own_is_asked_for_by_its_verbs_options(tmp_path: Path) -> None:
    own = cell(tmp_path, 'workload = "agent"\ntools = "calculator"\nmax-turns = 3\n')
    parameters = AgentParameters(**own)  # type: ignore[arg-type]
    assert (parameters.tools, parameters.max_turns, parameters.dataset) == ("calculator", 3, "bundled-tools")


def test_a_program_behind_the_gateway_is_too(tmp_path: Path) -> None:
    own = cell(tmp_path, 'workload = "gateway"\nmodel = "dense"\ncommand = ["python", "agent.py"]\n')
    parameters = GatewayParameters(**own)  # type: ignore[arg-type]
    assert (list(parameters.command), parameters.model) == (["python", "agent.py"], "dense")


def test_where_traces_go_is_said_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="otlp"):
        cell(tmp_path, 'workload = "agent"\notlp = "http://localhost:4318"\n')


@pytest.mark.parametrize("workload", ["agent", "gateway"])
def test_a_gate_knows_the_metrics_of_tasks_and_which_way_is_worse(workload: str) -> None:
    names = ("energy_per_task_j", "energy_per_solved_task_j", "task_accuracy")
    document = {"metrics": {name: {"margin": 0.05} for name in names}}
    rules = {rule.metric: rule.harm for rule in read_policy(document, "gate.toml", workload).rules}
    assert rules == {"energy_per_task_j": "higher", "energy_per_solved_task_j": "higher", "task_accuracy": "lower"}


def test_a_metric_is_known_by_its_name_whichever_workload_has_it() -> None:
    for name, unit in (("energy_per_task_j", "J"), ("energy_per_query_j", "J"), ("step_time_s", "s")):
        found = definition_of(name)
        assert found is not None
        assert found.unit == unit
    assert definition_of("no_such_metric") is None
