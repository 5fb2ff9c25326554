"""`ipw import`: rows of other tools beside our own, never ranked with them, absent where the tool says nothing."""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.reports.ranking import groups
from ipw.runs.directory import RunDir

EMISSIONS = {
    "timestamp": "2026-05-27T11:31:35", "project_name": "fine-tune", "run_id": "979336a5", "experiment_id": "e1",
    "duration": "300.0", "emissions": "0.0166", "emissions_rate": "5.5e-05", "cpu_power": "42.5", "gpu_power": "302.3",
    "ram_power": "31.3", "cpu_energy": "0.0035", "gpu_energy": "0.0277", "ram_energy": "0.0026",
    "energy_consumed": "0.0338", "country_name": "Singapore", "os": "Linux", "codecarbon_version": "2.4.2",
    "cpu_count": "12", "cpu_model": "Test CPU", "gpu_count": "", "ram_total_size": "32.0", "tracking_mode": "machine",
}  # fmt: skip
BENCH: dict[str, Any] = {
    "build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "Test CPU", "gpu_info": "Test GPU",
    "backends": "CUDA", "model_filename": "models/m.gguf", "model_type": "tiny 1B Q8_0", "model_size": 4677120000,
    "model_n_params": 7615616512, "n_batch": 2048, "n_threads": 8, "n_prompt": 0, "n_gen": 128, "n_depth": 0,
    "test_time": "2026-04-24T11:58:51Z", "avg_ns": 2_000_000_000, "stddev_ns": 9449585, "avg_ts": 64.0,
    "stddev_ts": 1.0, "samples_ns": [1_900_000_000, 2_100_000_000], "samples_ts": [67.4, 61.0],
}  # fmt: skip
QUERY: dict[str, Any] = {
    "energy_metrics": {"per_query_joules": 10.0, "total_joules": 10.0, "cpu_per_query_joules": None},
    "latency_metrics": {"total_query_seconds": 2.0, "time_to_first_token_seconds": 0.1},
    "token_metrics": {"input": 10, "output": 20, "total": 30},
    "evaluation": {"is_correct": True, "metadata": "{}"},
}


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


def refusal(result: Result) -> str:
    assert isinstance(result.exception, UsageError), result.exception
    assert "\n" not in result.exception.message
    return result.exception.message


def imported(path: Path, out: Path) -> list[RunDir]:
    result = ipw("import", path, "--out", out, "--json")
    assert result.exception is None, result.exception
    return [RunDir.open(Path(row["run"])) for row in json.loads(result.stdout)]


def summaries(path: Path, out: Path) -> list[dict[str, Any]]:
    found = [run.summary() for run in imported(path, out)]
    return [summary for summary in found if summary]


def emissions(path: Path, *rows: dict[str, str]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, EMISSIONS)
    writer.writeheader()
    writer.writerows(EMISSIONS | row for row in rows)
    path.write_text(text.getvalue())
    return path


def bench(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps([BENCH | row for row in rows]))
    return path


def profile(folder: Path, *changes: dict[str, Any], config: dict[str, Any] | None = None) -> Path:
    """Write a run directory as the paper's harness does: an Arrow stream, and a summary that names the model."""
    folder.mkdir()
    records = [{"problem": "p", "model_metrics": {"org/m": QUERY | change}} for change in changes]
    table = pa.Table.from_pylist(records)
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as w:
        w.write_table(table)
    summary = {"model": "org/m", "dataset": "ipw", "profiler_config": config or {}, "total_queries": len(changes),
               "generated_at": 1.7e9, "versions": {"ipw": "0.1.0"}}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def values(summary: dict[str, Any]) -> dict[str, float]:
    return {name: m["value"] for name, m in summary["metrics"].items() if m["value"] is not None}


def judged(correct: bool | None) -> dict[str, Any]:
    return {"evaluation": {"is_correct": correct, "metadata": "{}"}}


def joules(energy_j: float | None) -> dict[str, Any]:
    return {"energy_metrics": {"per_query_joules": energy_j, "total_joules": energy_j, "cpu_per_query_joules": None}}


