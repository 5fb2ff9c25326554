"""Routing that was recorded elsewhere: parts of our own layout, and what vLLM returns as `routed_experts`.

vLLM (with `--enable-return-routed-experts`) gives [tokens, layers, k] ids a request, over its API as a base64 `.npy`.
Layers of its that have no experts are filled with zeros.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.runs.survey import recorded
from ipw.workloads.lm.dataset_files import json_rows
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.trace import Writer, part_path, part_paths, read_part, write_part

Ints = npt.NDArray[np.integer[Any]]
SUFFIX = ".safetensors"


class Recorded(NamedTuple):
    """One sequence from elsewhere."""

    where: str
    experts: Ints
    """[tokens, layers, k]"""
    prompt_tokens: int
    domain: str


def import_trace(source: Path, folder: Path, num_experts: int | None = None) -> None:
    """Bring the routing at `source` into `folder` as parts.

    `source` is a safetensors part or a folder of them; or a `.npy` file, a folder of such files, or a JSONL file with a
    response of vLLM on each line, and then `num_experts` has to be said. Raises UsageError for what cannot be read.
    """
    if not source.exists():
        raise UsageError(f"trace {source} is not there", "give --trace a file or a folder")
    parts = part_paths(source) if source.is_dir() else [source] if source.suffix == SUFFIX else []
    if parts:
        for index, path in enumerate(parts):
            write_part(part_path(folder, index), read_part(path))
    else:
        _import_recorded(_recorded(source), source, folder, num_experts)


def import_run(run: RunDir, parameters: Parameters) -> None:
    """Fill `run` with the trace that `parameters` name, as a finished run in which nothing was measured."""
    assert parameters.trace is not None
    source = Path(parameters.trace)
    import_trace(source, run.path, parameters.num_experts)
    run.write_manifest(
        {
            "run_id": run.path.name,
            "status": "complete",
            "workload": {"kind": "routing", "parameters": parameters.as_dict()},
            "model": {"name": source.stem},
            "basis": None,
            "basis_reason": "the routing was recorded elsewhere",
            "sensors": [],
            "recorded": recorded(run, None),
        }
    )


def _import_recorded(rows: Iterator[Recorded], source: Path, folder: Path, num_experts: int | None) -> None:
    if num_experts is None:
        raise UsageError(f"{source} does not say how many experts a layer has", "give --num-experts")
    writer: Writer | None = None
    shape: tuple[int, ...] = ()
    kept: Ints = np.zeros(0, np.intp)
    for where, experts, prompt_tokens, domain in rows:
        if writer is None:
            kept = np.flatnonzero(_routed(experts))
            if not kept.size:
                raise UsageError(f"{where} has no layer that routes", "is the model a mixture of experts?")
            writer = Writer(folder, num_experts, [f"layer {layer}" for layer in kept])
            shape = experts.shape[1:]
        if experts.shape[1:] != shape:
            raise UsageError(f"{where} has {list(experts.shape[1:])} layers and experts a token, not {list(shape)}")
        writer.add(experts[:, kept], np.full(len(experts), -1), prompt_tokens, domain)
    if writer is None:
        raise UsageError(f"{source} holds no routing", "vLLM gives it with --enable-return-routed-experts")
    writer.flush()


def _routed(experts: Ints) -> npt.NDArray[np.bool_]:
    """Tell layers with experts from those that were filled with zeros; with k = 1 all are taken for routed."""
    return np.asarray((experts != 0).any(axis=(0, 2)) | (experts.shape[2] == 1))


def _recorded(source: Path) -> Iterator[Recorded]:
    if source.suffix == ".jsonl":
        for where, row in json_rows(source):
            yield _response(f"{source}, {where}", row)
        return
    paths = sorted(source.glob("*.npy")) if source.is_dir() else [source]
    for path in paths:
        experts = _array(path.read_bytes(), str(path))
        yield Recorded(str(path), experts, len(experts), "all")


def _response(where: str, row: dict[str, Any]) -> Recorded:
    """Read a whole response of vLLM's API, or an object that has `routed_experts` itself."""
    choices = row.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else row
    held = choice.get("routed_experts")
    if isinstance(held, str):
        try:
            raw = base64.b64decode(held, validate=True)
        except ValueError:
            raise UsageError(f"{where}: routed_experts is no base64") from None
        experts = _array(raw, where)
    elif isinstance(held, list):
        experts = _checked(held, where)
    else:
        raise UsageError(f"{where} has no routed_experts", "vLLM gives them with --enable-return-routed-experts")
    usage = row.get("usage")
    prompt = usage.get("prompt_tokens") if isinstance(usage, dict) else row.get("prompt_tokens")
    domain = row.get("domain") or row.get("subject") or "all"
    return Recorded(where, experts, prompt if isinstance(prompt, int) else len(experts), str(domain))


def _array(raw: bytes, where: str) -> Ints:
    try:
        return _checked(np.load(io.BytesIO(raw), allow_pickle=False), where)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"{where} holds no .npy array: {error}") from None


def _checked(held: Any, where: str) -> Ints:
    try:
        experts = np.asarray(held)
    except ValueError:
        raise UsageError(f"{where}: tokens or layers name unequal numbers of experts", "cut them to one k") from None
    if experts.ndim != 3 or not np.issubdtype(experts.dtype, np.integer) or not experts.size:
        raise UsageError(f"{where}: experts are integers [tokens, layers, k], not {experts.dtype} {experts.shape}")
    return experts
