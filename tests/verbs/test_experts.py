"""`ipw experts advise`, from the command line to its answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from workloads.routing.advice.headers import RESIDENT, entries, gguf, tensors
from workloads.routing.simulation import trace

from ipw.errors import UsageError
from ipw.verbs.experts import group

EXPERT = 3 * 512 * 256 * 144 // 256
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The upstream form of a trace: layers 1 to 3, 8 experts, 2 a token."""
    random = np.random.default_rng(0)
    experts = np.stack([trace(random, 300, 8, 2, "zipf") for _ in range(3)], axis=1)
    rows = [f"{layer + 1},{e}" for token in experts for layer, ids in enumerate(token) for e in ids]
    path = tmp_path / "trace.csv"
    path.write_text("layer,expert\n" + "\n".join(rows) + "\n")
    return path


def ask(*words: object) -> dict[str, Any]:
    told = CliRunner().invoke(group, ["advise", *map(str, words), "--json"], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_a_trace_and_a_model_give_the_whole_answer(source: Path, tmp_path: Path) -> None:
    model = gguf(tmp_path / "m.gguf", entries(), tensors())
    memory = RESIDENT + 1000 * 2048 + 3 * 4 * EXPERT + EXPERT
    found = ask(
        source, "--model", model, "--memory", memory, "--link", "1GB/s", "--power", "30W", "--token-time", "5ms"
    )
    assert {"advice", "candidates", "memory", "excluded"} <= set(found)
    advice = found["advice"]
    assert {"policy", "slots", "per", "hit_rate", "tokens_per_s", "energy_per_token_j", "told_apart", "reason"} <= set(
        advice
    )
    for name in ("hit_rate", "tokens_per_s", "energy_per_token_j"):
        assert advice[name]["low"] <= advice[name]["value"] <= advice[name]["high"]
    assert advice["slots"] == (12 if advice["per"] == "pool" else 4)
    told = found["memory"]
    assert (told["resident_bytes"], told["kv_cache_bytes"]) == (RESIDENT, 1000 * 2048)
    parts = ("resident_bytes", "kv_cache_bytes", "experts_bytes", "in_transit_bytes", "free_bytes")
    assert sum(told[name] for name in parts) == told["total_bytes"] == memory
    slots = {row["slots"] for row in found["candidates"] if row["policy"] == "lru" and row["per"] == "layer"}
    assert slots == set(range(1, 9))
    assert found["trace"]["experts"] == 8


def test_the_context_that_is_asked_for_takes_from_the_experts(source: Path, tmp_path: Path) -> None:
    model = gguf(tmp_path / "m.gguf", entries(), tensors())
    found = [ask(source, "--model", model, "--memory", "8MB", "--context", n) for n in (0, 500, 1000)]
    assert [each["memory"]["kv_cache_bytes"] for each in found] == [0, 1_024_000, 2_048_000]


def test_a_trace_alone_takes_its_sizes_from_options(source: Path) -> None:
    told = ("--resident-bytes", "10KB", "--kv-bytes", "1KB", "--context", 5, "--num-experts", 8)
    found = ask(source, "--memory", "40KB", "--expert-bytes", "1KB,2KB,3KB", *told)
    assert found["memory"]["expert_bytes"] == [1000, 2000, 3000]
    assert found["memory"]["resident_bytes"] == 10_000
    assert found["memory"]["kv_cache_bytes"] == 5_000
    assert found["advice"]["tokens_per_s"]["value"] is None
    assert "--link" in found["advice"]["tokens_per_s"]["reason"]
    assert found["advice"]["by"] == "hit_rate"


def test_a_gguf_alone_tells_of_whole_layers(tmp_path: Path) -> None:
    model = gguf(tmp_path / "m.gguf", entries(), tensors())
    memory = RESIDENT + 1000 * 2048 + 8 * EXPERT
    found = ask(model, "--memory", memory, "--cpu", "10GB/s", "--token-time", "1ms")
    assert found["advice"]["policy"] == "layers"
    assert found["advice"]["slots"] == 1
    assert found["advice"]["hit_rate"]["value"] == pytest.approx(1 / 3)
    assert found["advice"]["tokens_per_s"]["value"] == pytest.approx(1 / (0.001 + 4 * EXPERT / 10e9))
    assert found["advice"]["settings"][0]["settings"].startswith("--n-cpu-moe 3, or -ot 'blk\\.(1|2)\\.ffn_")
    assert "trace" in found["advice"]["reason"]


def test_the_settings_keep_the_last_layers_that_fit(source: Path, tmp_path: Path) -> None:
    model = gguf(tmp_path / "m.gguf", entries(), tensors())
    everything = RESIDENT + 1000 * 2048 + 24 * EXPERT
    for memory, wanted in ((everything, "--n-cpu-moe 0"), (everything - 1, "--n-cpu-moe 2"), (10**6, "--n-cpu-moe 4")):
        found = ask(source, "--model", model, "--memory", memory)
        assert found["advice"]["settings"][0]["settings"].split(",")[0] == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "1GB"], "how large an expert is"),
        (["--memory", "lots", "--expert-bytes", "1KB"], "--memory 'lots'"),
        (["--memory", "0GB", "--expert-bytes", "1KB"], "--memory '0GB'"),
        (["--memory", "1GB", "--expert-bytes", "1KB,2KB"], "2 sizes for 3 layers"),
        (["--memory", "1GB", "--expert-bytes", "1KB", "--link", "12"], "--link '12'"),
        (["--memory", "1GB", "--expert-bytes", "1KB", "--context", "10"], "what a token of context takes"),
        (["--memory", "1GB", "--expert-bytes", "1KB", "--num-experts", "4"], "names expert 7"),
        (["--memory", "1GB", "--expert-bytes", "1KB", "--experts-per-token", "3"], "twice"),
        (["--memory", "1GB", "--expert-bytes", "1KB", "--columns", "layer=depth"], "no column 'depth'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(source: Path, words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as told:
        CliRunner().invoke(group, ["advise", str(source), *words], catch_exceptions=False)
    assert said in told.value.message
    assert "\n" not in f"{told.value.message}{told.value.hint}"


def test_people_see_the_advice_the_table_and_the_findings(source: Path) -> None:
    told = CliRunner().invoke(
        group, ["advise", str(source), "--memory", "20KB", "--expert-bytes", "1KB", "--link", "1MB/s", "--cpu", "1MB/s"]
    )
    assert told.exit_code == 0
    for part in ("take ", "hit rate", "belady (looks ahead)", "with other memory", "static set", "--n-cpu-moe"):
        assert part in told.output


def test_a_link_and_a_cpu_can_be_measured(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ipw.workloads.routing.advice import measure

    monkeypatch.setattr(measure, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(measure, "PASS_S", 0.02)
    found = ask(source, "--memory", "20KB", "--expert-bytes", "1KB", "--link", "measure", "--cpu", "measure")
    assert found["prices"]["link_bytes_per_s"] > 0
    assert found["prices"]["cpu_bytes_per_s"] > 0
    assert any("measured here" in line for line in found["prices"]["how"])
