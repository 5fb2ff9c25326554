"""Resuming runs of agents: what would be run in the name of somebody else's run is asked about first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.runs.checks.seal import seal
from ipw.verbs.common.trust import check_trusted
from ipw.verbs.resume import stored_parameters
from ipw.workloads.agents.loop.parameters import AgentParameters
from ipw.workloads.texts.identity import digest


def workload(**more: Any) -> dict[str, Any]:
    parameters = AgentParameters(base_url="http://localhost:1", **more).as_dict() | {"idle_s": 1.0}
    return {"kind": "agent", "parameters": parameters, "digest": digest(parameters)}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("more", [{"tools": "evil:run"}, {"dataset": "evil.jsonl"}])
def test_tools_of_a_run_that_somebody_else_began_are_not_run_unasked(more: dict[str, Any], given: bool) -> None:
    with pytest.raises(UsageError, match="run the tools"):
        check_trusted(Path("run"), workload(**more), given=given, yes=False)
    check_trusted(Path("run"), workload(**more), given=given, yes=True)


def test_ones_own_run_and_the_bundled_tasks_are_believed() -> None:
    own = workload(tools="mine:run")
    check_trusted(Path("run"), own | {"seal": seal(own["parameters"])}, given=False, yes=False)
    check_trusted(Path("run"), workload(tools="calculator"), given=True, yes=False)


def test_options_of_an_agent_are_read_back_as_they_were() -> None:
    parameters, idle_s = stored_parameters({"workload": workload(max_turns=3, tools="calculator")}, Path("run"))
    assert parameters == AgentParameters(base_url="http://localhost:1", max_turns=3, tools="calculator")
    assert idle_s == 1.0


def test_a_gateways_run_is_not_resumed() -> None:
    told = {"workload": {"kind": "agent", "parameters": {"by": "gateway"}, "digest": "x"}}
    with pytest.raises(UsageError, match="cannot be asked again"):
        stored_parameters(told, Path("run"))
