from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workloads.routing.simulation import trace

pytest.importorskip("safetensors", reason="routing is kept in safetensors files")

from ipw.runs.directory import RunDir
from ipw.workloads.routing import metrics as of
from ipw.workloads.routing.analysis import Analysis, analyse
from ipw.workloads.routing.derive import cache_knee, cache_rows, derive_routing, expert_rows, metrics, srp_rows
from ipw.workloads.routing.imports import import_run
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.trace import Writer

E, LAYERS, K, LENGTH, SEQUENCES = 8, 2, 2, 40, 12


def sequences() -> list[Any]:
    random = np.random.default_rng(3)
    return [
        np.stack([trace(random, LENGTH + s, E, K, "sticky") for _ in range(LAYERS)], axis=1) for s in range(SEQUENCES)
    ]


def written(folder: Path, part_tokens: int = 100) -> list[Any]:
    writer = Writer(folder, E, ["low", "high"], part_tokens)
    made = sequences()
    for number, experts in enumerate(made):
        writer.add(experts, np.arange(len(experts)) % 7, len(experts), f"domain {number % 3}")
    writer.flush()
    return made


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("routing")
    written(folder)
    return analyse(folder, (4,))


def rows(found: Any, **values: Any) -> list[dict[str, Any]]:
    return [row for row in found if all(row[name] == value for name, value in values.items())]


EXPERTS = np.concatenate(sequences())
BOUNDS = np.cumsum([0, *(len(experts) for experts in sequences())])


def test_srp_of_layers_domains_and_model_is_what_the_metric_says(analysis: Analysis) -> None:
    found = list(srp_rows(analysis))
    for m in (4, 16):
        pooled = of.segment_routing_best_performance(of.pool_layers(EXPERTS, E), E * LAYERS, m, bounds=BOUNDS)
        (row,) = rows(found, level="model", segment_length=m)
        assert (row["srp"], row["size_ratio"]) == pytest.approx(pooled)
        assert row["low"] < row["srp"] < row["high"]
    (row,) = rows(found, level="layer", name="high", segment_length=16)
    alone = of.segment_routing_best_performance(EXPERTS[:, 1], E, 16, bounds=BOUNDS)
    assert (row["srp"], row["size_ratio"]) == pytest.approx(alone)
    domain = [experts for number, experts in enumerate(sequences()) if number % 3 == 2]
    of_domain = of.pool_layers(np.concatenate(domain), E)
    (row,) = rows(found, level="domain", name="domain 2", segment_length=16)
    expected = of.segment_routing_best_performance(of_domain, E * LAYERS, 16, bounds=np.cumsum([0, *map(len, domain)]))
    assert (row["srp"], row["size_ratio"]) == pytest.approx(expected)


def test_hit_rates_are_what_the_metrics_say(analysis: Analysis) -> None:
    found = list(cache_rows(analysis))
    of_layer = [of.segment_cache_best_hit_rate(EXPERTS[:, i], E, 16, bounds=BOUNDS) for i in range(LAYERS)]
    for layer, expected in enumerate(of_layer):
        shown = rows(found, level="layer", index=layer, policy="sch", corrected=False)
        assert [row["hit_rate"] for row in shown] == pytest.approx(expected.tolist())
    shown = rows(found, level="model", policy="sch", segment_length=16, corrected=False)
    assert [row["hit_rate"] for row in shown] == pytest.approx(np.mean(of_layer, axis=0).tolist())
    corrected = [
        of.cache_hit_rate(EXPERTS[:, i], E, "belady", cold="charged", pinned=True, bounds=BOUNDS) for i in range(LAYERS)
    ]
    shown = rows(found, level="model", policy="belady", corrected=True)
    assert [row["hit_rate"] for row in shown] == pytest.approx(np.mean(corrected, axis=0).tolist())
    pool = of.cache_hit_rate(of.pool_layers(EXPERTS, E), E * LAYERS, "lru", bounds=BOUNDS)
    shown = rows(found, level="pool", policy="lru")
    assert [row["hit_rate"] for row in shown] == pytest.approx(pool.tolist())
    assert [row["cache_ratio"] for row in shown][2 * K * LAYERS - 1] == 2


