"""Exports that other programs read: cards of models, traces, trackers; by the reader of the other, where it is here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.errors import IpwError, UsageError
from ipw.interchange.exports import StoredRun, as_ml_energy
from ipw.interchange.to_model_card import as_hub_results, as_model_card
from ipw.interchange.to_otlp import as_otlp
from ipw.interchange.trackers import send, tracked
from ipw.metrics.summary import summarize
from ipw.reports.facts import Facts

HUB = {"kind": "lm", "parameters": {"dataset": "hf:allenai/ai2_arc:ARC-Easy", "concurrency": 1}}


def stored(folder: Path, name: str = "run-a", **how: Any) -> StoredRun:
    run = make_run(folder, name, **how)
    run.write_summary(summarize(run))
    return StoredRun(run.manifest(), run.summary() or {}, run)


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


# --- the Hub --------------------------------------------------------------------------------------------------------


def card(text: str) -> Any:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub reads model cards")
    return hub.ModelCard(text).data


def test_a_model_card_is_read_by_the_hubs_own_reader(tmp_path: Path) -> None:
    run = stored(tmp_path, manifest={"workload": HUB, "model": {"name": 'org/a: "quoted" #1', "quantisation": "q8_0"}})
    data = card(as_model_card([run], Facts(grid_g_co2e_per_kwh=360.0, grid_source="a mix")))
    told = data.to_dict()["co2_eq_emissions"]
    assert told["emissions"] == pytest.approx((run.value("energy_j") or 0) / 3.6e6 * 360)
    assert told["source"] == "ipw: measured energy of gpu in 1 run, 360 g CO2e/kWh, a mix"
    assert (told["training_type"], told["hardware_used"]) == ("inference, not training", "Test GPU GPU-1")
    results = {each.metric_type: each for each in data.eval_results}
    assert results["accuracy"].metric_value == 0.75
    assert results["accuracy"].dataset_type == "allenai/ai2_arc"
    assert results["accuracy"].dataset_config == "ARC-Easy"
    assert results["energy_per_query_j"].metric_name == "Energy per query, J, basis gpu"
    assert data.model_name == 'org/a: "quoted" #1'


def test_a_card_of_an_estimate_says_so_and_without_the_grid_there_are_no_emissions(tmp_path: Path) -> None:
    run = stored(tmp_path, method="model_estimate")
    text = as_model_card([run])
    data = card(text)
    assert "co2_eq_emissions" not in data.to_dict()
    assert "# no co2_eq_emissions: give the grid's grams" in text
    energy = {each.metric_type: each.metric_name for each in data.eval_results}
    assert energy["energy_per_query_j"] == "Energy per query, J, basis estimate, estimated"
    assert energy["accuracy"] == "Accuracy"
    with_grid = card(as_model_card([run], Facts(grid_g_co2e_per_kwh=100.0))).to_dict()
    assert "estimated, not measured energy" in with_grid["co2_eq_emissions"]["source"]


def test_results_for_a_leaderboard_are_read_by_the_hubs_own_reader(tmp_path: Path) -> None:
    text = as_hub_results([stored(tmp_path, manifest={"workload": HUB})])
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub reads results")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub is older than results of the Hub")
    yaml = pytest.importorskip("yaml", reason="huggingface_hub brings it")
    (entry,) = hub.parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("allenai/ai2_arc", "ARC-Easy", 75.0)
    assert entry.notes == "q8_0; n=120; 10 J a question (measured, gpu)"
    with pytest.raises(UsageError, match="the data set bundled is none of the Hub"):
        as_hub_results([stored(tmp_path, "run-b")])


# --- traces ---------------------------------------------------------------------------------------------------------


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_traces_have_a_span_for_the_window_and_one_for_each_query_with_its_joules(tmp_path: Path) -> None:
    run = stored(tmp_path, scores=[1.0, None, 0.0])
    document = json.loads(as_otlp([run]))
    (resource,) = document["resourceSpans"]
    root, *queries = resource["scopeSpans"][0]["spans"]
    assert len(queries) == 3
    assert {each["parentSpanId"] for each in queries} == {root["spanId"]}
    assert {each["traceId"] for each in queries} == {root["traceId"]}
    assert int(root["startTimeUnixNano"]) == 10**18 + 3 * 10**9, "by the wall clock"
    first = attributes(queries[0])
    assert (first["gen_ai.operation.name"], first["gen_ai.request.model"]) == ("chat", "a")
    assert (first["gen_ai.usage.input_tokens"], first["gen_ai.usage.output_tokens"]) == ("10", "5")
    assert (first["ipw.energy_j"], first["ipw.energy.basis"], first["ipw.energy.estimated"]) == (10.0, "gpu", False)
    assert (first["gen_ai.response.time_to_first_chunk"], first["gen_ai.request.temperature"]) == (0.1, 0.0)
    assert attributes(queries[1])["error.type"] == "error"
    assert queries[1]["status"] == {"code": 2, "message": "the server hung up"}
    assert "answer" not in json.dumps(document), "no text of an answer"


def test_traces_are_read_by_opentelemetrys_own_parser(tmp_path: Path) -> None:
    trace = pytest.importorskip("opentelemetry.proto.trace.v1.trace_pb2", reason="opentelemetry-proto reads traces")
    json_format = pytest.importorskip("google.protobuf.json_format", reason="opentelemetry-proto brings it")
    read = json_format.Parse(as_otlp([stored(tmp_path), stored(tmp_path, "run-b")]), trace.TracesData())
    first, second = read.resource_spans
    spans = first.scope_spans[0].spans
    assert (len(spans), len(second.scope_spans[0].spans)) == (121, 121)
    assert spans[1].kind == trace.Span.SPAN_KIND_CLIENT
    assert spans[1].end_time_unix_nano - spans[1].start_time_unix_nano == 500_000_000
    told = {each.key: each.value for each in spans[1].attributes}
    assert told["ipw.energy_j"].double_value == 10.0
    assert told["gen_ai.usage.output_tokens"].int_value == 5


def test_a_run_without_a_clock_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say when it was"):
        as_otlp([StoredRun({}, {"run_id": "imported"})])


# --- trackers -------------------------------------------------------------------------------------------------------


def test_a_tracker_is_given_settings_metrics_with_both_ends_and_whose_joules_these_are(tmp_path: Path) -> None:
    told = tracked(stored(tmp_path), "a")
    assert told.settings["model.quantisation"] == "q8_0"
    assert told.settings["concurrency"] == 1
    assert told.metrics["energy_per_query_j_low"] <= told.metrics["energy_per_query_j"]
    assert (told.tags["basis"], told.tags["estimated"], told.tags["valid"]) == ("gpu", "false", "true")
    estimate = tracked(stored(tmp_path, "run-b", method="model_estimate"), "b")
    assert "estimated_energy_j" in estimate.metrics
    assert "energy_j" not in estimate.metrics
    assert "accuracy" in estimate.metrics


def test_mlflow_keeps_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    run = stored(tmp_path)
    send("mlflow", [run], "energy")
    found = mlflow.search_runs(experiment_names=["energy"])
    assert found["metrics.energy_j"].tolist() == [run.value("energy_j")]
    assert found["tags.basis"].tolist() == ["gpu"]
    assert found["params.model.quantisation"].tolist() == ["q8_0"]


def test_trackio_keeps_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="trackio is not installed")
    send("trackio", [stored(tmp_path)], "energy")
    assert list((tmp_path / "trackio").rglob("energy*"))


def test_wandb_keeps_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    pytest.importorskip("wandb", reason="wandb is not installed")
    send("wandb", [stored(tmp_path)], "energy")
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_a_tracker_that_is_not_installed_or_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored(tmp_path)
    assert run.run is not None
    monkeypatch.setitem(sys.modules, "mlflow", None)
    missing = ipw("export", run.run.path, "--to", "mlflow")
    assert isinstance(missing.exception, UsageError)
    assert missing.exception.hint == "pip install mlflow"

    def refuses(name: str) -> None:
        raise ConnectionError(f"no answer\nfor {name}")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(set_experiment=refuses))
    with pytest.raises(IpwError, match="mlflow did not take a: ConnectionError: no answer for energy"):
        send("mlflow", [run], "energy")


# --- ML.ENERGY, and the verb ----------------------------------------------------------------------------------------

LEADERBOARD = {
    "activated_params_billions", "architecture", "avg_batch_size", "avg_output_len", "avg_power_watts", "data_parallel",
    "energy_per_request_joules", "energy_per_token_joules", "expert_parallel", "gpu_model", "max_num_batched_tokens",
    "max_num_seqs", "median_itl_ms", "model_id", "nickname", "num_gpus", "output_throughput_tokens_per_sec",
    "p90_itl_ms", "p95_itl_ms", "p99_itl_ms", "tensor_parallel", "total_params_billions", "weight_precision",
}  # fmt: skip
"""Fields of a configuration in the leaderboard's own files of a task (autumn of 2026)."""


