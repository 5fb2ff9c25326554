"""A model's parts are as large as its headers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workloads.routing.advice.headers import F16, Q4_K, Q6_K, RESIDENT, UNKNOWN, entries, gguf, safetensors, tensors

from ipw.errors import IpwError
from ipw.workloads.routing.advice.model import is_model, sizes_of

VALUES = 3 * 512 * 256


def test_a_gguf_header_tells_experts_all_else_and_the_cache(tmp_path: Path) -> None:
    sizes = sizes_of(str(gguf(tmp_path / "m.gguf", entries(), tensors())))
    assert (sizes.layers, sizes.num_experts, sizes.k) == ((1, 2, 3), 8, 2)
    assert sizes.layer_bytes == (VALUES * 144 // 256,) * 3
    assert sizes.resident_bytes == RESIDENT
    assert sizes.kv_bytes == 4 * 2 * (64 + 64) * 2
    assert sizes.context_tokens == 1000


def test_layers_of_unlike_types_have_experts_of_unlike_size(tmp_path: Path) -> None:
    sizes = sizes_of(str(gguf(tmp_path / "m.gguf", entries(), tensors((Q4_K, Q6_K, F16)))))
    assert sizes.layer_bytes == (VALUES * 144 // 256, VALUES * 210 // 256, VALUES * 2)


def test_a_type_that_is_not_known_ends_where_the_next_tensor_begins(tmp_path: Path) -> None:
    made = [("blk.1.ffn_up_exps.weight", [256, 256, 8], UNKNOWN, 0), ("output.weight", [256, 2], F16, 80_000)]
    assert sizes_of(str(gguf(tmp_path / "m.gguf", entries(), made))).layer_bytes == (10_000,)
    with pytest.raises(IpwError, match="is not known"):
        sizes_of(str(gguf(tmp_path / "n.gguf", entries(), made[:1])))


def test_all_parts_of_a_split_model_count(tmp_path: Path) -> None:
    whole = tensors()
    first = gguf(tmp_path / "m-00001-of-00002.gguf", entries(), whole[:6])
    with pytest.raises(IpwError, match=r"00002-of-00002\.gguf is not there"):
        sizes_of(str(first))
    gguf(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1}, whole[6:])
    sizes = sizes_of(str(first))
    assert sizes.resident_bytes == RESIDENT
    assert sizes.layers == (1, 2, 3)


@pytest.mark.parametrize(
    ("more", "kv_bytes"),
    [
        ({"attention.head_count_kv": [2, 0, 2, 0]}, 2 * 2 * 128 * 2),
        ({"attention.key_length": 128, "attention.value_length": 96}, 4 * 2 * (128 + 96) * 2),
        ({"attention.kv_lora_rank": 512, "rope.dimension_count": 64}, 4 * 576 * 2),
        ({"attention.head_count_kv": "many"}, None),
        ({"block_count": 0}, None),
    ],
)
def test_the_cache_is_that_of_the_attention_there_is(
    tmp_path: Path, more: dict[str, Any], kv_bytes: int | None
) -> None:
    assert sizes_of(str(gguf(tmp_path / "m.gguf", entries(**more), tensors()))).kv_bytes == kv_bytes


@pytest.mark.parametrize("stacked", [True, False])
def test_a_folder_tells_the_same_by_its_headers_and_config(tmp_path: Path, stacked: bool) -> None:
    shapes = {"model.embed_tokens.weight": [100, 64], "model.layers.0.mlp.shared_experts.up_proj.weight": [10, 64]}
    for layer in (1, 2):
        if stacked:
            shapes[f"model.layers.{layer}.mlp.experts.gate_up_proj"] = [8, 64, 64]
            shapes[f"model.layers.{layer}.mlp.experts.down_proj"] = [8, 64, 32]
        else:
            for expert in range(8):
                shapes[f"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight"] = [32, 64]
                shapes[f"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight"] = [32, 64]
                shapes[f"model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"] = [64, 32]
    safetensors(tmp_path / "model.safetensors", shapes)
    config = {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 16, "num_experts_per_tok": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    sizes = sizes_of(str(tmp_path))
    assert (sizes.layers, sizes.num_experts, sizes.k) == ((1, 2), 8, 2)
    assert sizes.layer_bytes == (2 * 3 * 32 * 64,) * 2
    assert sizes.resident_bytes == 2 * (100 * 64 + 10 * 64)
    assert sizes.kv_bytes == 2 * 3 * 2 * 16 * 2
    assert is_model(str(tmp_path))
    assert sizes_of(str(tmp_path / "model.safetensors")).layer_bytes == sizes.layer_bytes


@pytest.mark.parametrize("cut", [4, 20, 300, 700])
def test_a_header_that_is_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    path = gguf(tmp_path / "m.gguf", entries(), tensors())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(IpwError, match="not whole"):
        sizes_of(str(path))
    other = safetensors(tmp_path / "m.safetensors", {"model.layers.1.mlp.experts.up": [2, 4, 4]})
    other.write_bytes(other.read_bytes()[: min(cut, 60)])
    with pytest.raises(IpwError, match="not a safetensors file"):
        sizes_of(str(other))


def test_what_is_no_mixture_is_told(tmp_path: Path) -> None:
    with pytest.raises(IpwError, match="dense"):
        sizes_of(str(gguf(tmp_path / "m.gguf", entries(), tensors()[:2])))
    told = entries()
    del told["some.expert_count"]
    with pytest.raises(IpwError, match="how many experts"):
        sizes_of(str(gguf(tmp_path / "n.gguf", told, tensors())))
    with pytest.raises(IpwError, match="is not there"):
        sizes_of(str(tmp_path / "x.gguf"))
    with pytest.raises(IpwError, match="no safetensors file"):
        sizes_of(str(tmp_path))
