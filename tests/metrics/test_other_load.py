from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.made_runs import BUSY_W, IDLE_S, IDLE_W, SECOND, START_NS, make_run, write_journal

from ipw.gate.comparable import check_session, invalid, observe
from ipw.gate.load import told_only
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.metrics.summary import summarize
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS, RECORD_FIELDS

WINDOW_S = 60.0


def busy_run(
    folder: Path,
    *,
    idle: float,
    window: float,
    own: float = 1.0,
    threads: int = 2,
    scope: str = "package",
    method: str = "counter",
    idle_s: float = IDLE_S,
    power_w: float = BUSY_W,
    **manifest: Any,
) -> RunDir:
    """A run of 60 s beside others that use so many CPUs while it is idle, and in its window."""
    run = make_run(folder, method=method, power_w=power_w)
    document = run.manifest()
    document["host"]["threads"] = threads
    (channel,) = [c for c in document["sensors"] if "index" in c]
    channel |= {"scope": scope}
    gauge = {"kind": "gauge", "scope": "system", "method": "counter", "unit": "s", "status": "ok", "in_total": False}
    document["sensors"] += [gauge | {"name": name, "index": k + 1} for k, name in enumerate(("load/host", "load/own"))]
    run.write_manifest(document | manifest)
    t = np.arange(START_NS, START_NS + int((2 * IDLE_S + WINDOW_S) * SECOND) + 1, SECOND)
    inside = np.clip((t - START_NS) / SECOND - IDLE_S, 0, WINDOW_S)
    still = (t - START_NS) / SECOND - inside
    rows = np.zeros(2 * len(t), RECORD_FIELDS)
    rows["t_ns"], rows["channel"] = np.tile(t, 2), np.repeat([1, 2], len(t))
    rows["value"] = np.concatenate([5000 + idle * still + (window + own) * inside, 7 + own * inside])
    path = run.path / READINGS
    path.write_bytes(path.read_bytes() + rows.tobytes())
    begin, end = START_NS + int(IDLE_S * SECOND), START_NS + int((IDLE_S + WINDOW_S) * SECOND)
    spans = [(begin - int(idle_s * SECOND), begin), (end, end + int(idle_s * SECOND))]
    write_journal(run, [{"kind": "span", "phase": "idle", "name": "i", "start_ns": a, "end_ns": b} for a, b in spans])
    return run


def told(run: RunDir) -> dict[str, Any] | None:
    return next((c for c in summarize(run)["validity"] if c["check"] == "other load"), None)


def test_a_quiet_machine_is_told_and_fine(tmp_path: Path) -> None:
    check = told(busy_run(tmp_path, idle=0.02, window=0.04))
    assert check is not None
    assert check["ok"]
    assert check["detail"] == "others used 0.0 of 2 CPUs while idle and 0.0 in the window"


def test_a_neighbour_that_holds_a_core_of_two_is_told_with_its_share(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=1.0, window=0.95, own=0.95)
    summary = summarize(run)
    check = told(run)
    assert check is not None
    assert (check["ok"], check["level"]) == (False, "warning")
    assert "others used 1.0 of 2 CPUs while idle and 0.9 in the window: about 19 % of these joules" in check["detail"]
    assert "are theirs, at most 50 %; the CPUs were full" in check["detail"]
    assert summary["other_load"]["window"] == pytest.approx(0.95)


def test_where_others_likely_hold_more_than_half_the_joules_are_not_the_runs(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=3.0, window=3.0, own=0.3, threads=4)
    check = told(run)
    assert check is not None
    assert (check["ok"], check["level"]) == (False, "error")
    assert not summarize(run)["valid"]


def test_a_little_load_is_told_and_valid(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=0.2, window=0.2, own=1.5, threads=8)
    check = told(run)
    assert check is not None
    assert (check["ok"], check["level"]) == (False, "warning")
    assert "about 4 % of these joules are theirs, at most 12 %" in check["detail"]
    assert summarize(run)["valid"]