# --- what each tool tells -------------------------------------------------------------------------------------------


def test_kilowatt_hours_of_codecarbon_become_joules(tmp_path: Path) -> None:
    (summary,) = summaries(emissions(tmp_path / "anything.txt", {}), tmp_path)
    energy_j = pytest.approx(0.0338 * 3.6e6)
    assert values(summary) == {"energy_j": energy_j, "duration_s": 300.0, "mean_power_w": pytest.approx(405.6)}
    assert summary["metrics"]["idle_power_w"]["reason"] == "codecarbon measures no idle power"


def test_joules_of_codecarbon_stay_marked_as_an_estimate(tmp_path: Path) -> None:
    (group,) = groups(summaries(emissions(tmp_path / "emissions.csv", {}, {}), tmp_path))
    assert group.estimated
    assert [row.rank for row in group.rows] == [None, None]


def test_a_row_that_codecarbon_appended_without_its_empty_columns_is_read_as_far_as_it_adds_up(tmp_path: Path) -> None:
    path = emissions(tmp_path / "emissions.csv", {})
    row = [value for value in (EMISSIONS | {"duration": "100.0"}).values() if value]
    path.write_text(path.read_text() + ",".join(row) + "\r\n")
    first, second = imported(path, tmp_path)
    assert first.manifest()["host"]["cpu"] == "Test CPU"
    assert second.manifest()["host"]["cpu"] is None
    assert values(second.summary() or {})["duration_s"] == 100.0


def test_a_short_row_that_does_not_add_up_is_refused(tmp_path: Path) -> None:
    path = emissions(tmp_path / "emissions.csv", {})
    row = [value for value in (EMISSIONS | {"gpu_energy": "9"}).values() if value]
    path.write_text(path.read_text() + ",".join(row) + "\r\n")
    assert "row 2 has more or fewer cells" in refusal(ipw("import", path, "--out", tmp_path))


def test_llama_bench_tells_tokens_per_second_and_no_energy(tmp_path: Path) -> None:
    path = bench(
        tmp_path / "bench.json", {}, {"n_prompt": 512, "n_gen": 0}, {"n_prompt": 128, "n_depth": 64, "avg_ts": 128.0}
    )
    writes, reads, both = summaries(path, tmp_path)
    assert values(writes) == {"output_tokens_per_s": 64.0, "duration_s": 4.0}
    assert values(reads) == {"prompt_tokens_per_s": 64.0, "duration_s": 4.0}
    assert values(both) == {"output_tokens_per_s": 64.0, "duration_s": 4.0}, (
        "128 tokens in 2 s, the prompt's not counted"
    )
    assert [s["model"]["name"] for s in (writes, reads, both)] == [
        "tiny 1B Q8_0 tg128", "tiny 1B Q8_0 pp512", "tiny 1B Q8_0 pp128+tg128@d64",
    ]  # fmt: skip
    assert writes["metrics"]["energy_per_query_j"]["reason"] == "llama-bench does not measure energy"


