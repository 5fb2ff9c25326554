"""Tiny models with random weights, one of each way in which transformers builds a mixture of experts."""

from __future__ import annotations

from typing import Any

VOCABULARY, EXPERTS, ACTIVE, LAYERS = 262, 4, 2, 2
BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ACTIVE_EXPERTS = {"num_experts_per_tok": ACTIVE}
LOCAL = {"num_local_experts": EXPERTS, **ACTIVE_EXPERTS}
PLAIN = {"num_experts": EXPERTS, **ACTIVE_EXPERTS}
DEEPSEEK = {
    **ACTIVE_EXPERTS,
    "n_routed_experts": EXPERTS,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 0,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
}
LATENT = {
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
}
CAUSAL: dict[str, dict[str, Any]] = {
    "Mixtral": LOCAL,
    "GptOss": LOCAL,
    "GraniteMoe": LOCAL,
    "Phimoe": LOCAL,
    "MiniMaxM2": LOCAL,
    "Olmoe": PLAIN,
    "FlexOlmo": PLAIN,
    "Qwen2Moe": {
        **PLAIN,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
        "decoder_sparse_step": 1,
    },
    "Qwen3Moe": {**PLAIN, "moe_intermediate_size": 32},
    "DeepseekV2": {**DEEPSEEK, **LATENT, "topk_method": "greedy"},
    "DeepseekV3": {**DEEPSEEK, **LATENT},
    "Glm4Moe": DEEPSEEK,
    "Dots1": DEEPSEEK,
    "Ernie4_5_Moe": {
        "moe_num_experts": EXPERTS,
        "moe_k": ACTIVE,
        "moe_intermediate_size": 32,
        "moe_layer_start_index": 0,
    },
    "Lfm2Moe": {
        **PLAIN,
        "moe_intermediate_size": 32,
        "num_dense_layers": 0,
        "layer_types": ["full_attention"] * LAYERS,
    },
    "HunYuanMoEV1": {**PLAIN, "moe_topk": ACTIVE},
    "Jamba": {
        **PLAIN,
        "expert_layer_period": 1,
        "expert_layer_offset": 0,
        "attn_layer_period": 1,
        "attn_layer_offset": 0,
        "use_mamba_kernels": False,
    },
    "JetMoe": {**LOCAL, "kv_channels": 16},
}
NAMES = [*CAUSAL, "Dbrx", "Llama4", "NllbMoe", "SwitchTransformers"]
TOP_ONE = {"Llama4", "SwitchTransformers"}
"""These route each token to one expert."""
OWN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Dbrx": (
        "DbrxForCausalLM",
        "DbrxConfig",
        {
            "vocab_size": VOCABULARY,
            "d_model": 64,
            "n_heads": 4,
            "n_layers": LAYERS,
            "max_seq_len": 64,
            "ffn_config": {"moe_num_experts": EXPERTS, "moe_top_k": ACTIVE, "ffn_hidden_size": 64},
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
        },
    ),
    "Llama4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {
            **BASE,
            "num_local_experts": EXPERTS,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 64,
            "interleave_moe_layer_step": 1,
        },
    ),
    "NllbMoe": (
        "NllbMoeForConditionalGeneration",
        "NllbMoeConfig",
        {
            "vocab_size": VOCABULARY,
            "d_model": 64,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "encoder_sparse_step": 1,
            "decoder_sparse_step": 1,
            "num_experts": EXPERTS,
            "expert_capacity": 64,
        },
    ),
    "SwitchTransformers": (
        "SwitchTransformersForConditionalGeneration",
        "SwitchTransformersConfig",
        {
            "vocab_size": VOCABULARY,
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 64,
            "num_heads": 4,
            "num_layers": 1,
            "num_decoder_layers": 1,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
            "num_experts": EXPERTS,
        },
    ),
}


def tiny(name: str, **changes: Any) -> Any:
    """A model of architecture `name`, random weights, fixed seed."""
    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_num_threads(1)  # waiting for each other takes threads longer than such models do
    if name in OWN:
        model, config, keywords = OWN[name]
        made = getattr(transformers, model)(getattr(transformers, config)(**{**keywords, **changes}))
    else:
        kind = getattr(transformers, f"{name}ForCausalLM")
        made = kind(kind.config_class(**{**BASE, **CAUSAL[name], **changes}))
    return made.eval()


class ByteTokenizer:
    """Reads bytes as token ids from 3 on; all that a `Subject` asks of a tokenizer."""

    chat_template = None

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [1] * add_special_tokens + [3 + byte for byte in text.encode()]}

    def decode(self, token_ids: list[int]) -> str:
        return bytes(token_id - 3 for token_id in token_ids if token_id >= 3).decode(errors="replace")
