from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workloads.diffusion import tiny

from ipw.errors import UsageError
from ipw.workloads.diffusion import decode, load
from ipw.workloads.diffusion.subject import Subject, find


def test_a_llada_predicts_its_own_position_and_a_dream_the_next(llada: Subject, dream: Subject) -> None:
    assert (llada.shift, dream.shift) == (False, True)
    assert llada.ends == dream.ends == {tiny.END}
    assert type(llada.model).__name__ == "LlamaForCausalLM"
    assert type(dream.model).__name__ == "Qwen2ForCausalLM"


def test_the_base_of_the_angles_is_the_configs(llada: Subject, dream: Subject) -> None:
    width = tiny.WIDTH // tiny.HEADS
    for model in (llada, dream):
        slowest = float(model.model.get_decoder().rotary_emb.inv_freq[-1])
        assert slowest == pytest.approx(tiny.THETA ** -((width - 2) / width), rel=1e-4)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = tiny.dream(tmp_path / "m")
    (folder / "modeling_dream.py").write_text("raise SystemExit('this was run')")
    assert decode(load(folder, device="cpu"), [3, 4], length=4).committed


def test_a_plain_checkpoint_is_known_by_its_mask_and_its_missing_causality(tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=20, hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=3,
        num_key_value_heads=3, head_dim=8, max_position_embeddings=64, eos_token_id=2,
    )  # fmt: skip
    config.is_causal, config.mask_token_id, config.ipw_shift = False, 19, True
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    found = load(tmp_path, device="cpu")
    assert (found.mask, found.shift, found.ends) == (19, True, frozenset({2}))
    assert len(decode(found, [3, 4], length=4).tokens) == 6


@pytest.mark.parametrize(
    ("config", "said", "hint"),
    [
        ({"model_type": "llama"}, "predicts the next token", "ipw run lm"),
        ({"model_type": "qwen2", "mask_token_id": 3}, "predicts the next token", "ipw run lm"),
        ({"model_type": "odd", "auto_map": {"AutoModel": "odd.Odd"}}, "code of its own", "LLaDA or a Dream"),
        ({"model_type": "diffusion_gemma"}, "starts from noise", "LLaDA or a Dream"),
        (tiny.LLADA | {"mask_token_id": None}, "mask token", "--mask-token, and its id"),
        (tiny.DREAM | {"mask_token_id": "<mask>"}, "mask token", "--mask-token, and its id"),
        ([], "holds no table", "folder"),
    ],
)
def test_what_is_no_masked_diffusion_model_is_told(tmp_path: Path, config: Any, said: str, hint: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as error:
        find(tmp_path)
    assert said in error.value.message
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("name", "value"),
    [("block_type", "sequential"), ("alibi", True), ("rope", False), ("layer_norm_type", "default"),
     ("include_bias", True), ("include_qkv_bias", True), ("scale_logits", True), ("input_emb_norm", True)],
)  # fmt: skip
def test_a_llada_that_is_built_otherwise_is_refused_by_the_name_of_the_field(
    tmp_path: Path, name: str, value: Any
) -> None:
    folder = tiny.llada(tmp_path / "m", **{name: value})
    with pytest.raises(UsageError, match=name):
        load(folder, device="cpu")


def test_weights_that_are_missing_or_cut_are_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny.llada(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    del weights["model.transformer.blocks.1.q_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UsageError, match=r"layers\.1\.self_attn\.q_proj\.weight is missing"):
        load(folder, device="cpu")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:500])
    with pytest.raises(UsageError, match="cannot be read"):
        load(folder, device="cpu")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        load(folder, device="cpu")


def test_weights_of_another_shape_are_told(tmp_path: Path) -> None:
    folder = tiny.llada(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"mlp_hidden_size": 44}))
    with pytest.raises(UsageError, match="do not fit"):
        load(folder, device="cpu")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in (tmp_path / "none", "./none", "none"):
        with pytest.raises(UsageError, match="no folder"):
            find(name)
    with pytest.raises(UsageError, match=r"config\.json cannot be read"):
        find(tmp_path)


def test_the_other_bundled_models_are_told_to_be_of_another_kind() -> None:
    for name in ("dense", "moe"):
        with pytest.raises(UsageError, match="predicts the next token") as error:
            find(name)
        assert error.value.hint == f"ipw run lm --model {name}"


def test_the_mask_token_may_be_given(tmp_path: Path) -> None:
    folder = tiny.llada(tmp_path / "m", mask_token_id=None)
    assert load(folder, device="cpu", mask_id=19).mask == 19


def test_a_dtype_or_a_device_that_is_none_is_told(tmp_path: Path) -> None:
    folder = tiny.llada(tmp_path / "m")
    with pytest.raises(UsageError, match="no dtype 'float33'"):
        load(folder, device="cpu", dtype="float33")
    with pytest.raises(UsageError, match="'cuda:9' cannot be used"):
        load(folder, device="cuda:9")
    assert str(load(folder, device="cpu", dtype="bfloat16").model.dtype) == "torch.bfloat16"