def test_jsonl_of_llama_bench_is_the_same_as_its_json(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("\n".join(json.dumps(BENCH | {"n_gen": n}) for n in (64, 128)))
    told = [values(s) for s in summaries(tmp_path / "lines", tmp_path)]
    assert told == [values(s) for s in summaries(bench(tmp_path / "list", {"n_gen": 64}, {}), tmp_path)]


def test_queries_of_a_profile_give_accuracy_per_joule_and_per_watt(tmp_path: Path) -> None:
    (summary,) = summaries(profile(tmp_path / "p", judged(True), judged(False) | joules(30.0)), tmp_path)
    told = values(summary)
    assert (told["accuracy"], told["energy_per_query_j"], told["queries"]) == (0.5, 20.0, 2.0)
    assert told["accuracy_per_joule"] == pytest.approx(0.5 / 20.0)
    assert told["accuracy_per_watt"] == pytest.approx(0.5 / 10.0), "10 J and 30 J in 2 s each: 5 W and 15 W"
    assert told["energy_per_output_token_j"] == pytest.approx(1.0)


def test_an_answer_without_a_verdict_leaves_no_accuracy_rather_than_a_better_one(tmp_path: Path) -> None:
    (summary,) = summaries(profile(tmp_path / "p", judged(True), judged(None)), tmp_path)
    assert "accuracy" not in values(summary)
    assert summary["metrics"]["accuracy"]["reason"] == "1 of 2 answers were not judged"


@pytest.mark.parametrize("nothing", [None, 0.0])
def test_a_query_without_joules_leaves_no_energy(tmp_path: Path, nothing: float | None) -> None:
    (summary,) = summaries(profile(tmp_path / "p", {}, joules(nothing)), tmp_path)
    assert summary["metrics"]["energy_per_query_j"]["value"] is None
    assert summary["metrics"]["energy_per_query_j"]["reason"].startswith("1 of 2 queries have no joules")


def test_joules_of_overlapping_queries_are_not_believed(tmp_path: Path) -> None:
    (summary,) = summaries(profile(tmp_path / "p", {}, {}, config={"max_concurrency": 4}), tmp_path)
    assert "energy_per_query_j" not in values(summary)
    assert "overlapped" in summary["metrics"]["energy_per_query_j"]["reason"]


def test_joules_whose_sum_or_power_is_beyond_all_numbers_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "beyond all numbers" in refusal(ipw("import", profile(tmp_path / "p", joules(1e308), joules(1e308))))


def test_traces_of_an_agentic_run_are_read_line_by_line(tmp_path: Path) -> None:
    turns = [{"input_tokens": 5, "output_tokens": 7, "gpu_energy_joules": 3.0}] * 2
    lines = [{"turns": turns, "total_wall_clock_s": 1.5, "is_resolved": right} for right in (True, False)]
    summary = {"config": {"model": "m", "dataset": "gaia", "concurrency": 1}, "totals": {}, "efficiency": {}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "run" / "traces.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (made,) = summaries(tmp_path / "run", tmp_path)
    assert values(made)["accuracy"] == 0.5
    assert values(made)["energy_per_query_j"] == 6.0


# --- beside our own -------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """One run of ours, and rows of each tool; the profiles claim more right answers per joule than ours has."""
    own = make_run(
        tmp_path,
        "run-own",
        scores=[1.0, 0.0] * 4,
        manifest={"workload": {"kind": "lm", "parameters": {"dataset": "z"}}},
    )
    own.write_summary(summarize(own))
    files = [emissions(tmp_path / "e", {}), bench(tmp_path / "b", {}), profile(tmp_path / "p", joules(0.1)),
             profile(tmp_path / "q", joules(0.2))]  # fmt: skip
    return [own.path, *(run.path for path in files for run in imported(path, tmp_path / "runs"))]


def test_imports_stand_behind_our_runs_in_groups_of_their_own_without_a_rank(mixed: list[Path]) -> None:
    found = groups([RunDir(path).summary() or {} for path in mixed])
    assert [group.source for group in found] == [None, "intelligence-per-watt", "llama-bench", "codecarbon"]
    assert all(row.rank is None for group in found[1:] for row in group.rows)


def test_no_interval_is_invented(mixed: list[Path]) -> None:
    for path in mixed[1:]:
        for metric in (RunDir(path).summary() or {})["metrics"].values():
            assert metric["low"] is metric["high"] is None
            assert (metric["value"] is None) == bool(metric["reason"])


def test_a_page_shows_them_without_calling_them_interrupted(mixed: list[Path], tmp_path: Path) -> None:
    result = ipw("report", *mixed, "--page", tmp_path / "page.html", "--table", "markdown")
    assert result.exception is None, result.exception
    page = (tmp_path / "page.html").read_text()
    assert "Imported from llama-bench" in page
    assert "what had finished is shown" not in page
    assert "cannot be read" not in page


def test_list_runs_shows_them(mixed: list[Path]) -> None:
    rows = json.loads(ipw("list", "runs", "--out", mixed[1].parent, "--json").stdout)
    assert {(row["status"], row["basis"]) for row in rows} == {
        ("imported", "imported:codecarbon"), ("imported", "imported:llama-bench"),
        ("imported", "imported:intelligence-per-watt"),
    }  # fmt: skip


def test_there_is_nothing_to_recompute(mixed: list[Path]) -> None:
    for path in mixed[1:]:
        assert "holds no raw data" in refusal(ipw("report", path, "--recompute"))


def test_there_are_no_answers_to_score(mixed: list[Path]) -> None:
    assert "holds no answers" in refusal(ipw("score", mixed[-1], "--scorer", "exact"))
    assert sorted(path.name for path in mixed[-1].iterdir()) == ["manifest.json", "summary.json"]


# --- what is none of these ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"[", b"[1]", b"{}", b"a,b\n1,2\n", b"\xff\xfe", b"[" * 100_000],
)
def test_a_file_of_another_kind_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert "holds nothing that can be imported" in refusal(ipw("import", tmp_path / "file", "--out", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e999", "much"])
def test_a_number_that_cannot_be_is_refused_with_its_place(value: str, tmp_path: Path) -> None:
    path = emissions(tmp_path / "e", {}, {"energy_consumed": value})
    assert "row 2: energy_consumed is" in refusal(ipw("import", path, "--out", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists(), "nothing is written before everything was read"


def test_a_pointer_in_place_of_the_data_set_is_told(tmp_path: Path) -> None:
    folder = profile(tmp_path / "p", {})
    (folder / "data-00000-of-00001.arrow").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "cannot be read" in refusal(ipw("import", folder, "--out", tmp_path))


def test_our_own_run_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds nothing" in refusal(ipw("import", tmp_path / "empty"))
    assert "already" in refusal(ipw("import", make_run(tmp_path).path))
    assert "cannot be read" in refusal(ipw("import", tmp_path / "nowhere"))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=3), PLAIN, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(list(BENCH)), ANYTHING, max_size=4))
def test_whatever_stands_in_a_field_is_imported_or_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    result = ipw("import", bench(tmp_path / "b", change), "--out", tmp_path / "runs", "--json")
    assert result.exception is None or isinstance(result.exception, UsageError), repr(result.exception)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANYTHING, ANYTHING)
def test_whatever_stands_in_a_trace_is_imported_or_refused(tmp_path: Path, told: Any, turns: Any) -> None:
    folder = tmp_path / "traces"
    folder.mkdir(exist_ok=True)
    summary = {"config": told, "totals": told, "efficiency": told, "generated_at": told, "system_info": turns}
    (folder / "summary.json").write_text(json.dumps(summary))
    line = {"turns": turns, "total_wall_clock_s": told, "is_resolved": told, "query_gpu_energy_joules": told}
    (folder / "traces.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(told))
    result = ipw("import", folder, "--out", tmp_path / "runs", "--json")
    assert result.exception is None or isinstance(result.exception, UsageError), repr(result.exception)


LOG = "ggml_vulkan: Found 1 Vulkan devices:\n[INFO] load\nggml_vulkan: 0 = AMD Radeon | uma: 0\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("indent", [None, 2])
def test_log_lines_before_and_any_unicode_are_read(tmp_path: Path, encoding: str, indent: int | None) -> None:
    bench, emissions = tmp_path / "bench.json", tmp_path / "emissions.csv"
    bench.write_bytes((LOG + json.dumps([BENCH, BENCH], indent=indent) + "\nllama_perf: done\n").encode(encoding))
    table = ",".join(EMISSIONS) + "\n" + ",".join(EMISSIONS.values()) + "\n"
    emissions.write_bytes(("[codecarbon INFO] started\n" + table).encode(encoding))
    assert len(imported(bench, tmp_path / "a")) == 2
    assert len(imported(emissions, tmp_path / "b")) == 1


def test_a_bench_that_was_cut_short_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(LOG + json.dumps([BENCH, BENCH], indent=1)[:-20])
    assert "breaks off" in refusal(ipw("import", path, "--out", tmp_path / "runs"))
