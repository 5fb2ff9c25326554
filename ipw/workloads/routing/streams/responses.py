"""What servers return for a request: `routed_experts` of vLLM and SGLang, and arrays that were saved from them.

Both (with `--enable-return-routed-experts`) give [tokens, layers, k] ids: vLLM as lists or a base64 `.npy`, those of
the prompt by themselves in newer versions; SGLang as base64 of bare 32-bit numbers, which do not tell their shape.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.texts.files import json_rows

Ints = npt.NDArray[np.integer[Any]]
NPY = b"\x93NUMPY"
FLAG = "vLLM and SGLang give them with --enable-return-routed-experts"


class RecordedResponse(NamedTuple):
    """One sequence from elsewhere."""

    where: str
    experts: Ints
    """[tokens, layers, k]"""
    prompt_tokens: int
    domain: str


def routed(experts: Ints) -> npt.NDArray[np.bool_]:
    """Tell layers with experts from those that were filled with zeros; with k = 1 all are taken for routed."""
    return np.asarray((experts != 0).any(axis=(0, 2)) | (experts.shape[2] == 1))


def read_responses(source: Path, k: int | None = None) -> Iterator[RecordedResponse]:
    """Read a `.npy` file, a folder of such, or a JSON-lines file with a response on each line.

    `k` experts a token have to be told for arrays without a shape. Raises UsageError.
    """
    if source.suffix in (".jsonl", ".json", ".ndjson"):
        for where, row in json_rows(source):
            yield _response(f"{source}, {where}", row, k)
        return
    paths = sorted(source.glob("*.npy")) if source.is_dir() else [source]
    for path in paths:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        experts = _array(raw, str(path))
        yield RecordedResponse(str(path), experts, len(experts), "all")


def _response(where: str, row: Mapping[str, Any], k: int | None) -> RecordedResponse:
    """Read a whole response, or an object that has `routed_experts` itself."""
    choices = row.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else row
    told = next(
        (x for x in (choice, choice.get("meta_info"), row) if isinstance(x, dict) and x.get("routed_experts")), {}
    )
    usage = next((x for x in (row.get("usage"), told, row) if isinstance(x, dict) and "prompt_tokens" in x), {})
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    tokens = None
    if all(type(count) is int for count in counts):
        tokens = sum(count for count in counts if count) - 1  # the last one that is written is never read
    experts = _decoded(told.get("routed_experts"), where, k, tokens)
    prompt = counts[0]
    if row.get("prompt_routed_experts"):
        before = _decoded(row["prompt_routed_experts"], where, k, None)
        if before.shape[1:] != experts.shape[1:]:
            raise UsageError(f"{where}: prompt_routed_experts and routed_experts differ in layers or experts a token")
        experts, prompt = np.concatenate([before, experts]), len(before)
    domain = row.get("domain") or row.get("subject") or "all"
    return RecordedResponse(where, experts, prompt if type(prompt) is int else len(experts), str(domain))


def _decoded(held: Any, where: str, k: int | None, tokens: int | None) -> Ints:
    if isinstance(held, list):
        return _checked(held, where)
    if not isinstance(held, str):
        raise UsageError(f"{where} has no routed_experts", FLAG)
    try:
        raw = base64.b64decode(held, validate=True)
    except ValueError:
        raise UsageError(f"{where}: routed_experts is not base64", "was it copied whole?") from None
    if raw.startswith(NPY) or len(raw) % 4 or tokens is None:
        return _array(raw, where)
    if k is None:
        raise UsageError(f"{where}: routed_experts does not tell its shape", "give --experts-per-token, or --model")
    ids = np.frombuffer(raw, "<i4")
    if not ids.size or tokens < 1 or ids.size % (tokens * k):
        raise UsageError(
            f"{where}: {ids.size} ids are not {k} for each layer of {tokens} tokens",
            "was the file cut short, or is --experts-per-token wrong?",
        )
    return _checked(ids.reshape(tokens, -1, k), where)


def _array(raw: bytes, where: str) -> Ints:
    if not raw.startswith(NPY):
        raise UsageError(f"{where} holds no .npy array, and no whole 32-bit numbers", "was it copied whole?")
    try:
        return _checked(np.load(io.BytesIO(raw), allow_pickle=False), where)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - its header is read as Python, with every error that this has
        raise UsageError(f"{where} holds no .npy array: {error}", "was it copied whole?") from None


def _checked(held: Any, where: str) -> Ints:
    try:
        experts = np.asarray(held)
    except ValueError:
        raise UsageError(f"{where}: tokens or layers name unequal numbers of experts", "cut them to one k") from None
    if experts.ndim != 3 or not np.issubdtype(experts.dtype, np.integer) or not experts.size:
        raise UsageError(f"{where}: experts are integers [tokens, layers, k], not {experts.dtype} {experts.shape}")
    return experts
