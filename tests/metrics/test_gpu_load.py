"""What others used of the GPUs, from the looks of a run to the verdict on its joules and on a gate's pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.recorded import Told, channel, recorded, summary_of

from ipw.gate.load import load_faults
from ipw.gate.observed import Observed
from ipw.runs.directory import RunDir
from ipw.runs.queries import load_queries

T = np.arange(0, 61, 0.02)
IDLE = [("idle", 2.0, 9.0), ("idle", 51.0, 59.0)]
WINDOW_S = (10.0, 50.0)


def looks(number: int, whose: str, window: float, idle: float = 0.0) -> Told:
    """Looks every five seconds, each of which tells of the time since the one before."""
    t = np.arange(0, 61, 5.0)
    facts: Any = {"scope": "gpu", "unit": "%"}
    return Told(channel(f"load/gpu{number}/{whose}", "gauge", **facts), t, np.where((t > 10) & (t <= 50), window, idle))


def run_beside(folder: Path, *gauges: Told, gpus: int = 1, **manifest: Any) -> RunDir:
    noise = np.random.default_rng(0).normal(0, 0.5, T.size)
    powers = [
        Told(channel(f"nvml/gpu{k}/power", "power", method="integrated_power"), T, 90.0 + noise) for k in range(gpus)
    ]
    return recorded(folder, [*powers, *gauges], window_s=WINDOW_S, spans=IDLE, manifest=manifest)


def judged(summary: Mapping[str, Any]) -> dict[str, Any]:
    return next((check for check in summary["validity"] if check["check"] == "other load on GPUs"), {})


def test_gpus_that_only_the_run_used_are_fine(tmp_path: Path) -> None:
    summary = summary_of(run_beside(tmp_path, looks(0, "others", 0.0), looks(0, "own", 80.0)))
    assert judged(summary)["ok"]
    assert judged(summary)["detail"] == "others used the GPUs for 0 % in the window and 0 % while idle"
    assert summary["other_gpu_load"]["own"] == pytest.approx(0.8)


def test_a_neighbour_on_the_gpu_is_told_with_its_share(tmp_path: Path) -> None:
    summary = summary_of(run_beside(tmp_path, looks(0, "others", 20.0, 10.0), looks(0, "own", 60.0)))
    told = "others used the GPUs for 20 % in the window and 10 % while idle: about 20 % of these joules are theirs"
    assert judged(summary)["detail"] == f"{told}, at most 25 %"
    assert not judged(summary)["ok"]
    assert summary["valid"]


def test_joules_that_are_others_more_than_the_runs_are_not_valid(tmp_path: Path) -> None:
    summary = summary_of(run_beside(tmp_path, looks(0, "others", 90.0), looks(0, "own", 5.0)))
    assert judged(summary)["level"] == "error"
    assert not summary["valid"]


def test_a_desktop_that_draws_now_and_then_takes_no_run_its_joules(tmp_path: Path) -> None:
    summary = summary_of(run_beside(tmp_path, looks(0, "others", 2.0, 2.0), looks(0, "own", 0.0)))
    assert summary["valid"]
    assert judged(summary)["detail"].endswith("about 2 % of these joules are theirs, at most 100 %")


def test_who_works_while_the_run_is_idle_spoils_its_floor(tmp_path: Path) -> None:
    summary = summary_of(run_beside(tmp_path, looks(0, "others", 0.0, 50.0), looks(0, "own", 80.0)))
    assert not judged(summary)["ok"]
    assert summary["other_gpu_load"]["idle"] > 0.4


def test_of_several_gpus_each_counts_alike_and_one_that_tells_nothing_is_nobodys(tmp_path: Path) -> None:
    gauges = [looks(0, "others", 50.0), looks(0, "own", 50.0)]
    alone = summary_of(run_beside(tmp_path / "a", *gauges, gpus=2))
    both = summary_of(run_beside(tmp_path / "b", *gauges, looks(1, "others", 0.0), looks(1, "own", 100.0), gpus=2))
    assert alone["other_gpu_load"]["share"] == pytest.approx(0.25)
    assert both["other_gpu_load"]["share"] == pytest.approx(0.25)


def test_looks_that_failed_for_most_of_the_window_tell_nothing_of_it(tmp_path: Path) -> None:
    others = looks(0, "others", 90.0).failing((6.0, 44.0))
    summary = summary_of(run_beside(tmp_path, others, looks(0, "own", 5.0)))
    assert summary["valid"]


def test_a_server_whose_processes_nobody_sees_is_not_called_others(tmp_path: Path) -> None:
    run = run_beside(
        tmp_path, looks(0, "others", 90.0), looks(0, "own", 0.0), server={"local": True, "processes_unseen": "of root"}
    )
    summary = summary_of(run)
    assert summary["other_gpu_load"]["window"] is None
    assert judged(summary)["ok"]


def test_the_gate_minds_it(tmp_path: Path) -> None:
    run = run_beside(tmp_path, looks(0, "others", 20.0), looks(0, "own", 60.0))
    queries = load_queries(run)
    seen = Observed("base", 0, 0, str(run.path), run.manifest(), summary_of(run), queries, {}, {})
    assert list(load_faults([seen])) == ["base 1: others hold about 20 % of its joules on the GPUs"]
