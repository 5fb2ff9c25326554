"""How large the parts of a model are, from the headers of its files: experts, all else, a token of context.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; bytes of a block by type as in gguf-py's
GGML_QUANT_SIZES. safetensors: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.foreign_json import parsed, read_json
from ipw.printable import clean
from ipw.workloads.lm.servers.gguf import GGUF_ERRORS, Tensor, gguf_header, is_gguf

BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
"""Values and bytes of a block, by number of the type."""
GGUF_EXPERTS = re.compile(r"blk\.(\d+)\.ffn_(?:up|down|gate|gate_up)(?:_(?:ch)?exps\b|\.\d+\.)")
FOLDER_EXPERTS = re.compile(r"\.(\d+)\..*\bexperts\b(?!.*shared)")
SHARED = re.compile(r"shared_expert|shexp|shared_mlp")
SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
CACHE_BYTES = 2
"""Of each number in the KV cache: 16 bits, what runtimes take if not told otherwise."""
MOST_HEADER = 100 << 20
WHOLE = "was it copied whole?"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a model holds, in bytes."""

    name: str
    layers: tuple[int, ...]
    """Numbers of the layers that route."""
    layer_bytes: tuple[int, ...]
    """Of one expert, all its matrices, in each of them."""
    num_experts: int
    k: int | None
    resident_bytes: int | None
    """Of all other weights; `None` where it is not known."""
    kv_bytes: int | None
    """That one token of context takes in all layers."""
    kind: str
    """`gguf`, `safetensors` or `told`."""
    context_tokens: int | None = None
    """The longest context that the model was made for."""
    notes: tuple[str, ...] = ()


def is_model(source: str) -> bool:
    """Whether a path is a model: a GGUF file, a folder with a config.json, or a safetensors file that is no trace."""
    path = Path(source)
    if is_gguf(source) or (path / "config.json").is_file():
        return True
    if path.suffix == ".safetensors" and path.is_file():
        try:
            return (_safetensors(path)[0] or {}).get("format") != "ipw-routing"
        except IpwError:
            return False
    return False


def sizes_of(source: str) -> Sizes:
    """Read the headers of a GGUF file (with its other parts), a folder of Hugging Face's form, or a safetensors file.

    Raises UsageError where there is no such model, it is dense, or its files are not whole.
    """
    path = Path(source)
    if not path.exists():
        raise UsageError(f"model {clean(source)} is not there", "give a GGUF file or a folder with config.json")
    return _of_gguf(path) if is_gguf(source) else _of_folder(path)


def _of_gguf(path: Path) -> Sizes:
    entries: dict[str, Any] = {}
    routed: Counter[int] = Counter()
    rest = 0
    for shard in _shards(path):
        try:
            with shard.open("rb") as file:
                own, tensors = gguf_header(file)
        except OSError as error:
            raise UsageError(f"model {shard} cannot be read: {error.strerror}") from None
        except GGUF_ERRORS:
            raise UsageError(f"model {shard} is not a GGUF file, or is not whole", WHOLE) from None
        entries = own | entries
        for tensor, size in zip(tensors, _tensor_bytes(tensors, shard), strict=True):
            match = GGUF_EXPERTS.match(tensor.name)
            if match:
                routed[int(match[1])] += size
            else:
                rest += size
    architecture = entries.get("general.architecture")

    def entry(name: str) -> Any:
        return entries.get(f"{architecture}.{name}")

    experts = entry("expert_count")
    kv, notes = _gguf_cache(entry)
    found = _sizes(path.stem, routed, experts, entry("expert_used_count"), rest, kv, "gguf", notes, path)
    context = entry("context_length")
    return replace(found, context_tokens=context if type(context) is int and context > 0 else None)


def _shards(path: Path) -> list[Path]:
    match = SHARD.fullmatch(path.name)
    if not match:
        return [path]
    shards = [path.with_name(f"{match[1]}-{number:05d}-of-{match[3]}.gguf") for number in range(1, int(match[3]) + 1)]
    missing = next((shard for shard in shards if not shard.is_file()), None)
    if missing:
        raise UsageError(f"{missing} is not there: {path.name} is one part of {int(match[3])}", WHOLE)
    return shards


