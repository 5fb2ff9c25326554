from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports.made_runs import make_run

from ipw.gate.comparable import check_session, invalid, observe
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import CHECKS
from ipw.metrics.summary import summarize

ARMS: tuple[ArmName, ArmName] = ("base", "candidate")
HOST = {"name": "bench", "cpu": "Test CPU", "threads": 8, "memory_bytes": 16 << 30, "power_source": "mains"}


def one(folder: Path, arm: ArmName, pair: int, gauges: Mapping[str, Any] | None = None, **changes: Any) -> Observed:
    manifest = {"model": {"name": "m", "digest": "sha256:1"}, "dataset": {"digest": "sha256:2", "questions": 12}}
    changes["manifest"] = manifest | dict(changes.get("manifest", {}))
    run = make_run(folder, f"{arm}-{pair}", **({"scores": (1.0, 0.0) * 6} | changes))
    run.write_summary(summarize(run))
    return replace(observe(run, arm, pair, 0), gauges=gauges or {})


def session(folder: Path, **candidate: Any) -> list[Observed]:
    """Two pairs, all alike but for the candidate's second run."""
    alike = [one(folder, arm, pair) for pair in (0, 1) for arm in ARMS if (arm, pair) != ("candidate", 1)]
    return [*alike, one(folder, "candidate", 1, **candidate)]


def faults(observed: list[Observed], **given: Any) -> list[str]:
    return [check["check"] for check in invalid(check_session(observed, **given))]


def test_runs_that_are_alike_pass_every_check(tmp_path: Path) -> None:
    checks = check_session(session(tmp_path))
    assert invalid(checks) == []
    assert {check["check"] for check in checks} <= set(CHECKS)


@pytest.mark.parametrize(
    ("manifest", "check"),
    [
        ({"host": HOST | {"cpu": "Other CPU"}}, "host"),
        ({"host": HOST | {"name": "other"}}, "host"),
        ({"host": HOST | {"power_source": "battery"}}, "power source"),
        ({"basis": "package"}, "basis"),
        ({"dataset": {"digest": "sha256:3", "questions": 12}}, "data set"),
        ({"dataset": {"digest": "sha256:2", "questions": 11}}, "data set"),
        ({"software": {"python": "3.12.0"}}, "software"),
        ({"model": {"name": "m", "digest": "sha256:9"}}, "model"),
        ({"neighbours": {"start": [{"pid": 7, "name": "miner"}], "end": []}}, "other processes"),
        ({"sampler": {"died": "killed", "cpu_s": 1, "wall_s": 1}}, "measurement"),
        ({"attribution": None}, "measurement"),
    ],
)
def test_runs_made_under_other_conditions_cannot_be_compared(
    manifest: dict[str, Any], check: str, tmp_path: Path
) -> None:
    if "neighbours" in manifest:
        nobody: dict[str, Any] = {"neighbours": {"start": [], "end": []}}
        observed = [one(tmp_path, "base", 0, manifest=nobody), one(tmp_path, "candidate", 0, manifest=manifest)]
    else:
        observed = session(tmp_path, manifest=manifest)
    assert check in faults(observed)


def test_another_model_is_a_candidate_unless_the_gate_says_that_it_must_be_the_same(tmp_path: Path) -> None:
    other = {"model": {"name": "n", "digest": "sha256:9"}}
    observed = [one(tmp_path, "base", 0), one(tmp_path, "candidate", 0, manifest=other)]
    assert faults(observed) == []
    assert faults(observed, equal=["model"]) == ["model"]


def test_one_model_must_read_the_same_prompts_as_the_same_tokens(tmp_path: Path) -> None:
    observed = session(tmp_path, columns={"prompt_tokens": [10] * 11 + [11]})
    assert faults(observed) == ["prompt_tokens"]
    other = {"model": {"name": "n", "digest": "sha256:9"}}
    columns = {"prompt_tokens": [12] * 12}
    observed = [one(tmp_path / "b", "base", 0), one(tmp_path / "b", "candidate", 0, manifest=other, columns=columns)]
    assert faults(observed) == []


@pytest.mark.parametrize(
    ("name", "columns"),
    [("responses", {"response": ["another"] * 12}), ("completion_tokens", {"completion_tokens": [6] * 12})],
)
def test_answers_may_differ_unless_the_gate_says_that_they_must_not(
    name: str, columns: dict[str, Any], tmp_path: Path
) -> None:
    observed = session(tmp_path, columns=columns)
    assert faults(observed) == []
    assert faults(observed, equal=[name]) == [name]


def test_prompts_that_one_server_had_at_hand_make_a_comparison_invalid_unless_allowed(tmp_path: Path) -> None:
    observed = session(tmp_path, columns={"cached_tokens": [8] * 12})
    assert faults(observed) == ["cached tokens"]
    assert faults(observed, allow=["cached tokens"]) == []


def test_an_arm_that_produced_nothing_is_invalid_and_so_is_one_whose_requests_fail(tmp_path: Path) -> None:
    assert {"nothing", "failed requests"} <= set(faults(session(tmp_path, scores=(None,) * 12)))
    assert faults(session(tmp_path / "some", scores=(1.0, 0.0) * 30 + (None,))) == ["failed requests"]
    assert faults(session(tmp_path / "many", scores=(1.0, 0.0) * 5 + (1.0, None))) == ["measurement", "failed requests"]


def test_an_arm_whose_answers_are_empty_or_cut_is_not_comparable_and_no_fast_one(tmp_path: Path) -> None:
    empty = {"response": [""] * 6 + ["said"] * 6}
    cut = {"finish_reason": ["length"] * 6 + ["stop"] * 6}
    for name, columns in (("empty", empty), ("cut", cut)):
        assert faults(session(tmp_path / name, columns=columns)) == ["measurement"]


@pytest.mark.parametrize(
    ("gauges", "check"),
    [
        ({"nvml/gpu0/temperature": ("C", 60.0, 62.0)}, "start temperature"),
        ({"nvml/gpu0/power_limit": ("W", 400.0, 400.0)}, "power limit"),
        ({"nvml/gpu0/sm_clock": ("MHz", 1980.0, 1200.0)}, "clocks"),
    ],
)
def test_heat_power_limits_and_clocks_must_be_alike(gauges: dict[str, Any], check: str, tmp_path: Path) -> None:
    usual = {
        "nvml/gpu0/temperature": ("C", 50.0, 60.0),
        "nvml/gpu0/power_limit": ("W", 700.0, 700.0),
        "nvml/gpu0/sm_clock": ("MHz", 1980.0, 1900.0),
    }
    alike = [one(tmp_path, arm, pair, usual) for pair in (0, 1, 2) for arm in ARMS]
    assert faults(alike) == []
    assert faults([*alike[:-1], one(tmp_path / "odd", "candidate", 2, usual | gauges)]) == [check]


def test_a_candidate_that_runs_at_another_clock_throughout_is_judged(tmp_path: Path) -> None:
    observed = [
        one(tmp_path, arm, pair, {"nvml/gpu0/sm_clock": ("MHz", 1980.0, 1900.0 if arm == "base" else 1400.0)})
        for pair in (0, 1)
        for arm in ARMS
    ]
    assert faults(observed) == []
