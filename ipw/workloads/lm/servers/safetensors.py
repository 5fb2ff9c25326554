"""Parameters of a model in a folder of Hugging Face's form, from the headers of its safetensors files.

Layout: https://huggingface.co/docs/safetensors (eight bytes of length, then JSON with a shape for each tensor).
"""

from __future__ import annotations

import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from ipw.errors import IpwError
from ipw.foreign_json import parsed, read_json
from ipw.shapes import COUNT, misfit
from ipw.workloads.lm.servers.gguf import counted
from ipw.workloads.lm.servers.token_costs import token_costs

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "I32": 4, "I64": 8}
MOST_HEADER = 100 << 20
TENSOR = {"shape!": [COUNT], "dtype!": str}
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def folder_weights(folder: Path) -> dict[str, Any]:
    """Parameters, those active for a token, type of most of them, context, and what a token costs.

    Empty where the folder has no safetensors that can be read: then nothing is known.
    """
    try:
        config = read_json(folder / "config.json")
        if not isinstance(config, dict):
            return {}
        tensors = {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in _header(path)}
        kinds: Counter[str] = Counter()
        routed = looked_up = 0
        for name, tensor in tensors.items():
            if misfit(tensor, TENSOR):
                return {}
            count = prod(tensor["shape"])
            kinds[str(tensor["dtype"])] += count
            routed += count if ".experts." in name else 0
            if name.endswith("embed_tokens.weight") and any(other.startswith("lm_head.") for other in tensors):
                looked_up += count
    except (IpwError, OSError, ValueError, struct.error):
        return {}
    total = kinds.total()
    if not 0 < total < COUNT.stop:
        return {}
    experts = next((count for name in EXPERTS if (count := counted(config.get(name)))), None)
    used = counted(config.get("num_experts_per_tok"), experts)
    active = total - routed + routed * used // experts if experts and used else total
    size = sum(BYTES.get(kind, 2) * count for kind, count in kinds.items())
    return {
        "architecture": kind if isinstance(kind := config.get("model_type"), str) else None,
        "parameters": total,
        "active_parameters": active,
        "quantisation": kinds.most_common(1)[0][0].lower(),
        "context_tokens": counted(config.get("max_position_embeddings")),
        "experts": experts,
        "experts_per_token": used if experts else None,
        "bytes": size,
        **token_costs(active - looked_up, size / total),
    }


def _header(path: Path) -> list[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MOST_HEADER:
            raise ValueError(path)
        header = parsed(file.read(length))
    if fault := misfit(header, {}):
        raise ValueError(fault)
    return [(name, tensor) for name, tensor in header.items() if name != "__metadata__"]
