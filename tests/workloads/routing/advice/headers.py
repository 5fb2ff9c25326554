"""Headers of model files, written by hand from their formats' descriptions; there are no data behind them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

F16, Q4_K, Q6_K, UNKNOWN = 1, 12, 14, 99


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def value(of: Any) -> bytes:
    if isinstance(of, str):
        return struct.pack("<I", 8) + text(of)
    if isinstance(of, list) and isinstance(of[0], str):
        return struct.pack("<IIQ", 9, 8, len(of)) + b"".join(map(text, of))
    if isinstance(of, list):
        return struct.pack("<IIQ", 9, 4, len(of)) + struct.pack(f"<{len(of)}I", *of)
    return struct.pack("<II", 4, of)


def gguf(path: Path, entries: Mapping[str, Any], tensors: Sequence[tuple[str, list[int], int, int]]) -> Path:
    """Tensors are (name, shape, type, offset)."""
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    raw += b"".join(text(key) + value(entry) for key, entry in entries.items())
    for name, shape, kind, offset in tensors:
        raw += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    path.write_bytes(raw)
    return path


def entries(**more: Any) -> dict[str, Any]:
    """A model of 4 layers, the first of them dense, with 8 experts of which 2 are used."""
    return {
        "general.architecture": "some",
        "tokenizer.ggml.tokens": ["a", "b"],
        "some.block_count": 4,
        "some.context_length": 1000,
        "some.embedding_length": 512,
        "some.attention.head_count": 8,
        "some.attention.head_count_kv": 2,
        "some.expert_count": 8,
        "some.expert_used_count": 2,
    } | {f"some.{name}": entry for name, entry in more.items()}


def tensors(kinds: Sequence[int] = (Q4_K, Q4_K, Q4_K)) -> list[tuple[str, list[int], int, int]]:
    """Experts of 512 x 256, three matrices, in layers 1 to 3; what stays is of 16 bits."""
    found = [("token_embd.weight", [512, 1000], F16, 0), ("blk.0.ffn_up.weight", [512, 256], F16, 0)]
    for layer, kind in enumerate(kinds, 1):
        found += [(f"blk.{layer}.ffn_{part}_exps.weight", [512, 256, 8], kind, 0) for part in ("up", "gate", "down")]
        found += [(f"blk.{layer}.ffn_gate_inp.weight", [512, 8], 0, 0)]
        found += [(f"blk.{layer}.ffn_up_shexp.weight", [512, 256], F16, 0)]
    return found


RESIDENT = 2 * 512 * 1000 + 2 * 512 * 256 + 3 * (4 * 512 * 8 + 2 * 512 * 256)


def safetensors(path: Path, shapes: Mapping[str, list[int]], width: int = 2) -> Path:
    header, at = {}, 0
    for name, shape in shapes.items():
        size = width
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    return path
