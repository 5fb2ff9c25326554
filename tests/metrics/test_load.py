"""What a run tells of its load, from tables whose every number is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import BUSY_W, SECOND, START_NS, make_run, write_journal

from ipw.metrics.inter_token import gap_index, gap_us, inter_token_metrics
from ipw.metrics.summary import summarize
from ipw.reports.page.page import write_page
from ipw.runs.directory import RunDir

WORKLOAD = {"kind": "lm", "parameters": {"dataset": "bundled", "concurrency": 1}}


def metrics(run: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = summarize(run)["metrics"]
    return found


@given(st.integers(0, 999), st.integers(0, 7))
def test_every_gap_of_three_digits_has_a_place_of_its_own(digits: int, zeros: int) -> None:
    gap = np.array([digits * 10**zeros])
    assert gap_us(gap_index(gap)).tolist() == gap.tolist()


def test_the_time_between_tokens_is_taken_over_all_gaps_of_answered_queries(tmp_path: Path) -> None:
    gaps = [[20_000, 30_000], [20_000], [], [5_000_000]] * 25
    counts = [[3, 1], [4], [], [1]] * 25
    run = make_run(tmp_path, scores=(1.0, 0.0, 1.0, None) * 25, columns={"itl_us": gaps, "itl_counts": counts})
    found = metrics(run)
    assert found["itl_p50_s"]["value"] == pytest.approx(0.02)
    assert found["itl_p90_s"]["value"] == pytest.approx(0.03)  # 25 of 200 are longer than 20 ms
    assert found["itl_p99_s"]["n"] == 200
    assert found["itl_p90_s"]["low"] <= 0.03 <= found["itl_p90_s"]["high"]


def test_the_interval_of_a_gap_holds_the_truth_though_gaps_of_one_answer_are_alike(tmp_path: Path) -> None:
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slow = rng.exponential(20_000, 60).astype(int) // 100 * 100  # each query has one pace
        columns = {"itl_us": [[int(gap)] for gap in slow], "itl_counts": [[50]] * 60}
        run = make_run(tmp_path, f"run-{seed}", scores=(1.0,) * 60, columns=columns, readings=False)
        found = inter_token_metrics(run, seed)
        low, high = found["itl_p50_s"]["low"], found["itl_p50_s"]["high"]
        held += low <= 0.02 * np.log(2) <= high
    assert held >= 17


def test_without_a_stream_there_is_no_time_between_tokens_and_a_reason(tmp_path: Path) -> None:
    found = metrics(make_run(tmp_path))
    assert found["itl_p50_s"]["value"] is None
    assert found["itl_p50_s"]["reason"] == "no answer came as a stream of several tokens"


def overlapping(folder: Path, parameters: dict[str, Any], step_s: float, **columns: Any) -> RunDir:
    """40 queries of 1 s, one every `step_s`; 100 tokens each, from the first to the last at an even pace."""
    starts = START_NS + 3 * SECOND + (np.arange(40) * step_s * SECOND).astype(np.int64)
    ends = starts + SECOND
    window = [int(starts[0]), int(ends[-1])]
    return make_run(
        folder,
        scores=(1.0,) * 40,
        latency_s=(window[1] - window[0]) / SECOND / 40,
        manifest={"workload": WORKLOAD | {"parameters": WORKLOAD["parameters"] | parameters}},  # type: ignore[operator]
        columns={
            "start_ns": starts.tolist(), "first_token_ns": starts.tolist(), "last_token_ns": ends.tolist(),
            "end_ns": ends.tolist(), "completion_tokens": [100] * 40, **columns,
        },
    )  # fmt: skip


def test_the_steady_state_of_a_closed_loop_begins_when_all_are_in_flight_and_ends_when_the_first_runs_out(
    tmp_path: Path,
) -> None:
    found = metrics(overlapping(tmp_path, {"concurrency": 4}, 0.25))
    # The fourth is sent at 0.75 s, the last at 9.75 s, and behind that the first answer ends at 10 s.
    assert found["steady_duration_s"]["value"] == pytest.approx(9.25)
    assert found["steady_output_tokens_per_s"]["value"] == pytest.approx(400, rel=0.01)
    assert found["output_tokens_per_s"]["value"] < 390
    assert found["steady_mean_power_w"]["value"] == pytest.approx(BUSY_W, rel=0.01)
    assert found["steady_energy_per_output_token_j"]["value"] == pytest.approx(BUSY_W / 400, rel=0.02)


def test_the_steady_state_of_an_open_loop_lies_between_the_first_answer_and_the_last_question(tmp_path: Path) -> None:
    due = START_NS + 3 * SECOND + (np.arange(40) * 0.25 * SECOND).astype(np.int64) - 2_000_000
    found = metrics(overlapping(tmp_path, {"concurrency": None, "rate": 4.0}, 0.25, scheduled_ns=due.tolist()))
    assert found["steady_duration_s"]["value"] == pytest.approx(9.75 - 1)
    assert found["lateness_p50_s"]["value"] == pytest.approx(0.002)
    assert found["lateness_p99_s"]["n"] == 40


def test_a_load_that_was_never_steady_is_told(tmp_path: Path) -> None:
    found = metrics(overlapping(tmp_path, {"concurrency": 64}, 0.01))
    assert found["steady_duration_s"]["value"] is None
    assert "too few questions" in found["steady_mean_power_w"]["reason"]


def test_goodput_counts_answers_that_keep_to_every_target(tmp_path: Path) -> None:
    scores = (1.0, 0.0, None, 1.0) * 10
    latencies = [0.4, 0.6, 0.4, 0.4] * 10  # the first token after a fifth of it
    last = None

    def goodput(slo: dict[str, float] | None, name: str) -> Any:
        workload = WORKLOAD | ({"slo": slo} if slo else {})
        return metrics(make_run(tmp_path, name, scores=scores, latency_s=latencies, manifest={"workload": workload}))

    assert goodput({"e2e": 0.5}, "a")["goodput_per_s"]["value"] == pytest.approx(20 / (0.45 * 40))
    assert goodput({"e2e": 1.0, "ttft": 0.09}, "b")["goodput_per_s"]["value"] == pytest.approx(20 / (0.45 * 40))
    assert goodput({"itl": 1.0}, "c")["goodput_per_s"]["value"] == 0.0  # no time of a last token is known
    none = goodput(last, "d")["goodput_per_s"]
    assert (none["value"], none["reason"]) == (None, "no latency target was given (--slo)")


def test_a_server_elsewhere_leaves_no_joule_of_the_client_in_any_ratio(tmp_path: Path) -> None:
    server = {"url": "http://10.0.0.9:8000/v1", "local": False}
    summary = summarize(make_run(tmp_path, manifest={"server": server}))
    said = (
        "the server runs on another machine: these sensors saw only the client's energy (if it runs on this one: "
        "--server-here; else to measure that one: ipw sensors serve there, --sensors http://HOST:9321 here)"
    )
    for name in ("accuracy_per_watt", "accuracy_per_joule", "energy_per_query_j", "energy_j", "steady_mean_power_w"):
        assert summary["metrics"][name]["value"] is None
        assert summary["metrics"][name]["reason"] == said
    assert summary["metrics"]["accuracy"]["value"] == pytest.approx(0.75)
    assert summary["metrics"]["latency_p50_s"]["value"] == pytest.approx(0.5)
    assert [check["detail"] for check in summary["validity"] if check["check"] == "server"] == [said]


@pytest.mark.parametrize(
    ("device", "scope", "seen"),
    [
        ("cpu", "gpu", False),
        ("cuda:0", "gpu", True),
        (None, "gpu", True),
        ("cpu", "package", True),
        ("cpu", "module", True),
    ],
)
def test_a_model_on_the_cpu_is_not_charged_with_what_a_gpu_drew_beside_it(
    tmp_path: Path, device: str | None, scope: str, seen: bool
) -> None:
    run = make_run(tmp_path)
    manifest = run.manifest()
    manifest["sensors"][0]["scope"] = scope
    run.write_manifest(manifest | {"model": {"name": "tiny", "device": device}})
    summary = summarize(run)
    found = summary["metrics"]["accuracy_per_joule"]
    assert (found["value"] is not None) == seen
    said = [] if seen else ["the model ran on the CPU: these sensors see GPUs only"]
    assert seen or [found["reason"]] == said
    assert [check["detail"] for check in summary["validity"] if check["check"] == "model"] == said


def test_a_meter_in_the_plug_may_be_the_servers(tmp_path: Path) -> None:
    run = make_run(tmp_path, manifest={"server": {"url": "http://10.0.0.9:8000/v1", "local": False}})
    manifest = run.manifest()
    manifest["sensors"][0]["scope"] = "wall"
    run.write_manifest(manifest)
    assert metrics(run)["accuracy_per_joule"]["value"] is not None


def test_answers_to_questions_that_were_asked_again_are_told_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path, scores=(1.0, None, None, 0.0) * 5)
    before = metrics(run)
    assert "accuracy_with_retries" not in before
    again = [{"kind": "retry", "query_id": f"q{i}", "status": "ok", "score": 1.0} for i in (1, 2)]
    write_journal(run, [*again, {"kind": "retry", "query_id": "q5", "status": "error", "score": 0.0}])
    found = metrics(run)
    assert found["accuracy"] == before["accuracy"]
    assert found["accuracy_with_retries"]["value"] == pytest.approx(7 / 20)
    assert found["accuracy_with_retries"]["reason"].startswith("2 of 10 failed queries were answered")


def test_a_run_in_two_parts_counts_only_what_was_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    manifest = run.manifest()
    start, end = manifest["attribution"]["window_ns"]
    cut = [[start, start + 10 * SECOND], [end - 20 * SECOND, end]]
    run.write_manifest(manifest | {"attribution": manifest["attribution"] | {"windows_ns": cut}, "resumed": [{}]})
    summary = summarize(run)
    assert summary["metrics"]["duration_s"]["value"] == pytest.approx(30)
    assert {check["check"]: check["ok"] for check in summary["validity"]}["coverage"]


def series_run(folder: Path, level: int, repetition: int, tokens: int) -> RunDir:
    place = {"id": "0123abcd", "levels": [1, 2, 4], "repeat": 2, "repetition": repetition}
    workload = {"kind": "lm", "parameters": {"dataset": "bundled", "concurrency": level}, "series": place}
    return make_run(
        folder,
        f"run-m{level}{repetition}",
        scores=(1.0, 0.0) * 20,
        manifest={"workload": workload, "model": {"name": "<i>m</i>"}},
        columns={"completion_tokens": pa.array([tokens] * 40)},
    )


def shown(runs: list[RunDir], folder: Path) -> str:
    write_page(runs, folder / "page.html")
    return (folder / "page.html").read_text()


def test_a_sweep_stands_on_the_page_as_table_and_chart_and_repetitions_as_means(tmp_path: Path) -> None:
    runs = [series_run(tmp_path, level, k, 10 * level + k) for k in (0, 1) for level in (1, 2, 4)]
    text = shown(runs, tmp_path)
    assert "Sweep over the requests in flight" in text
    assert "Energy per output token against throughput" in text
    assert "4 in flight: 81 tokens/s at 0.247 J" in text  # the mean of 40 questions of 40 and 41 tokens, 10 J each
    assert "Repetitions" in text
    assert "<i>m" not in text
    assert "&lt;i&gt;m&lt;/i&gt; \N{MULTIPLICATION SIGN}4" in text


def test_runs_of_no_series_have_no_such_section(tmp_path: Path) -> None:
    assert "Sweep over" not in shown([make_run(tmp_path)], tmp_path)
