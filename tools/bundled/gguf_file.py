"""A trained bundled model (Hugging Face folder, Qwen3 or Qwen3-MoE) as one q8_0 GGUF file, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundled.tokenizer import BOS, CHAT_TEMPLATE, CONTROL, END, PAD, ROLES, byte_characters, vocabulary

if TYPE_CHECKING:
    import torch

ARCHITECTURES = {"qwen3": "qwen3", "qwen3_moe": "qwen3moe"}


def write_gguf(folder: Path, target: Path, name: str, more: Sequence[str] = (), template: str = CHAT_TEMPLATE) -> None:
    """Convert `folder` to `target`. Matrices become q8_0; norms and the router stay f32.

    `more` are the tokens that the model has behind those of all bundled models.
    """
    import gguf
    import numpy as np
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(str(target), architecture)
    writer.add_name(name)
    writer.add_license("Apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    for add in (writer.add_key_length, writer.add_value_length, writer.add_rope_dimension_count):
        add(config["head_dim"])
    writer.add_rope_freq_base(float((config.get("rope_parameters") or {}).get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    experts = config.get("num_experts") or config.get("num_local_experts")
    if architecture == "qwen3moe":
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_tokenizer(writer, more, template)

    def put(tensor_name: str, tensor: torch.Tensor) -> None:
        array = tensor.float().numpy()
        if array.ndim < 2 or "ffn_gate_inp" in tensor_name:
            writer.add_tensor(tensor_name, array.astype(np.float32))
        else:
            q8_0 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(tensor_name, gguf.quantize(array, q8_0), raw_dtype=q8_0)

    put("token_embd.weight", weights["model.embed_tokens.weight"])
    put("output_norm.weight", weights["model.norm.weight"])
    for layer in range(config["num_hidden_layers"]):
        source, goal = f"model.layers.{layer}.", f"blk.{layer}."
        put(goal + "attn_norm.weight", weights[source + "input_layernorm.weight"])
        put(goal + "ffn_norm.weight", weights[source + "post_attention_layernorm.weight"])
        for ours, theirs in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("output", "o_proj")):
            put(f"{goal}attn_{ours}.weight", weights[f"{source}self_attn.{theirs}.weight"])
        for part in "qk":
            put(f"{goal}attn_{part}_norm.weight", weights[f"{source}self_attn.{part}_norm.weight"])
        if architecture == "qwen3moe":
            put(goal + "ffn_gate_inp.weight", weights[source + "mlp.gate.weight"])
        for part in ("gate", "up", "down"):
            if architecture == "qwen3moe":
                rows = [weights[f"{source}mlp.experts.{e}.{part}_proj.weight"] for e in range(experts)]
                put(f"{goal}ffn_{part}_exps.weight", torch.stack(rows))
            else:
                put(f"{goal}ffn_{part}.weight", weights[f"{source}mlp.{part}_proj.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: object, more: Sequence[str], template: str) -> None:
    from gguf import GGUFWriter, TokenType

    assert isinstance(writer, GGUFWriter)
    kinds = [TokenType.CONTROL] * len(CONTROL) + [TokenType.USER_DEFINED] * len(ROLES) + [TokenType.NORMAL] * 256
    kinds += [TokenType.USER_DEFINED] * len(more)
    nul = byte_characters()[0]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*vocabulary(), *more])
    writer.add_token_types(kinds)
    # Readers expect a list of merges; this one can never apply, since its product is not in the vocabulary.
    writer.add_token_merges([f"{nul} {nul}"])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(template)


def read_gguf(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a dense model back, in single precision, under the names of its Hugging Face folder."""
    import torch
    from gguf import GGUFReader, dequantize

    parts = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    weights = {}
    for tensor in GGUFReader(path).tensors:
        stem = tensor.name.removesuffix(".weight")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            names[stem] = f"model.layers.{layer}.{parts[part]}"
        weights[f"{names[stem]}.weight"] = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
    return weights
