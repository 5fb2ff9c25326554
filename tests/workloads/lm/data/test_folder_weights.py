from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from ipw.workloads.lm.servers.safetensors import folder_weights


def write(folder: Path, config: dict[str, Any], tensors: dict[str, list[int]]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    header = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in tensors.items()}
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return folder


def test_a_mixture_counts_the_experts_that_a_token_uses_and_no_lookup(tmp_path: Path) -> None:
    config = {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 1, "max_position_embeddings": 64}
    tensors = {"model.embed_tokens.weight": [100, 8], "lm_head.weight": [100, 8], "model.layers.0.attn.weight": [8, 8]}
    tensors |= {f"model.layers.0.mlp.experts.{i}.up_proj.weight": [8, 10] for i in range(4)}
    facts = folder_weights(write(tmp_path, config, tensors))
    assert facts["parameters"] == 800 + 800 + 64 + 320
    assert facts["active_parameters"] == 800 + 800 + 64 + 80
    assert facts["flops_per_token"] == 2 * (800 + 64 + 80)
    assert facts["weight_bytes_per_token"] == 2 * (800 + 64 + 80)
    assert (facts["quantisation"], facts["context_tokens"], facts["experts"]) == ("bf16", 64, 4)


def test_with_tied_embeddings_the_head_is_multiplied_with(tmp_path: Path) -> None:
    facts = folder_weights(write(tmp_path, {}, {"model.embed_tokens.weight": [100, 8]}))
    assert facts["flops_per_token"] == 1600


def test_a_folder_that_tells_nothing_has_no_facts(tmp_path: Path) -> None:
    assert folder_weights(tmp_path) == {}
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    assert folder_weights(tmp_path) == {}


@pytest.mark.parametrize(
    "header",
    [
        b"[]", b"5", b"{", b"[" * 5000, b'{"w": 1}', b'{"w": {"dtype": "F16"}}', b'{"w": {"shape": 4, "dtype": "F16"}}',
        b'{"w": {"shape": [-1], "dtype": "F16"}}', b'{"w": {"shape": [1.5], "dtype": "F16"}}',
        b'{"w": {"shape": [4], "dtype": 7}}', b'{"w": {"shape": [4]}}',
        b'{"w": {"shape": [9007199254740991, 9007199254740991], "dtype": "F16"}}', b"\xff\xfe\xfd",
    ],
)  # fmt: skip
def test_a_header_of_other_types_tells_nothing(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert folder_weights(tmp_path) == {}


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 10**9, 50])
def test_a_header_beyond_its_file_tells_nothing(length: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    assert folder_weights(tmp_path) == {}


@pytest.mark.parametrize("odd", ["8", 0, -1, 1.5, True, None, [], {}, 10**30])
def test_facts_of_other_types_are_absent_and_the_rest_is_kept(odd: object, tmp_path: Path) -> None:
    names = ("num_experts", "num_experts_per_tok", "max_position_embeddings")
    facts = folder_weights(write(tmp_path, dict.fromkeys(names, odd), {"a.experts.0.w": [4, 4], "b": [4]}))
    assert facts["parameters"] == facts["active_parameters"] == 20
    assert [facts[name] for name in ("experts", "experts_per_token", "context_tokens")] == [None] * 3
