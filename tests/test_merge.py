"""Shards of one data set become one run: sums of joules and counts, never means of means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipw.errors import UsageError
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.merge import merge_runs, shifted
from ipw.runs.readings import READINGS, RECORD
from ipw.workloads.lm.plan import shard

SECOND = 1_000_000_000


def part(folder: Path, name: str, ids: list[str], watts: float, start_s: int, **manifest: Any) -> RunDir:
    """A run of questions of one second each at `watts`, idle at 5 W for three seconds before and after."""
    run = RunDir(folder / name)
    run.path.mkdir(parents=True)
    begin = start_s * SECOND
    first, last = begin + 3 * SECOND, begin + (3 + len(ids)) * SECOND
    sensor = {
        "name": "nvml/gpu0", "index": 0, "kind": "counter", "scope": "gpu", "method": "counter", "unit": "J",
        "status": "ok", "in_total": True, "included_in": None, "range_j": None, "max_power_w": 1000.0,
        "device": f"GPU of {name}", "resolution_j": 0.001, "update_period_s": 0.1,
    }  # fmt: skip
    run.write_manifest(
        {
            "run_id": name, "status": "complete", "basis": "gpu", "method": "counter", "sensors": [sensor],
            "workload": {"kind": "lm", "parameters": {"model": "m", "dataset": "d", "shard": name}},
            "model": {"name": "m", "digest": "1"}, "dataset": {"digest": "2", "scorer": "exact", "questions": len(ids)},
            "host": {"name": f"host {name}"}, "sampler": {"reads": 10}, "started": "2026-01-02T03:04:05Z",
        }
        | manifest
    )  # fmt: skip
    with (run.path / READINGS).open("wb") as file:
        joules = 1000.0 * start_s
        for t_ns in range(begin, last + 3 * SECOND + 1, SECOND // 10):
            file.write(RECORD.pack(t_ns, joules, 0, 0, 1000))
            joules += (watts if first <= t_ns < last else 5.0) / 10
    with Journal(run) as journal:
        for what, phase, a, b in (("idle", "idle", begin, first), ("measure", "measure", first, last),
                                  ("idle", "idle", last, last + 3 * SECOND)):  # fmt: skip
            journal.append("span", {"name": what, "phase": phase, "start_ns": a, "end_ns": b})
        for i, query_id in enumerate(ids):
            start_ns = first + i * SECOND
            journal.append("query", {
                "query_id": query_id, "subject": None, "start_ns": start_ns, "first_token_ns": start_ns + SECOND // 5,
                "last_token_ns": start_ns + SECOND, "end_ns": start_ns + SECOND, "status": "ok", "error": None,
                "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 0, "response": "x", "answer": "x",
                "score": float(i % 2), "concurrency": 1, "scheduled_ns": None,
            })  # fmt: skip
    return run


def two(folder: Path, **second: Any) -> list[RunDir]:
    return [
        part(folder, "one", [f"a{i}" for i in range(10)], 20.0, 100),
        part(folder, "two", [f"b{i}" for i in range(30)], 40.0, 7, **second),
    ]


def test_joules_counts_and_scores_of_the_parts_add_up(tmp_path: Path) -> None:
    parts = two(tmp_path)
    each = [derive(run)["metrics"] for run in parts]
    whole = derive(merge_runs(parts, tmp_path / "out"))["metrics"]
    assert whole["energy_j"]["value"] == pytest.approx(sum(m["energy_j"]["value"] for m in each), rel=1e-9)
    assert whole["energy_j"]["value"] == pytest.approx(10 * 20 + 30 * 40, rel=1e-3)
    assert whole["queries"]["value"] == 40
    assert whole["duration_s"]["value"] == pytest.approx(40)
    # 10 of 20 J and 30 of 40 J: 35 J on average, not the 30 J that the mean of the means would be.
    assert whole["energy_per_query_j"]["value"] == pytest.approx(35, rel=1e-3)


def test_what_was_drawn_between_the_parts_is_nobodys(tmp_path: Path) -> None:
    merged = merge_runs(two(tmp_path), tmp_path / "out")
    derive(merged)
    attribution = merged.manifest()["attribution"]
    assert len(attribution["windows_ns"]) == 2
    assert attribution["coverage"] == 1.0


def test_the_merged_run_is_raw_too_and_derives_to_the_same_numbers_again(tmp_path: Path) -> None:
    merged = merge_runs(two(tmp_path), tmp_path / "out")
    first = derive(merged)
    assert json.dumps(derive(merged)) == json.dumps(first)


def test_the_manifest_names_the_parts_their_hosts_and_their_devices(tmp_path: Path) -> None:
    manifest = merge_runs(two(tmp_path), tmp_path / "out").manifest()
    assert [each["run_id"] for each in manifest["merged"]] == ["one", "two"]
    assert manifest["host"]["name"] == "host one, host two"
    assert manifest["sensors"][0]["device"] == "GPU of one; GPU of two"
    assert manifest["sampler"]["reads"] == 20
    assert manifest["dataset"]["questions"] == 40


def test_every_moment_of_a_record_moves_and_nothing_else(tmp_path: Path) -> None:
    record = {"start_ns": 1, "edges_ns": [1, 2], "scheduled_ns": None, "tokens": 3, "loss": 0.5}
    assert shifted(record, 10) == {"start_ns": 11, "edges_ns": [11, 12], "scheduled_ns": None, "tokens": 3, "loss": 0.5}


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"basis": "soc"}, "basis"),
        ({"workload": {"kind": "train"}}, "'train'"),
        ({"model": {"name": "m", "digest": "other"}}, "model's digest"),
        ({"dataset": {"digest": "other", "scorer": "exact", "questions": 3}}, "data set's digest"),
        ({"workload": {"kind": "lm", "parameters": {"model": "m", "dataset": "d", "max_tokens": 7}}}, "--max-tokens"),
        ({"sensors": []}, "channels"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path, second: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        merge_runs(two(tmp_path, **second), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_how_many_processes_asked_is_a_parameter_that_earlier_versions_did_not_have(tmp_path: Path) -> None:
    def asked(name: str, ids: list[str], **parameters: Any) -> RunDir:
        given = {"kind": "lm", "parameters": {"model": "m", "dataset": "d", "shard": name} | parameters}
        told = [{"processes": [{"wall_s": 2.0}]}] if parameters else []
        return part(tmp_path, name, ids, 50.0, 100, workload=given, client=told)

    earlier, plain, one, four = (
        asked("1/4", ["a"]), asked("2/4", ["b"], clients=None), asked("3/4", ["c"], clients=1),
        asked("4/4", ["d"], clients=4),
    )  # fmt: skip
    merged = merge_runs([earlier, plain], tmp_path / "merged")
    assert merged.manifest()["client"] == [{"processes": [{"wall_s": 2.0}]}]
    with pytest.raises(UsageError, match=r"differs from .* in --clients: '4', not '1'"):
        merge_runs([one, four], tmp_path / "merged")


def test_a_mismatch_can_be_accepted_but_not_one_of_basis(tmp_path: Path) -> None:
    other = {"model": {"name": "other", "digest": "3"}}
    assert merge_runs(two(tmp_path, **other), tmp_path / "out", mismatched=True).path.is_dir()
    with pytest.raises(UsageError, match="basis"):
        merge_runs(two(tmp_path / "again", basis="soc"), tmp_path / "out", mismatched=True)


def test_the_same_question_twice_is_refused(tmp_path: Path) -> None:
    parts = [part(tmp_path, name, ["a", "b"], 20.0, 10) for name in ("one", "two")]
    with pytest.raises(UsageError, match="2 questions are in more than one run"):
        merge_runs(parts, tmp_path / "out")


def test_an_unfinished_part_makes_the_whole_unfinished(tmp_path: Path) -> None:
    manifest = merge_runs(two(tmp_path, status="interrupted"), tmp_path / "out").manifest()
    assert (manifest["status"], manifest["status_reason"]) == ("interrupted", "a part is interrupted")


def test_readings_keep_their_distances(tmp_path: Path) -> None:
    parts = two(tmp_path)
    times = [np.diff(run.readings()["t_ns"]) for run in parts]
    merged = merge_runs(parts, tmp_path / "out").readings()
    good = merged[merged["status"] == 0]["t_ns"]
    assert np.array_equal(np.diff(good)[: times[0].size], times[0])
    assert np.array_equal(np.diff(good)[-times[1].size :], times[1])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_a_shard_is_one_of_several(text: str) -> None:
    with pytest.raises(UsageError, match="not a shard"):
        shard(text)
    assert shard("2/4") == (2, 4)


def test_a_part_that_lost_its_server_makes_the_whole_not_valid(tmp_path: Path) -> None:
    lost = {"status": "interrupted", "outage": {"told": "the server died: exit code 1"}, "progress": {"of": 30}}
    summary = derive(merge_runs(two(tmp_path, **lost), tmp_path / "out"))
    assert not summary["valid"]
    (check,) = (check for check in summary["validity"] if check["check"] == "outage")
    assert check["detail"] == "the server died: exit code 1"


def test_a_minute_lies_between_the_last_moment_of_a_part_and_the_first_of_the_next(tmp_path: Path) -> None:
    parts = [part(tmp_path, name, [name], 20.0, start_s) for name, start_s in (("a", 100), ("b", 7), ("c", 3000))]
    with Journal(parts[0]) as journal:  # the mark of the first outlasts its readings by ten seconds
        journal.append("span", {"name": "idle", "phase": "idle", "start_ns": 107 * SECOND, "end_ns": 117 * SECOND})
    merged = merge_runs(parts, tmp_path / "out")
    asked = [query["start_ns"] / SECOND for query in merged.journal("query")]
    assert asked == [103, 117 + 60 + 3, 117 + 60 + 7 + 60 + 3]
    t = merged.readings()["t_ns"] / SECOND
    pauses = np.diff(t)[np.diff(t) > 1]
    assert pauses.tolist() == pytest.approx([10 + 60, 60])
    assert t[0] == 100


def test_each_channel_is_lost_where_its_part_ends(tmp_path: Path) -> None:
    merged = merge_runs(two(tmp_path), tmp_path / "out")
    readings = merged.readings()
    lost = np.flatnonzero(readings["status"])
    assert readings["t_ns"][lost].tolist() == (readings["t_ns"][lost - 1] + 1).tolist()
    assert np.isnan(readings["value"][lost]).all()
    assert lost.tolist() == [readings.size - 361 - 2, readings.size - 1]


def test_parts_are_put_one_behind_the_other_in_the_order_given(tmp_path: Path) -> None:
    one, two_ = two(tmp_path)
    for order, first in (([one, two_], "a0"), ([two_, one], "b0")):
        merged = merge_runs(order, tmp_path / first)
        assert next(iter(merged.journal("query")))["query_id"] == first
        assert "-merged-" in merged.path.name


def test_one_run_alone_is_nothing_to_merge(tmp_path: Path) -> None:
    one, _ = two(tmp_path)
    with pytest.raises(UsageError, match="nothing to merge"):
        merge_runs([one], tmp_path / "out")
