"""What a GGUF file says of its model, read from its header alone.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ipw.errors import IpwError
from ipw.shapes import COUNT
from ipw.workloads.lm.servers.token_costs import token_costs

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
MOST = 1 << 24
"""Entries, and bytes of one text: more than any model has."""
TENSOR_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1", 10: "q2_k", 11: "q3_k",
    12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s",
    20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64",
    29: "iq1_m", 30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4",
}  # fmt: skip
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS",
    20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M",
    28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
"""What `general.file_type` calls a mixture of tensor types: `llama_ftype` in llama.cpp's llama.h."""
GUESSED = 1024
"""A bit that llama.cpp adds where it found the type by looking."""


def is_gguf(model: str) -> bool:
    """Whether a model is a GGUF file: by its name, or by its first bytes (a cache may call it by its digest)."""
    if model.lower().endswith(".gguf"):
        return True
    try:
        with Path(model).open("rb") as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


WHOLE = "was it downloaded to the end?"
SHORT = 1024
"""Arrays of so many numbers are of layers."""
MOST_DIMENSIONS = 8
"""Twice those of ggml."""


def counted(x: object, most: int | None = None) -> int | None:
    """`x` if it is a whole number from 1 on, up to `most`: a header may have any type under any name."""
    return x if type(x) is int and x in COUNT and 0 < x <= (x if most is None else most) else None


def _word(x: object) -> str | None:
    return x if isinstance(x, str) and x.strip() else None


class _UnreadableError(Exception):
    """The file is no GGUF, or is cut short."""


GGUF_ERRORS = (_UnreadableError, struct.error, UnicodeDecodeError, OverflowError, MemoryError)
"""What reading a header raises where it is none."""


class Tensor(NamedTuple):
    """What a header says of one."""

    name: str
    shape: list[int]
    kind: int
    """Number of its type."""
    offset: int
    """Where its data begin, among all data."""


def gguf_facts(path: Path) -> dict[str, Any]:
    """Name, architecture, parameters (and those active for a token), quantisation, context, experts and digest.

    `quantisation` is the type of most parameters, `file_type` what people call the mixture (`Q4_K_M`); what a token
    costs is there too (token_costs.py). Raises IpwError for a file that is no GGUF or cannot be read.
    """
    try:
        with path.open("rb") as file:
            entries, tensors = gguf_header(file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IpwError(f"model {path} cannot be read: {error.strerror}", "give --model the path of a GGUF") from None
    except GGUF_ERRORS:
        raise IpwError(f"model {path} is not a GGUF file, or is not whole", WHOLE) from None
    architecture, name_told = (_word(entries.get(f"general.{name}")) for name in ("architecture", "name"))
    experts = counted(entries.get(f"{architecture}.expert_count"))
    used = counted(entries.get(f"{architecture}.expert_used_count"), experts)
    sizes: Counter[str] = Counter()
    routed = looked_up = 0
    names = {tensor.name for tensor in tensors}
    for name, shape, kind, _ in tensors:
        sizes[TENSOR_TYPES.get(kind, f"type {kind}")] += prod(shape)
        routed += prod(shape) if "_exps." in name else 0
        if name == "token_embd.weight" and "output.weight" in names:  # else the head is the same tensor
            looked_up += prod(shape)
    total = sizes.total()
    if total not in COUNT:
        raise IpwError(f"model {path} is not a GGUF file: it tells of {total:.3g} parameters", WHOLE)
    active = total - routed + routed * used // experts if used and experts else total
    usual = sizes.most_common(1)[0][0] if sizes else None
    size = path.stat().st_size
    return {
        "name": name_told or path.stem,
        "architecture": architecture,
        "parameters": total,
        "active_parameters": active,
        "quantisation": usual,
        "file_type": _file_type(entries.get("general.file_type"), usual),
        "context_tokens": counted(entries.get(f"{architecture}.context_length")),
        "experts": experts,
        "experts_per_token": used,
        "bytes": size,
        **token_costs(active - looked_up, size / total if total else 0.0),
        "digest": f"sha256:{digest}",
    }


def _file_type(told: object, usual: str | None) -> str | None:
    """Name the mixture of types that a header tells, where most weights are of that kind: converters may not set it."""
    name = FILE_TYPES.get(told & ~GUESSED) if type(told) is int else None
    family = re.match(r"[a-z]+\d+", usual or "")
    return name if name and family and name.lower().startswith(family[0]) else None


def gguf_header(file: BinaryIO) -> tuple[dict[str, Any], list[Tensor]]:
    """Read values by key, lists of few numbers among them, and every tensor. Raises GGUF_ERRORS."""
    if file.read(4) != b"GGUF" or _scalar(file, "<I") not in (2, 3):
        raise _UnreadableError
    tensor_count, entry_count = _count(file), _count(file)
    entries = {}
    for _ in range(entry_count):
        key = _text(file)
        value = _value(file, _scalar(file, "<I"))
        if value is not None:
            entries[key] = value
    tensors = []
    for _ in range(tensor_count):
        name = _text(file)
        dimensions = _scalar(file, "<I")
        if dimensions > MOST_DIMENSIONS:
            raise _UnreadableError
        shape = [_scalar(file, "<Q") for _ in range(dimensions)]
        tensors.append(Tensor(name, shape, _scalar(file, "<I"), _scalar(file, "<Q")))
    return entries, tensors


def _value(file: BinaryIO, kind: int) -> Any:
    """Read one value; long arrays (vocabularies, mostly) and those of texts are passed over."""
    if kind == STRING:
        return _text(file)
    if kind != ARRAY:
        return _scalar(file, _format(kind))
    element = _scalar(file, "<I")
    count = _count(file)
    if element == STRING:
        for _ in range(count):
            file.seek(_count(file), 1)
    elif element == ARRAY:
        raise _UnreadableError
    elif count <= SHORT:
        return [_scalar(file, _format(element)) for _ in range(count)]
    else:
        file.seek(count * struct.calcsize(_format(element)), 1)
    return None


def _format(kind: int) -> str:
    if kind not in SCALARS:
        raise _UnreadableError
    return SCALARS[kind]


def _scalar(file: BinaryIO, layout: str) -> Any:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))[0]


def _count(file: BinaryIO) -> int:
    count: int = _scalar(file, "<Q")
    if count > MOST:
        raise _UnreadableError
    return count


def _text(file: BinaryIO) -> str:
    size = _count(file)
    text = file.read(size)
    if len(text) < size:
        raise _UnreadableError
    return text.decode()