def test_a_configuration_has_every_field_of_the_leaderboards_files(tmp_path: Path) -> None:
    (task,) = json.loads(as_ml_energy([stored(tmp_path)]))
    assert set(task) == {"configurations", "task", "task_display_name"}
    (configuration,) = task["configurations"]
    assert set(configuration) >= LEADERBOARD
    assert configuration["avg_output_len"] == pytest.approx(5.0)
    assert configuration["tensor_parallel"] is None
    own = set(configuration) - LEADERBOARD
    assert own == {"energy_basis", "energy_estimated", "energy_method", "measurement_valid"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a format or a tracker"),
        (["--format", "otlp", "--to", "mlflow"], "give a format or a tracker"),
        (["--format", "otlp", "--grid-intensity", "5"], "otlp has no place for carbon"),
        (["--format", "model-card", "--grid-source", "a mix"], "a number comes from that is not given"),
        (["--format", "codecarbon", "--grid-intensity", "5", "--grid-source", "a mix"], "codecarbon has no place"),
        (["--to", "mlflow", "-o", "file"], "keeps what it is given"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], told: str, tmp_path: Path) -> None:
    run = stored(tmp_path)
    assert run.run is not None
    result = ipw("export", run.run.path, *arguments)
    assert isinstance(result.exception, UsageError)
    assert told in result.exception.message
