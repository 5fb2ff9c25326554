"""The checks of a comparison to the digit: which run is blamed, with which numbers, and from where on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import SECOND, make_run

from ipw.gate.comparable import check_session, invalid, observe
from ipw.gate.observed import ArmName, Observed
from ipw.runs.queries import from_records
from ipw.runs.readings import READINGS, RECORD_FIELDS

ALIKE = {"model": {"digest": "sha256:1"}, "basis": "gpu"}
LM = {"workload": {"kind": "lm"}}
Gauge = tuple[str, float | None, float | None]


def row(name: str, prompt: int = 10, answer: int = 5, status: str = "ok", **more: Any) -> dict[str, Any]:
    tokens = {"prompt_tokens": prompt, "completion_tokens": answer}
    return {"query_id": name, "status": status, "score": 1.0} | tokens | more


def run(
    arm: ArmName,
    pair: int = 0,
    rows: Sequence[Mapping[str, Any]] = (row("a"), row("b")),
    *,
    manifest: Mapping[str, Any] = ALIKE,
    summary: Mapping[str, Any] = LM,
    responses: Mapping[str, int] | None = None,
    gauges: Mapping[str, Gauge] | None = None,
) -> Observed:
    return Observed(arm, pair, 0, "", manifest, summary, from_records(rows), responses or {}, gauges or {})


def detail(name: str, *observed: Observed, ok: bool = False, **given: Any) -> str:
    (check,) = (each for each in check_session(observed, **given) if each["check"] == name)
    assert check["ok"] == ok
    assert check["level"] == "error"
    return str(check["detail"])


# --- what each run's own checks found --------------------------------------------------------------------------------


def checked(name: str, level: str, *, ok: bool = False) -> dict[str, Any]:
    return {"validity": [{"check": name, "level": level, "ok": ok, "detail": f"of {name}"}], **LM}


@pytest.mark.parametrize(
    ("own", "counts"),
    [
        (checked("anything", "error"), True),
        (checked("throttling", "warning"), True),
        (checked("losses", "warning"), True),
        (checked("largest gap", "warning"), True),
        (checked("failed reads", "warning"), True),
        (checked("sensor failures", "warning"), True),
        (checked("anything", "warning"), False),
        (checked("anything", "error", ok=True), False),
        (checked("throttling", "warning", ok=True), False),
        (checked("other load", "error"), False),  # judged pair by pair instead
    ],
)
def test_a_runs_own_fault_counts_where_it_is_an_error_or_worse_in_a_gate(own: dict[str, Any], *, counts: bool) -> None:
    told = detail("measurement", run("base"), run("candidate", summary=own), ok=not counts)
    name = own["validity"][0]["check"]
    assert told == (f"candidate 1: {name}: of {name}" if counts else "2 runs, each valid")


@pytest.mark.parametrize(("faulty", "told"), [(2, 2), (3, 3), (4, 3), (9, 3)])
def test_of_many_faults_three_are_told_and_the_others_counted(faulty: int, told: int) -> None:
    runs = [run("candidate", pair, summary=checked("clock", "error")) for pair in range(faulty)]
    said = detail("measurement", *runs).split("; ")
    assert said[:told] == [f"candidate {pair + 1}: clock: of clock" for pair in range(told)]
    assert said[told:] == ([f"{faulty - 3} more"] if faulty > 3 else [])


def test_what_passes_says_how() -> None:
    found = {check["check"]: check["detail"] for check in check_session([run("base"), run("candidate")])}
    assert found == {
        "measurement": "2 runs, each valid",
        "nothing": "every run produced answers",
        "failed requests": "none",
        **dict.fromkeys(("host", "basis", "sensors", "data set", "software", "power source"), "the same in every run"),
        "model": "the same within each arm",
        "prompt_tokens": "the same in both arms",
        "cached tokens": "alike in every run",
        "other processes": "the same in every run",
        "other load": "little, and alike within each pair",
        "power limit": "the same in every run",
        "clocks": "alike within each arm",
        "start temperature": "alike within each pair",
    }
    assert [check["check"] for check in check_session([])][:2] == ["measurement", "host"]


# --- requests --------------------------------------------------------------------------------------------------------


def test_one_failure_in_a_hundred_is_borne_and_one_in_ninety_nine_is_not() -> None:
    failed = row("z", status="error")
    fine = [row(f"q{i}") for i in range(99)]
    assert detail("failed requests", run("base"), run("candidate", rows=[*fine, failed]), ok=True) == "none"
    told = detail("failed requests", run("base"), run("candidate", 4, rows=[*fine[1:], failed]))
    assert told == "candidate 5: 1 of 99"


def test_an_arm_is_silent_where_nothing_was_answered_or_no_token_came() -> None:
    silent = run("candidate", rows=[row("a", status="error"), row("b", status="error")])
    assert detail("nothing", run("base"), silent) == "candidate 1 produced nothing"
    empty = run("candidate", rows=[row("a", answer=0), row("b", answer=0)])
    assert detail("nothing", run("base"), empty) == "candidate 1 produced nothing"
    assert detail("nothing", run("base"), run("candidate", rows=[]), run("base", 1)) == "candidate 1 produced nothing"
    one_token = run("candidate", rows=[row("a", answer=0), row("b", answer=1)])
    assert detail("nothing", run("base"), one_token, ok=True) == "every run produced answers"


def test_requests_are_asked_of_language_models_alone() -> None:
    other = {"workload": {"kind": "train"}}
    observed = [run(arm, rows=[row("a", status="error")], summary=other) for arm in ("base", "candidate")]
    assert {"nothing", "failed requests"}.isdisjoint(check["check"] for check in check_session(observed))


# --- what must be the same -------------------------------------------------------------------------------------------


def sensed(**changes: Any) -> dict[str, Any]:
    channel = {"name": "nvml/gpu0", "device": "GPU-1", "driver": "550", "in_total": True, "index": 0}
    return ALIKE | {"sensors": [channel | changes]}


@pytest.mark.parametrize("change", [{"name": "nvml/gpu1"}, {"device": "GPU-2"}, {"driver": "560"}])
def test_another_device_or_driver_makes_other_sensors(change: dict[str, str]) -> None:
    assert "sensors" in [
        each["check"]
        for each in invalid(
            check_session([run("base", manifest=sensed()), run("candidate", manifest=sensed(**change))])
        )
    ]
    beside = sensed() | {"sensors": [*sensed()["sensors"], {"name": "rapl/core", "in_total": False, "index": 1}]}
    assert detail("sensors", run("base", manifest=sensed()), run("candidate", manifest=beside), ok=True)


@pytest.mark.parametrize("change", [{"name": "b"}, {"cpu": "b"}, {"threads": 9}, {"memory_bytes": 2}])
def test_another_machine_is_another_host_and_another_mood_of_it_is_not(change: dict[str, Any]) -> None:
    host = {"name": "a", "cpu": "a", "threads": 8, "memory_bytes": 1, "uptime": 5}
    base = run("base", manifest=ALIKE | {"host": host})
    assert detail("host", base, run("candidate", manifest=ALIKE | {"host": host | change}))
    later = ALIKE | {"host": host | {"uptime": 9}}
    assert detail("host", base, run("candidate", manifest=later), ok=True) == "the same in every run"


def test_a_difference_names_the_first_run_and_the_odd_one_and_cuts_what_is_long() -> None:
    told = detail("basis", run("base"), run("candidate"), run("candidate", 1, manifest=ALIKE | {"basis": "wall"}))
    assert told == "base 1: gpu, candidate 2: wall"
    just = detail("basis", run("base", manifest={"basis": "x" * 80}), run("candidate", manifest={"basis": "y" * 81}))
    assert just == f"base 1: {'x' * 80}, candidate 1: {'y' * 77}…"


def test_what_one_run_does_not_tell_is_no_difference() -> None:
    assert detail("basis", run("base", manifest={}), run("candidate", manifest={"basis": "gpu"}), ok=True)


def test_within_an_arm_the_model_never_changes() -> None:
    other = ALIKE | {"model": {"digest": "sha256:2"}}
    told = detail("model", run("base"), run("candidate", manifest=other), run("base", 1, manifest=other))
    assert told == "base 1: {'digest': 'sha256:1'}, base 2: {'digest': 'sha256:2'}"
    apart = [run("base"), run("candidate", manifest=other)]
    assert detail("model", *apart, ok=True) == "the same within each arm"
    same = [run("base"), run("candidate")]
    assert detail("model", *same, ok=True, equal={"model"}) == "the same in both arms"


# --- answers ---------------------------------------------------------------------------------------------------------


def test_tokens_are_compared_over_the_queries_that_both_answered() -> None:
    base = run("base", rows=[row("a", 10), row("b", 11), row("c", 12), row("only", 1)])
    other = run("candidate", rows=[row("a", 10), row("b", 99), row("c", 98, status="error"), row("x", 3), row("y", 4)])
    assert detail("prompt_tokens", base, other) == "candidate 1 against base 1: 1 of 4 queries"
    uncounted = [row("a", 10), {"query_id": "b", "status": "ok"}]
    assert detail("prompt_tokens", base, run("candidate", rows=uncounted), ok=True) == "the same in both arms"


def test_prompts_of_two_models_are_compared_within_each_arm() -> None:
    other = ALIKE | {"model": {"digest": "sha256:2"}}
    apart = [run("base"), run("candidate", rows=[row("a", 7), row("b", 7)], manifest=other)]
    assert detail("prompt_tokens", *apart, ok=True) == "the same within each arm"
    again = run("candidate", 1, rows=[row("a", 7), row("b", 8)], manifest=other)
    assert detail("prompt_tokens", *apart, again) == "candidate 2 against candidate 1: 1 of 2 queries"
    # a model that nobody knows the digest of may be another one
    unknown = [run("base", manifest={}), run("candidate", rows=[row("a", 7), row("b", 7)], manifest={})]
    assert detail("prompt_tokens", *unknown, ok=True) == "the same within each arm"


def test_texts_and_numbers_of_tokens_are_compared_only_where_they_must_be_the_same() -> None:
    apart = [run("base", responses={"a": 1, "b": 2}), run("candidate", responses={"a": 1, "b": 3, "c": 4})]
    assert {"responses", "completion_tokens"}.isdisjoint(check["check"] for check in check_session(apart))
    assert detail("responses", *apart, equal=["responses"]) == "candidate 1 against base 1: 1 of 3 queries"
    alike = detail("completion_tokens", *apart, ok=True, equal=["completion_tokens"])
    assert alike == "the same in both arms"


def test_an_answer_that_was_not_kept_is_compared_with_none(tmp_path: Path) -> None:
    kept = make_run(tmp_path, "kept", readings=False, scores=(1.0, 1.0, None))
    assert sorted(observe(kept, "base", 0, 0).responses) == ["q0", "q1"]
    lost = make_run(tmp_path, "lost", readings=False, scores=(1.0, 1.0))
    lost.write_table("queries", lost.read_table("queries").drop(["response"]))  # type: ignore[union-attr]
    assert observe(lost, "base", 0, 0).responses == {}
    (kept.path / "queries.parquet").unlink()
    assert observe(kept, "base", 0, 0).responses == {}


@pytest.mark.parametrize(("cached", "ok"), [(1, True), (2, False)])
def test_prompts_at_hand_may_lie_one_in_a_hundred_apart(cached: int, *, ok: bool) -> None:
    without = run("base", rows=[row("a", 100, cached_tokens=0), row("b", 100)])
    with_some = run("candidate", rows=[row("a", 100, cached_tokens=cached), row("b", 100, cached_tokens=cached)])
    none = run("candidate", 1, rows=[row("a", 0)])
    told = detail("cached tokens", with_some, without, none, ok=ok)
    assert told == ("alike in every run" if ok else "base 1 0.0 %, candidate 1 2.0 %")


# --- heat, clocks, limits, neighbours --------------------------------------------------------------------------------


def hot(
    arm: ArmName, pair: int, unit: str, began: float | None, median: float | None = None, name: str = "g"
) -> Observed:
    return run(arm, pair, gauges={name: (unit, began, median)})


def test_five_degrees_between_the_arms_of_a_pair_are_borne_and_more_are_told() -> None:
    borne = [hot("base", 0, "C", 50.0), hot("candidate", 0, "C", 45.0)]
    assert detail("start temperature", *borne, ok=True) == "alike within each pair"
    told = detail("start temperature", *borne, hot("candidate", 1, "C", 61.2), hot("base", 1, "C", 55.0))
    assert told == "g: pair 2: base at 55 °C, candidate at 61 °C"
    alone = [hot("base", 0, "C", 20.0), hot("candidate", 1, "C", 80.0), hot("candidate", 0, "C", None)]
    assert detail("start temperature", *alone, ok=True) == "alike within each pair"


@pytest.mark.parametrize(("clock", "ok"), [(1050.0, True), (950.0, True), (1060.0, False), (940.0, False)])
def test_a_clock_may_lie_a_twentieth_beside_the_middle_of_its_arm(clock: float, *, ok: bool) -> None:
    arm = [hot("base", pair, "MHz", None, 1000.0) for pair in (0, 1, 2)]
    other = [hot("candidate", 0, "MHz", None, 500.0), hot("candidate", 1, "MHz", None, None)]
    told = detail("clocks", *arm, *other, hot("base", 3, "MHz", None, clock), ok=ok)
    assert told == ("alike within each arm" if ok else f"g: base 4: {clock:.0f} MHz, where the arm has 1000")


def test_the_middle_of_an_arm_is_its_median() -> None:
    arm = [hot("base", pair, "MHz", None, clock) for pair, clock in enumerate((1000.0, 1000.0, 1000.0, 400.0))]
    assert detail("clocks", *arm) == "g: base 4: 400 MHz, where the arm has 1000"


def test_a_gauge_that_only_later_runs_have_is_known_by_its_unit() -> None:
    later = [hot("base", 1, "C", 40.0), hot("candidate", 1, "C", 60.0)]
    assert detail("start temperature", run("base"), run("candidate"), *later).startswith("g: pair 2")
    watts = [hot("base", 0, "W", 40.0, 9.0), hot("candidate", 0, "W", 90.0, 1.0)]
    assert invalid(check_session(watts)) == []


def test_a_power_limit_that_was_never_read_in_the_window_is_no_difference() -> None:
    name = "nvml/gpu0/power_limit"
    limits = [hot("base", 0, "W", 300.0, None, name), hot("candidate", 0, "W", 300.0, 250.0, name)]
    assert detail("power limit", *limits, ok=True) == "the same in every run"
    told = detail("power limit", *limits, hot("base", 1, "W", 300.0, 300.0, name))
    assert told == f"{name}: candidate 1: 250.0, base 2: 300.0"


def test_neighbours_are_known_by_name_and_number_at_start_and_end() -> None:
    def beside(arm: ArmName, start: list[str], end: list[str]) -> Observed:
        found = {"start": [{"pid": i, "name": name} for i, name in enumerate(start)]}
        found |= {"end": [{"pid": 7 + i, "name": name} for i, name in enumerate(end)]}
        return run(arm, manifest=ALIKE | {"neighbours": found})

    alike = [beside("base", ["x", "y"], ["x"]), beside("candidate", ["y", "x"], ["x"])]
    assert detail("other processes", *alike, ok=True) == "the same in every run"
    assert detail("other processes", *alike, beside("base", ["x", "y"], ["x", "x"]))
    assert detail("other processes", *alike, beside("base", ["x"], ["x"]))


def test_a_gauge_is_read_as_the_window_begins_and_within_it(tmp_path: Path) -> None:
    made = make_run(tmp_path, readings=False, scores=(1.0,) * 4)
    manifest = made.manifest()
    begin, end = manifest["attribution"]["window_ns"]
    gauges = {1: "C", 2: "MHz", 3: "W"}
    extra = [{"name": f"g{i}", "kind": "gauge", "unit": unit, "index": i} for i, unit in gauges.items()]
    made.write_manifest(manifest | {"sensors": [*manifest["sensors"], *extra]})
    readings = [
        # t, value, channel, status: the third is lost, and so are all of the last channel
        (begin - 2 * SECOND, 30.0, 1, 0),
        (begin - SECOND, 40.0, 1, 0),
        (begin - SECOND // 2, 99.0, 1, 4),
        (begin + 1, 50.0, 1, 0),
        (end, 70.0, 1, 0),
        (end + 1, 90.0, 1, 0),
        (begin, 900.0, 2, 0),
        (begin + 5, 1100.0, 2, 0),
        (begin + 6, 1400.0, 2, 0),
        (end + SECOND, 35.0, 3, 0),
    ]
    rows = np.zeros(len(readings), RECORD_FIELDS)
    for i, (t_ns, value, channel, status) in enumerate(readings):
        rows[i] = (t_ns, value, channel, status, 0)
    (made.path / READINGS).write_bytes(rows.tobytes())
    found = observe(made, "candidate", 2, 1)
    assert found.gauges == {"g1": ("C", 40.0, 60.0), "g2": ("MHz", 900.0, 1100.0), "g3": ("W", 35.0, None)}
    assert (found.arm, found.pair, found.start, found.label) == ("candidate", 2, 1, "candidate 3")
    assert found.path == str(made)


def test_a_gauge_has_no_moment_to_be_read_at_in_a_run_without_a_window(tmp_path: Path) -> None:
    made = make_run(tmp_path, manifest={"attribution": None})
    manifest = made.manifest()
    made.write_manifest(manifest | {"sensors": [{"name": "g", "kind": "gauge", "unit": "C", "index": 0}]})
    (made.path / "spans.parquet").unlink()
    found = observe(made, "base", 0, 0)
    assert (found.gauges, found.summary) == ({}, {})


def test_what_is_allowed_is_told_and_forbids_nothing() -> None:
    observed = [run("base"), run("candidate", manifest=ALIKE | {"basis": "wall"})]
    (check,) = (each for each in check_session(observed, allow=["basis"]) if each["check"] == "basis")
    assert (check["ok"], check["level"]) == (False, "warning")
    assert invalid(check_session(observed, allow=["basis"])) == []
    assert [each["check"] for each in invalid(check_session(observed))] == ["basis"]
