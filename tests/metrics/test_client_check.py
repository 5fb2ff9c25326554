"""A run says whether its client kept up: where that was never idle, it is what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.metrics.validity.client import client_checks

EASY = {"wall_s": 20.0, "cpu_s": 4.0, "queued_s": 0.5, "saturated_s": 0.0, "late_p99_s": 0.0021}


def checks(*parts: dict[str, Any], threads: int | None = 16) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for check in client_checks({"client": list(parts), "host": {"threads": threads}})}


def alone(**told: Any) -> dict[str, Any]:
    return {"processes": [EASY | told]}


def test_a_client_that_had_time_to_rest_is_told_with_how_busy_and_how_late_it_was() -> None:
    check = checks(alone())["client"]
    assert check["ok"]
    assert check["detail"] == "the process that asks: busy 20 % of the time, its timer 2.1 ms late (99 %)"


def test_a_client_that_was_never_idle_makes_the_run_not_valid_and_says_how_to_ask_by_more() -> None:
    check = checks(alone(cpu_s=19.5, saturated_s=19.0, late_p99_s=0.084))["client"]
    assert (check["ok"], check["level"]) == (False, "error")
    assert check["detail"] == (
        "the client was the bottleneck: the process that asks was never idle in 95 % of the window; moments are late "
        "by 84 ms (99 %); try --clients 4"
    )


@pytest.mark.parametrize(
    ("saturated_s", "level"), [(0.0, None), (0.2, None), (0.21, "warning"), (1.0, "warning"), (1.01, "error")]
)
def test_a_hundredth_of_the_window_is_told_and_a_twentieth_is_too_much(saturated_s: float, level: str | None) -> None:
    check = checks(alone(saturated_s=saturated_s))["client"]
    assert (None if check["ok"] else check["level"]) == level


@pytest.mark.parametrize(
    ("wall_s", "queued_s", "ok"), [(1.9, 0.0, True), (2.1, 0.0, False), (4.9, 1.0, True), (5.1, 1.0, False)]
)
def test_a_window_of_a_moment_says_nothing(wall_s: float, queued_s: float, ok: bool) -> None:
    assert checks(alone(wall_s=wall_s, queued_s=queued_s, saturated_s=wall_s))["client"]["ok"] == ok


def test_of_a_process_that_told_nothing_nothing_is_said() -> None:
    check = checks({"processes": [{"wall_s": 0.0, "asked": 0}]})["client"]
    assert check["detail"] == "the process that asks: nothing is known of how busy it was"


def test_of_several_processes_the_busiest_counts_and_twice_as_many_are_recommended() -> None:
    part = {"processes": [EASY, EASY | {"saturated_s": 18.0}], "schedule": EASY}
    check = checks(part)["client"]
    assert "the busiest of 2 that ask was never idle in 90 % of the window" in check["detail"]
    assert check["detail"].endswith("try --clients 4")


def test_no_more_processes_are_recommended_than_the_machine_has_processors_for() -> None:
    assert checks(alone(saturated_s=19.0), threads=3)["client"]["detail"].endswith("try --clients 3")
    assert "a machine with more free processors" in checks(alone(saturated_s=19.0), threads=1)["client"]["detail"]
    assert checks(alone(saturated_s=19.0), threads=None)["client"]["detail"].endswith("try --clients 4")


def test_where_the_one_that_hands_out_the_questions_cannot_keep_up_more_of_them_do_not_help() -> None:
    check = checks({"processes": [EASY, EASY], "schedule": EASY | {"saturated_s": 18.0}})["client"]
    assert "the process that hands out the questions was never idle" in check["detail"]
    assert "--shard" in check["detail"]


def test_a_client_that_had_to_wait_for_a_processor_says_so() -> None:
    check = checks(alone(cpu_s=4.0, queued_s=15.0, saturated_s=19.0))["client"]
    assert "waited for a processor 75 % of it: others had them" in check["detail"]
    assert "a machine with more free processors" in check["detail"]


def test_all_parts_of_a_run_that_was_resumed_count_together() -> None:
    assert checks(alone(), alone(saturated_s=0.4))["client"]["ok"]
    assert checks(alone(), alone(saturated_s=20.0))["client"]["level"] == "error"


def test_a_process_that_died_is_told_with_what_was_lost() -> None:
    dead = EASY | {"died": "killed by signal 9 (SIGKILL)", "lost": 3}
    check = checks({"processes": [EASY, dead], "schedule": EASY})["client processes"]
    assert not check["ok"]
    assert check["detail"] == "1 of 2 died (killed by signal 9 (SIGKILL)); 3 questions failed with it"


@pytest.mark.parametrize("client", [None, [], [{"processes": []}], [{"processes": [{}]}], [{}], [{"schedule": None}]])
def test_what_another_version_wrote_is_no_reason_to_fail(client: Any) -> None:
    assert all(check["ok"] for check in client_checks({"client": client}))
