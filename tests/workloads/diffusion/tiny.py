"""Tiny masked diffusion models with random weights, and a plain forward pass to hold them against."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

VOCABULARY, MASK, END, WIDTH, LAYERS, HEADS, INNER = 20, 19, 2, 24, 2, 3, 40
THETA = 5e4
SHARP = 4.0
"""Of the head: confidences of all sizes."""
LLADA: dict[str, Any] = {
    "model_type": "llada", "block_type": "llama", "d_model": WIDTH, "n_heads": HEADS, "n_kv_heads": HEADS,
    "n_layers": LAYERS, "mlp_hidden_size": INNER, "vocab_size": VOCABULARY, "embedding_size": VOCABULARY,
    "rope": True, "rope_theta": THETA, "rms_norm_eps": 1e-5, "layer_norm_type": "rms", "activation_type": "silu",
    "weight_tying": False, "mask_token_id": MASK, "eos_token_id": END, "max_sequence_length": 64,
}  # fmt: skip
DREAM: dict[str, Any] = {
    "model_type": "Dream", "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": 1, "intermediate_size": INNER, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-6,
    "rope_theta": THETA, "tie_word_embeddings": False, "mask_token_id": MASK, "eos_token_id": END,
    "max_position_embeddings": 64, "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
}  # fmt: skip


def llada(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a LLaDA-shaped folder; weights are large enough for confidences of all sizes."""
    shapes = {"model.transformer.wte.weight": (VOCABULARY, WIDTH), "model.transformer.ln_f.weight": (WIDTH,)}
    shapes["model.transformer.ff_out.weight"] = (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        block = f"model.transformer.blocks.{layer}."
        shapes |= {f"{block}{name}.weight": (WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"{block}{name}.weight": (INNER, WIDTH) for name in ("ff_proj", "up_proj")}
        shapes |= {f"{block}ff_out.weight": (WIDTH, INNER)}
        shapes |= {f"{block}{name}.weight": (WIDTH,) for name in ("attn_norm", "ff_norm")}
    return _written(folder, LLADA | changes, shapes, seed)


def dream(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a Dream-shaped folder, whose config names code of its own, as Dream's does."""
    head = WIDTH // HEADS
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    shapes["lm_head.weight"] = (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name, rows in (("q", WIDTH), ("k", head), ("v", head)):
            shapes |= {f"{at}self_attn.{name}_proj.weight": (rows, WIDTH), f"{at}self_attn.{name}_proj.bias": (rows,)}
        shapes |= {f"{at}self_attn.o_proj.weight": (WIDTH, WIDTH), f"{at}mlp.down_proj.weight": (WIDTH, INNER)}
        shapes |= {f"{at}mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")}
        shapes |= {f"{at}{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
    return _written(folder, DREAM | changes, shapes, seed)


def _written(folder: Path, config: dict[str, Any], shapes: dict[str, tuple[int, ...]], seed: int) -> Path:
    rng = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=rng) * 2 / math.sqrt(shape[-1]) for name, shape in shapes.items()}
    for name in weights:
        if name in {"lm_head.weight", "model.transformer.ff_out.weight"}:
            weights[name] *= SHARP
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors")
    return folder


def plain_llada_logits(folder: Path, tokens: list[int]) -> np.ndarray[Any, Any]:
    """Logits [positions, vocabulary] of a LLaDA-shaped folder, written out: no library's model, no cache, no mask."""
    from safetensors.torch import load_file

    weights = {
        name.removeprefix("model.transformer."): w.double()
        for name, w in load_file(folder / "model.safetensors").items()
    }
    x = weights["wte.weight"][torch.tensor(tokens)]
    width = WIDTH // HEADS
    angle = torch.arange(len(tokens)).double()[:, None] * THETA ** (-torch.arange(0, width, 2).double() / width)
    cos, sin = (torch.cat([part(angle)] * 2, -1) for part in (torch.cos, torch.sin))

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        return weights[name] * y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def turned(y: torch.Tensor) -> torch.Tensor:
        first, second = y.chunk(2, -1)
        return y * cos[:, None] + torch.cat([-second, first], -1) * sin[:, None]

    for layer in range(LAYERS):
        at = f"blocks.{layer}."
        y = norm(x, f"{at}attn_norm.weight")
        q, k, v = ((y @ weights[f"{at}{n}_proj.weight"].T).view(len(tokens), HEADS, width) for n in "qkv")
        share = torch.einsum("qhd,khd->hqk", turned(q), turned(k)).div(math.sqrt(width)).softmax(-1)
        x = x + torch.einsum("hqk,khd->qhd", share, v).reshape(len(tokens), WIDTH) @ weights[f"{at}attn_out.weight"].T
        y = norm(x, f"{at}ff_norm.weight")
        gate = torch.nn.functional.silu(y @ weights[f"{at}ff_proj.weight"].T)
        x = x + (gate * (y @ weights[f"{at}up_proj.weight"].T)) @ weights[f"{at}ff_out.weight"].T
    return np.asarray((norm(x, "ln_f.weight") @ weights["ff_out.weight"].T).numpy())


class Words:
    """A tokenizer whose words are the numbers of tokens."""

    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        return " ".join(map(str, tokens)) if skip_special_tokens else ""