def observed(folder: Path, base: float, candidate: float, method: str = "counter") -> list[Observed]:
    """One pair, beside so much load in each arm."""
    arms: dict[ArmName, float] = {"base": base, "candidate": candidate}
    found = []
    for arm, others in arms.items():
        run = busy_run(folder / arm, idle=others, window=others, own=1.5, threads=8, method=method)
        run.write_summary(summarize(run))
        found.append(observe(run, arm, 0, 0))
    return found


@pytest.mark.parametrize(
    ("base", "candidate", "method", "fault"),
    [
        (0.02, 0.02, "counter", None),
        (0.4, 0.4, "counter", "base 1: others hold about 8 % of its joules"),
        (0.02, 0.4, "counter", "candidate 1: others hold about 8 %"),
        (0.8, 0.8, "model_estimate", None),
        (0.1, 0.8, "model_estimate", "pair 1: others hold about 2 % of the base's joules and 16 % of the candidate's"),
    ],
)
def test_a_gate_judges_no_joules_that_others_hold(
    tmp_path: Path, base: float, candidate: float, method: str, fault: str | None
) -> None:
    pair = observed(tmp_path, base, candidate, method)
    (check,) = [check for check in check_session(pair) if check["check"] == "other load"]
    assert check["ok"] == (fault is None)
    assert fault is None or fault in check["detail"]
    assert [each["check"] for each in invalid(check_session(pair))] == ([] if fault is None else ["other load"])


def test_a_pair_of_which_one_arm_was_crowded_has_no_verdict_on_times(tmp_path: Path) -> None:
    pair = observed(tmp_path, 0.02, 6.9)
    for each in pair:
        each.summary["other_load"]["share"] = 0.0
    (check,) = [check for check in check_session(pair) if check["check"] == "other load"]
    assert check["detail"] == "pair 1: others filled the CPUs beside one arm only"


def test_a_gate_on_accuracy_and_tokens_does_not_mind_others(tmp_path: Path) -> None:
    harmless = [Rule("accuracy", 0.01, "lower"), Rule("output_tokens", 0.01, "higher")]
    assert told_only(harmless) == {"other load"}
    assert told_only([*harmless, Rule("energy_per_query_j", 0.05, "higher")]) == frozenset()
    assert invalid(check_session(observed(tmp_path, 0.02, 0.9), allow=told_only(harmless))) == []


def test_what_little_a_few_cpus_of_a_large_host_draw_is_fine(tmp_path: Path) -> None:
    """Half of the busy CPUs are others', but not half of the joules: at most 20 W of 750."""
    check = told(busy_run(tmp_path, idle=1.0, window=1.0, own=1.0, threads=128, power_w=750.0))
    assert check is not None
    assert check["ok"]


def test_load_while_idle_alone_is_told_too(tmp_path: Path) -> None:
    check = told(busy_run(tmp_path, idle=1.5, window=0.0, own=2.0, threads=4))
    assert check is not None
    assert (check["ok"], check["level"]) == (False, "warning")


def test_where_cpus_are_not_in_the_joules_only_full_cpus_matter(tmp_path: Path) -> None:
    calm = told(busy_run(tmp_path / "calm", idle=3.0, window=3.0, threads=8, scope="gpu"))
    full = told(busy_run(tmp_path / "full", idle=3.0, window=6.8, threads=8, scope="gpu"))
    assert calm is not None
    assert full is not None
    assert calm["ok"]
    assert (full["ok"], full["level"]) == (False, "warning")
    assert "slower" in full["detail"]
    assert "joules" not in full["detail"]


def test_the_idle_floor_reaches_down_to_where_it_is_without_others(tmp_path: Path) -> None:
    quiet = summarize(busy_run(tmp_path / "quiet", idle=0.0, window=0.0))["metrics"]["idle_power_w"]
    loud = summarize(busy_run(tmp_path / "loud", idle=0.3, window=0.3))["metrics"]["idle_power_w"]
    each_w = BUSY_W / 1.3
    assert loud["value"] == quiet["value"] == IDLE_W
    assert quiet["low"] - loud["low"] == pytest.approx(0.3 * each_w, rel=0.01)
    assert loud["high"] == quiet["high"]


