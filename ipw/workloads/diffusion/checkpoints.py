"""Masked diffusion checkpoints as models of transformers, none of whose own code is run.

LLaDA is a Llama under other names and Dream a Qwen2, both without a causal mask. Their `config.json` and safetensors
are read here, since transformers' automatic classes would ask for the code that comes with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ATTENTION = "ipw-bidirectional"
LLADA_BLOCK = {
    "attn_norm": "input_layernorm", "ff_norm": "post_attention_layernorm", "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj", "v_proj": "self_attn.v_proj", "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj", "up_proj": "mlp.up_proj", "ff_out": "mlp.down_proj",
}  # fmt: skip
LLADA_REST = {"wte": "model.embed_tokens", "ln_f": "model.norm", "ff_out": "lm_head"}
LLADA_MUST_BE: dict[str, tuple[Any, ...]] = {
    "block_type": ("llama",), "layer_norm_type": ("rms",), "activation_type": ("silu", "swiglu"), "rope": (True,),
    "alibi": (False,), "include_bias": (False,), "include_qkv_bias": (False,), "bias_for_layer_norm": (False,),
    "scale_logits": (False,), "input_emb_norm": (False,), "attention_layer_norm": (False,),
}  # fmt: skip
"""What this reading of a LLaDA config takes for granted; a field that is absent or null is as it should be."""
FIRST_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json`. Raises UsageError where there is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} holds no model: config.json cannot be read ({error})", "give a model's folder"
        ) from None
    if not isinstance(config, dict):
        raise UsageError(f"{folder / 'config.json'} holds no table", "give a model's folder")
    return config


def open_checkpoint(folder: Path, config: Mapping[str, Any], dtype: str, device: str) -> PreTrainedModel:
    """Load a model of a known kind, both ways attending. Raises UsageError for any other."""
    import transformers

    register_attention()
    kind = config.get("model_type")
    if kind == "llada":
        return _assembled(transformers.LlamaForCausalLM, _llama_config(config), folder, _llada_name, dtype, device)
    if kind == "Dream":
        known = {
            name: value for name, value in config.items() if name not in ("auto_map", "architectures", "model_type")
        }
        return _assembled(
            transformers.Qwen2ForCausalLM, transformers.Qwen2Config.from_dict(known), folder, str, dtype, device
        )
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=ATTENTION, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"cannot load {folder}: {_first_line(error)}", "was the folder copied whole?") from None
    return model.to(device).eval()


def register_attention() -> None:
    """Tell transformers of attention without any mask: with a name of its own it makes no causal one."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)


def _attend(
    _module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    import torch

    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, scale=options.get("scaling"), enable_gqa=query.shape[1] != key.shape[1]
    )
    return out.transpose(1, 2).contiguous(), None


def _llama_config(config: Mapping[str, Any]) -> Any:
    from transformers import LlamaConfig

    for name, values in LLADA_MUST_BE.items():
        if (found := config.get(name)) is not None and found not in values:
            raise UsageError(
                f"this LLaDA has {name} = {found!r}, which is not covered", f"models with {name} = {values[0]!r} are"
            )
    try:
        heads = config["n_heads"]
        return LlamaConfig(
            vocab_size=config.get("embedding_size") or config["vocab_size"],
            hidden_size=config["d_model"],
            intermediate_size=config.get("mlp_hidden_size") or config["mlp_ratio"] * config["d_model"],
            num_hidden_layers=config["n_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("n_kv_heads") or heads,
            max_position_embeddings=config.get("max_sequence_length") or 4096,
            rms_norm_eps=config.get("rms_norm_eps", 1e-5),
            rope_parameters={"rope_type": "default", "rope_theta": float(config.get("rope_theta", 1e4))},
            tie_word_embeddings=bool(config.get("weight_tying")),
            attention_bias=False,
            mlp_bias=False,
            bos_token_id=None,
            eos_token_id=config.get("eos_token_id"),
            pad_token_id=None,
        )
    except KeyError as error:
        raise UsageError(f"this LLaDA's config.json lacks {error}", "was it copied whole?") from None


def _llada_name(name: str) -> str:
    path = name.removeprefix("model.transformer.").removesuffix(".weight").split(".")
    if path[0] == "blocks" and len(path) == 3 and path[2] in LLADA_BLOCK:
        return f"model.layers.{path[1]}.{LLADA_BLOCK[path[2]]}.weight"
    return f"{LLADA_REST.get(path[0], name)}.weight" if len(path) == 1 else name


def _assembled(kind: Any, config: Any, folder: Path, rename: Any, dtype: str, device: str) -> PreTrainedModel:
    """Make a model without weights and give it those of the folder."""
    import torch

    config._attn_implementation = ATTENTION  # noqa: SLF001 - transformers' documented way from a made config
    with torch.device("meta"):
        model = kind(config)
    weights = {rename(name): tensor for name, tensor in _weights(folder, device)}
    if dtype != "auto":
        weights = {name: tensor.to(getattr(torch, dtype)) for name, tensor in weights.items()}
    try:
        found = model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise UsageError(
            f"the weights of {folder} do not fit its config.json: {_first_line(error)}", "is it a LLaDA or a Dream?"
        ) from None
    model.tie_weights()
    missing = [name for name in found.missing_keys if not (config.tie_word_embeddings and name == "lm_head.weight")]
    if odd := [*missing, *found.unexpected_keys]:
        raise UsageError(
            f"the weights of {folder} do not fit: {odd[0]} is {'missing' if missing else 'not known'}",
            "is it a LLaDA or a Dream?",
        )
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config).to(device)
    return model.to(device).eval()


def _weights(folder: Path, device: str) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    files = [folder / FIRST_FILE]
    if (folder / INDEX).is_file():
        names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        files = [folder / name for name in sorted(set(names))]
    for file in files:
        try:
            with safe_open(file, "pt", device=device) as opened:
                for name in opened.keys():  # noqa: SIM118 (no mapping)
                    yield name, opened.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"the weights {file} cannot be read: {_first_line(error)}", "was it copied whole?"
            ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
