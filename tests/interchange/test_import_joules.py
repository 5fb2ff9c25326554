"""`ipw import` of logs of power, and of others' answers with the joules of a run (`--joules`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from interchange.peer_files import LM_EVAL, imported, inspect_log, reason, refusal, summary_in, values, written
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.ranking import groups

SMI = "timestamp, index, power.draw [W]\n" + "".join(
    f"2026/05/01 10:00:{k // 2:02d}.{5 * (k % 2)}00, 0, 100.00 W\n" for k in range(21)
)
TEGRA = "".join(
    f"05-01-2026 10:00:{k:02d} RAM 1000/30000MB (lfb 1x1MB) CPU [1%@729] VDD_GPU_SOC 4000mW/4000mW "
    f"VDD_CPU_CV 2000mW/2000mW VIN_SYS_5V0 5000mW/5000mW\n"
    for k in range(10)
)


def test_a_log_of_nvidia_smi_is_a_run_with_readings_and_joules(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    (told,) = imported(tmp_path / "smi.csv")
    assert (told["basis"], told["method"]) == ("gpu", "integrated_power")
    assert values(told, "energy_j", "duration_s") == pytest.approx([1000, 10])
    assert told["valid"], told["validity"]


def test_joules_of_a_log_have_an_interval_for_when_its_power_was_read_and_a_device_of_its_own(tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(SMI)
    one, two = (imported(tmp_path / name)[0] for name in ("one.csv", "two.csv"))
    energy = one["metrics"]["energy_j"]
    assert energy["low"] < energy["value"] - 100 * 0.5 / 2, "each end is known to half a second"
    assert energy["high"] - energy["value"] == pytest.approx(energy["value"] - energy["low"])
    assert energy["gain_rel"] == 0.05
    assert one["devices"] != two["devices"]
    (tmp_path / "named.csv").write_text(SMI.replace("index,", "index, name,").replace(" 0, 100", " 0, A GPU, 100"))
    (named,) = imported(tmp_path / "named.csv")
    assert "A GPU" in named["devices"][0]
    assert "csv" not in named["devices"][0]


def test_a_log_of_tegrastats_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "tegra.log").write_text(TEGRA)
    (told,) = imported(tmp_path / "tegra.log")
    assert told["metrics"]["mean_power_w"]["value"] > 0
    assert told["basis"]


def test_answers_of_one_tool_join_joules_of_a_run_in_a_group_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    imported(tmp_path / "smi.csv")
    (run,) = (tmp_path / "runs").iterdir()
    (told,) = imported(written(tmp_path / "log.json", inspect_log()), "--joules", run)
    names = (
        "energy_j",
        "energy_per_query_j",
        "energy_per_output_token_j",
        "energy_per_token_j",
        "energy_per_correct_j",
    )
    assert values(told, *names) == pytest.approx([1000, 50, 20, 4, 62.5])
    per_joule = told["metrics"]["accuracy_per_joule"]
    assert per_joule["value"] == pytest.approx(0.016)
    assert per_joule["low"] < per_joule["value"] < per_joule["high"]
    assert "not told apart" in reason(told, "accuracy_per_watt")
    assert told["basis"] == "imported:inspect, joules of gpu"
    ours = summary_in(run)
    assert all(row.rank is None for group in groups([told, told | {"run_id": "2"}, ours]) for row in group.rows)


def test_joined_joules_keep_the_gain_of_their_sensor_and_say_where_nothing_was_right(tmp_path: Path) -> None:
    none_right = LM_EVAL | {"results": {"one": {"acc,none": 0.0, "acc_stderr,none": 0.0}}}
    run = make_run(tmp_path)
    summary = summarize(run)
    summary["metrics"]["energy_j"]["gain_rel"] = 0.05
    (wrong,) = imported(written(tmp_path / "r.json", none_right))
    assert values(wrong, "accuracy", "errors") == [0, None], "lm-eval does not tell what failed"
    run.write_summary(summary)
    (told,) = imported(tmp_path / "r.json", "--joules", run.path)
    assert told["metrics"]["energy_per_query_j"]["gain_rel"] == 0.05
    assert values(told, "accuracy_per_joule", "energy_per_correct_j") == [0, None]
    assert reason(told, "energy_per_correct_j") == "nothing was answered right"


def test_joules_of_a_run_that_tells_requests_apart_are_those_of_the_requests_alone(tmp_path: Path) -> None:
    """A gateway's window begins before the tool has started; only what it attributed to requests belongs to them."""
    run = make_run(tmp_path, power_w=20.0, latency_s=0.5)
    run.write_summary(summarize(run))
    log = inspect_log()
    log["results"] |= {"total_samples": 120, "completed_samples": 120}
    (told,) = imported(written(tmp_path / "log.json", log), "--joules", run.path)
    assert values(told, "energy_per_query_j", "mean_query_power_w") == pytest.approx([10, 20])
    assert values(told, "accuracy_per_joule", "accuracy_per_watt") == pytest.approx([0.8 / 10, 0.8 / 20])
    assert [check["detail"] for check in told["validity"] if check["check"] == "joules"] == [
        "of the 120 requests that run-a saw, without what the tool did beside them"
    ]
    log["results"] |= {"total_samples": 100, "completed_samples": 100}
    (fewer,) = imported(written(tmp_path / "fewer.json", log), "--joules", run.path)
    assert values(fewer, "energy_per_query_j") == pytest.approx([12])
    assert "run-a saw 120 requests, inspect tells of 100" in str(fewer["validity"])
    assert fewer["valid"]


def test_requests_below_resolution_give_a_bound_and_not_the_joules_of_the_window(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    summary = summarize(run)
    bound = {"value": None, "low": None, "high": 2.0, "reason": "below resolution"}
    summary["metrics"]["energy_per_query_j"] |= bound
    run.write_summary(summary)
    log = inspect_log()
    log["results"] |= {"total_samples": 60, "completed_samples": 60}
    (told,) = imported(written(tmp_path / "log.json", log), "--joules", run.path)
    names = ("energy_per_query_j", "energy_per_correct_j", "accuracy_per_joule")
    assert [reason(told, name) for name in names] == ["below resolution"] * 3
    each, right, per_joule = (told["metrics"][name] for name in names)
    assert each["high"] == pytest.approx(4), "120 requests were seen for 60 questions"
    assert per_joule["low"] == pytest.approx((0.8 - 0.196) / 4, abs=1e-3)
    assert right["high"] == pytest.approx(1 / per_joule["low"])


def test_several_tasks_share_the_joules_of_one_run(tmp_path: Path) -> None:
    (tmp_path / "smi.csv").write_text(SMI)
    imported(tmp_path / "smi.csv")
    (run,) = (tmp_path / "runs").iterdir()
    two = {name: row for name, row in LM_EVAL["results"].items() if name in {"one", "two"}}
    (told,) = imported(written(tmp_path / "r.json", LM_EVAL | {"results": two}), "--joules", run)
    assert told["workload"]["parameters"]["dataset"] == "one+two"
    assert values(told, "accuracy", "energy_per_query_j") == [(50 + 225) / 400, 2.5]
    other = LM_EVAL | {"model_name": "org/two"}
    path = written(tmp_path / "others.json", LM_EVAL, other)
    assert "of several: org/one, org/two" in refusal(path, "--joules", run)
    (joined,) = [path for path in (tmp_path / "runs").iterdir() if "lm-eval" in path.name]
    assert "was imported itself" in refusal(tmp_path / "r.json", "--joules", joined)
    assert "a log of power has joules of its own" in refusal(tmp_path / "smi.csv", "--joules", run)