@pytest.mark.parametrize(("idle", "window"), [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
def test_joules_above_idle_are_as_uncertain_as_others_load_differed(tmp_path: Path, idle: float, window: float) -> None:
    quiet = summarize(busy_run(tmp_path / "quiet", idle=0.0, window=0.0))["metrics"]["net_energy_j"]
    loud = summarize(busy_run(tmp_path / "loud", idle=idle, window=window))["metrics"]["net_energy_j"]
    difference_j = (window - idle) * BUSY_W / (1.0 + window) * WINDOW_S
    assert quiet["low"] - loud["low"] == pytest.approx(max(difference_j, 0.0), rel=0.01)
    assert loud["high"] - quiet["high"] == pytest.approx(max(-difference_j, 0.0), rel=0.01)


def test_an_estimate_is_widened_by_what_others_hold_of_it(tmp_path: Path) -> None:
    quiet, loud = (
        summarize(busy_run(tmp_path / f"{others}", idle=others, window=others, method="model_estimate"))
        for others in (0.0, 0.5)
    )
    assert loud["valid"]
    for name in ("energy_j", "energy_per_query_j"):
        assert quiet["metrics"][name]["gain_rel"] == 0.5
        assert loud["metrics"][name]["gain_rel"] == pytest.approx(0.5 + 4.0 * 0.5 / BUSY_W)
        assert loud["metrics"][name]["low"] < quiet["metrics"][name]["low"]


def test_what_sensors_measured_stays_as_it_is(tmp_path: Path) -> None:
    quiet, loud = (summarize(busy_run(tmp_path / f"{x}", idle=x, window=x))["metrics"] for x in (0.0, 0.9))
    assert quiet["energy_j"] == loud["energy_j"]


def test_of_a_chip_whose_cores_are_measured_apart_only_those_joules_may_be_others(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=0.5, window=0.5, own=0.5, threads=10, scope="soc", power_w=35.0)
    manifest = run.manifest()
    core = manifest["sensors"][0] | {
        "name": "ioreport/cpu", "scope": "core", "included_in": "nvml/gpu0", "index": 3, "in_total": False,
    }  # fmt: skip
    manifest["sensors"].append(core)
    manifest["attribution"]["channels"]["ioreport/cpu"] = 4.0 * WINDOW_S
    run.write_manifest(manifest)
    assert summarize(run)["other_load"]["most_share"] == pytest.approx(0.5 * 4.0 / 35.0)


def test_where_the_server_is_elsewhere_and_metered_there_this_hosts_load_is_in_no_joule(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=1.0, window=1.0, threads=8, scope="wall", server={"local": False})
    check = told(run)
    assert check is not None
    assert check["ok"]


def test_a_server_whose_processes_are_not_seen_is_not_taken_for_others(tmp_path: Path) -> None:
    server = {"local": True, "processes_unseen": "it is another user's"}
    run = busy_run(tmp_path, idle=0.0, window=3.0, threads=4, server=server)
    check = told(run)
    assert check is not None
    assert check["ok"]
    assert "cannot be told from the server: it is another user's" in check["detail"]
    assert summarize(run)["other_load"]["window"] is None


def test_a_system_that_tells_no_load_is_no_fault(tmp_path: Path) -> None:
    assert told(make_run(tmp_path / "untold")) is None


def test_a_stretch_between_two_looks_is_told_by_them(tmp_path: Path) -> None:
    check = told(busy_run(tmp_path, idle=1.5, window=0.0, own=2.0, threads=4, idle_s=0.3))
    assert check is not None
    assert check["detail"] == "others used 1.5 of 4 CPUs while idle and 0.0 in the window"


def test_a_load_that_was_lost_for_a_while_is_told_from_what_was_read(tmp_path: Path) -> None:
    run = busy_run(tmp_path, idle=0.5, window=0.5)
    readings = run.readings().copy()
    lost = (readings["channel"] > 0) & (np.arange(len(readings)) % 3 == 1)
    readings["status"][lost], readings["value"][lost] = 4, np.nan
    (run.path / READINGS).write_bytes(readings.tobytes())
    assert summarize(run)["other_load"]["window"] == pytest.approx(0.5, abs=0.02)