def test_one_pool_of_all_layers_has_a_hit_rate_at_every_segment_length(analysis: Analysis) -> None:
    found, of_model = list(cache_rows(analysis)), metrics(analysis)
    by_layer = EXPERTS.transpose(1, 0, 2)
    for m, name in ((16, "segment_cache_best_hit_rate_pooled"), (4, "segment_cache_best_hit_rate_pooled_4")):
        expected = of.segment_cache_best_hit_rate(by_layer, E, m, pooled=True, bounds=BOUNDS)
        shown = rows(found, level="pool", policy="sch", segment_length=m)
        assert [row["hit_rate"] for row in shown] == pytest.approx(expected.tolist())
        assert of_model[name]["value"] == pytest.approx(expected[2 * K * LAYERS - 1])
        assert of_model[name]["low"] < of_model[name]["value"] < of_model[name]["high"]


def test_experts_are_what_the_metrics_say(analysis: Analysis) -> None:
    found = list(expert_rows(analysis))
    high = rows(found, layer="high")
    domains = np.repeat(np.arange(SEQUENCES) % 3, np.diff(BOUNDS))
    expected = of.domain_specialisation(EXPERTS[:, 1], E, domains)
    assert [row["domain_specialisation"] for row in high] == pytest.approx(expected.tolist())
    words = np.concatenate([np.arange(len(experts)) % 7 for experts in sequences()])
    by_word = of.vocabulary_specialisation(EXPERTS[:, 1], E, words).tolist()
    assert [row["vocabulary_specialisation_input"] for row in high] == [
        None if np.isnan(value) else pytest.approx(value) for value in by_word
    ]
    assert sum(row["use_rate"] for row in high) == pytest.approx(K)


def test_how_a_trace_is_cut_into_parts_does_not_matter(tmp_path: Path, analysis: Analysis) -> None:
    written(tmp_path, part_tokens=10_000)
    whole = analyse(tmp_path, (4,), workers=1)
    for key, sums in analysis.tally.sums.items():
        np.testing.assert_array_equal(whole.tally.sums[key], sums)
        np.testing.assert_allclose(whole.tally.replicates[key], analysis.tally.replicates[key])
    np.testing.assert_array_equal(whole.position_segments, analysis.position_segments)
    np.testing.assert_array_equal(whole.expert_segments, analysis.expert_segments)
    assert metrics(whole) == metrics(analysis)


def test_the_knee_lies_where_the_curve_leaves_its_chord_the_most() -> None:
    assert cache_knee(np.array([0, 0.1, 0.5, 0.8, 0.9, 0.9, 1, 1]), 2) == 4
    assert cache_knee(np.array([0.5, 0.6]), 2) == 2, "with k of k experts there is no choice"


def test_a_trace_from_elsewhere_becomes_a_run_without_joules(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    written(source)
    run = RunDir.create(tmp_path, "imported")
    import_run(run, Parameters(trace=str(source)))
    found = derive_routing(run)
    assert found["segment_routing_best_performance"]["value"] is not None
    assert run.manifest()["basis"] is None
    assert run.read_table("routing_offload") is None


def test_sequences_shorter_than_a_segment_leave_srp_absent_with_a_reason(tmp_path: Path) -> None:
    writer = Writer(tmp_path, E, ["only"])
    for _ in range(3):
        writer.add(trace(np.random.default_rng(0), 9, E, K)[:, None], np.arange(9), 9, "d")
    writer.flush()
    found = metrics(analyse(tmp_path, (4,)))
    absent = found["segment_routing_best_performance"]
    assert absent["value"] is None
    assert absent["reason"] == "no sequence has 16 tokens"
    assert found["lru_hit_rate"]["value"] is not None