def _tensor_bytes(tensors: list[Tensor], path: Path) -> list[int]:
    """By type; where that is not known, up to where the next one begins."""
    starts = sorted(tensor.offset for tensor in tensors)
    following = dict(zip(starts, [*starts[1:], None], strict=True))
    found = []
    for tensor in tensors:
        if tensor.kind in BLOCKS:
            values, size = BLOCKS[tensor.kind]
            found.append(-(-prod(tensor.shape) // values) * size)
            continue
        end = following[tensor.offset]
        if end is None:
            raise UsageError(f"{path}: the type of {clean(tensor.name, 60)} is not known", "give --expert-bytes")
        found.append(end - tensor.offset)
    return found


def _gguf_cache(entry: Any) -> tuple[int | None, list[str]]:
    blocks, heads = entry("block_count"), entry("attention.head_count_kv")
    if type(blocks) is not int or not 0 < blocks < 10_000:
        return None, []
    notes = []
    rank, rope = entry("attention.kv_lora_rank"), entry("rope.dimension_count")
    if type(rank) is int and type(rope) is int:
        return blocks * (rank + rope) * CACHE_BYTES, ["the KV cache is that of latent attention"]
    width, count = entry("embedding_length"), entry("attention.head_count")
    one = width // count if type(width) is int and type(count) is int and count else None
    lengths = [entry(f"attention.{which}_length") or one for which in ("key", "value")]
    heads = heads if heads is not None else count
    each = heads if isinstance(heads, list) else [heads] * blocks
    told = [x for x in (*each, *lengths) if type(x) is int and x >= 0]
    if len(told) < len(each) + 2:
        return None, []
    if entry("attention.sliding_window"):
        notes.append("layers with a sliding window are counted with the whole context")
    return sum(told[:-2]) * sum(told[-2:]) * CACHE_BYTES, notes


def _of_folder(path: Path) -> Sizes:
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    folder = path if path.is_dir() else path.parent
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if not isinstance(config, dict):
        raise UsageError(f"{folder / 'config.json'} is not an object", WHOLE)
    config = next(
        (config[name] for name in ("text_config", "llm_config") if isinstance(config.get(name), dict)), config
    )
    if not files:
        raise UsageError(f"{path} has no safetensors file", "give a folder with the model's weights, or a GGUF file")
    index = folder / "model.safetensors.index.json"
    if path.is_dir() and index.is_file():
        named = read_json(index)
        wanted = named.get("weight_map") if isinstance(named, dict) else None
        missing = sorted(set(wanted.values()) - {file.name for file in files}) if isinstance(wanted, dict) else []
        if missing:
            raise UsageError(f"{folder / clean(missing[0])} is not there, though the index names it", WHOLE)
    routed: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    rest = 0
    for file in files:
        for name, size, first in _weights(file):
            match = FOLDER_EXPERTS.search(name)
            if match and not SHARED.search(name):
                routed[int(match[1])] += size
                own = re.search(r"experts\.(\d+)\.", name)
                seen[int(match[1])] = max(seen[int(match[1])], int(own[1]) + 1 if own else first)
            else:
                rest += size
    experts = _first(config, EXPERTS) or max(seen.values(), default=None)
    found = _sizes(path.stem, routed, experts, _first(config, PER_TOKEN), rest, *_folder_cache(config), path)
    return replace(found, context_tokens=_first(config, ("max_position_embeddings",)))


def _first(config: Mapping[str, Any], names: Iterable[str]) -> int | None:
    return next((config[name] for name in names if type(config.get(name)) is int and config[name] > 0), None)


def _folder_cache(config: Mapping[str, Any]) -> tuple[int | None, str, list[str]]:
    layers = _first(config, ("num_hidden_layers", "n_layer"))
    heads = _first(config, ("num_key_value_heads", "num_attention_heads"))
    width = _first(config, ("head_dim",))
    hidden, count = _first(config, ("hidden_size",)), _first(config, ("num_attention_heads",))
    if width is None and hidden and count:
        width = hidden // count
    rank, rope = _first(config, ("kv_lora_rank",)), _first(config, ("qk_rope_head_dim",))
    kinds = config.get("layer_types")
    notes = []
    if layers and isinstance(kinds, list) and len(kinds) == layers:
        layers -= sum("linear" in str(kind) or "mamba" in str(kind) for kind in kinds)
        if any("sliding" in str(kind) for kind in kinds):
            notes.append("layers with a sliding window are counted with the whole context")
    if layers and rank and rope:
        return layers * (rank + rope) * CACHE_BYTES, "safetensors", ["the KV cache is that of latent attention"]
    if not (layers and heads and width):
        return None, "safetensors", notes
    return 2 * layers * heads * width * CACHE_BYTES, "safetensors", notes


def _safetensors(path: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Metadata and tensors of a header. Raises UsageError."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            raw = file.read(length) if length <= MOST_HEADER else b""
        if len(raw) != length:
            raise ValueError("its header is not whole")  # noqa: TRY301 (told below as all else)
        header = parsed(raw)
        if not isinstance(header, dict):
            raise TypeError("its header is no object")  # noqa: TRY301
    except (OSError, ValueError, TypeError, struct.error) as error:
        raise UsageError(f"{path} is not a safetensors file: {clean(error, 80)}", WHOLE) from None
    metadata = header.pop("__metadata__", None)
    return metadata if isinstance(metadata, dict) else None, header


def _weights(path: Path) -> Iterable[tuple[str, int, int]]:
    """Name, bytes and first dimension of every tensor."""
    for name, tensor in _safetensors(path)[1].items():
        try:
            start, end = tensor["data_offsets"]
            yield name, int(end) - int(start), int(tensor["shape"][0]) if tensor["shape"] else 1
        except (TypeError, KeyError, ValueError):
            raise UsageError(f"{path} is not a safetensors file: {clean(name, 60)} has no place", WHOLE) from None


def _sizes(
    name: str,
    routed: Counter[int],
    experts: object,
    k: object,
    rest: int,
    kv: int | None,
    kind: str,
    notes: list[str],
    path: Path,
) -> Sizes:
    if not routed:
        raise UsageError(f"model {path} has no routed experts: it is dense", "give a mixture of experts")
    if type(experts) is not int or not 1 <= experts < 1 << 15:
        raise UsageError(f"model {path} does not say how many experts a layer has", WHOLE)
    layers = tuple(sorted(routed))
    return Sizes(
        name, layers, tuple(-(-routed[layer] // experts) for layer in layers), experts,
        k if type(k) is int and 0 < k <= experts else None, rest, kv, kind, notes=tuple(notes),
    )  # fmt: skip
