from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="capture runs models of the extra 'torch'")
pytest.importorskip("transformers", reason="capture runs models of the extra 'torch'")

from workloads.routing.measured import measured_run

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.workloads.routing.advice.sources import measured_prices
from ipw.workloads.routing.derive import derive_routing
from ipw.workloads.routing.trace import read_parts

LINES = [
    {"id": f"{domain}-{i}", "domain": domain, "text": text * 3}
    for i in range(4)
    for domain, text in (("code", f"x = {i} + y; "), ("prose", f"There were {i} more of them. "))
]
CORPUS = "\n".join(map(json.dumps, LINES))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return measured_run(tmp_path_factory.mktemp("run"), CORPUS, write=6, offload=("lru",))


def test_every_sequence_is_journalled_and_its_routing_kept(written: RunDir) -> None:
    queries = list(written.journal("query"))
    assert [query["query_id"] for query in queries] == [line["id"] for line in LINES]
    assert {query["subject"] for query in queries} == {"code", "prose"}
    (part,) = read_parts(written.path)
    lengths = [query["prompt_tokens"] + query["completion_tokens"] - 1 for query in queries]
    assert part.bounds.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert int(part.generated.sum()) == sum(query["completion_tokens"] - 1 for query in queries)
    assert all(query["start_ns"] < query["first_token_ns"] <= query["end_ns"] for query in queries)
    assert part.token_ids[: len(LINES[0]["text"])].tolist() == [3 + byte for byte in LINES[0]["text"].encode()]


def test_reading_alone_has_no_first_token_and_writes_nothing(tmp_path: Path) -> None:
    run = measured_run(tmp_path, CORPUS, limit=3)
    queries = list(run.journal("query"))
    assert len(queries) == 3
    assert all(query["first_token_ns"] is None and query["completion_tokens"] == 0 for query in queries)
    assert not next(read_parts(run.path)).generated.any()


def test_texts_are_cut_to_the_sequence_length(tmp_path: Path) -> None:
    run = measured_run(tmp_path, CORPUS, sequence_length=16, limit=5)
    assert next(read_parts(run.path)).bounds.tolist() == [0, 16, 32, 33, 49, 65]


def test_an_encoder_decoder_model_is_read_on_both_sides(tmp_path: Path) -> None:
    run = measured_run(tmp_path, CORPUS, "NllbMoe", limit=2)
    part = next(read_parts(run.path))
    assert [name.split(".")[1] for name in part.layers] == ["encoder", "decoder"]
    with pytest.raises(UsageError, match="only reads"):
        measured_run(tmp_path, CORPUS, "NllbMoe", write=2)


def test_a_corpus_without_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no text"):
        measured_run(tmp_path, "")


def test_tables_and_metrics_come_from_the_run_alone(written: RunDir) -> None:
    metrics = derive_routing(written)
    for name, metric in metrics.items():
        assert set(metric) >= {"value", "low", "high", "unit", "n", "method", "reason"}, name
        assert metric["value"] is not None or metric["reason"], name
        if metric["low"] is not None:
            assert metric["low"] <= metric["high"]
            assert all(math.isfinite(metric[end]) for end in ("low", "high"))
    assert 0 < metrics["segment_routing_best_performance"]["value"] <= 1
    assert metrics["cache_knee_bytes"]["value"] == (
        metrics["cache_knee_experts"]["value"] * 2 * written.manifest()["model"]["expert_bytes"]
    )
    assert derive_routing(written) == metrics, "the same files give the same numbers"
    for name in ("srp", "cache", "experts", "positions", "example", "offload", "findings"):
        table = written.read_table(f"routing_{name}")
        assert table is not None, name
        assert table.num_rows > 0, name


def test_offloaded_decoding_writes_what_the_plain_model_writes(written: RunDir) -> None:
    derive_routing(written)
    rows: list[dict[str, Any]] = written.read_table("routing_offload").to_pylist()  # type: ignore[union-attr]
    assert [(row["policy"], row["cache_size"]) for row in rows] == [(None, 4), ("lru", 2), ("lru", 3), ("lru", 4)]
    assert all(row["same_output"] for row in rows)
    for row in rows[1:]:
        assert row["hit_rate"] == pytest.approx(row["hit_rate_expected"]), "all sequences were decoded again"
        assert row["tokens_per_s"] > 0
        assert row["energy_per_token_j"] is None, "no sensor was read"
    assert rows[1]["loaded_bytes_per_token"] > rows[2]["loaded_bytes_per_token"] > rows[3]["loaded_bytes_per_token"]


def test_an_advice_takes_its_prices_from_what_a_run_measured(written: RunDir) -> None:
    derive_routing(written)
    found = measured_prices(str(written.path))
    assert found["token_s"] > 0
    assert found["link_byte_s"] >= 0
    assert "token_j" not in found, "no sensor was read"
    assert measured_prices(str(written.path / "nothing")) == {}


def test_pins_are_judged_on_other_texts_than_those_they_are_chosen_on(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"id": i, "text": f"{i} and {i * i}"}) for i in range(14))
    run = measured_run(tmp_path, lines, write=3, offload=("static", "lru-bounded"))
    derive_routing(run)
    rows: list[dict[str, Any]] = run.read_table("routing_offload").to_pylist()  # type: ignore[union-attr]
    assert {row["policy"] for row in rows} == {None, "static", "lru-bounded"}
    for row in rows[1:]:
        assert row["same_output"]
        assert row["hit_rate"] == pytest.approx(row["hit_rate_expected"])
