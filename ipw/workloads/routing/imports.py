"""Routing that was recorded elsewhere: parts of our own layout, and what servers return (streams/responses.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.runs.checks.survey import recorded
from ipw.runs.directory import RunDir
from ipw.workloads.base import labelled
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.streams.responses import FLAG, RecordedResponse, read_responses, routed
from ipw.workloads.routing.trace import Writer, part_path, part_paths, read_part, write_part

Ints = npt.NDArray[np.integer[Any]]
SUFFIX = ".safetensors"


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
        _import_recorded(read_responses(source), source, folder, num_experts)


def import_run(run: RunDir, parameters: Parameters, label: str | None = None) -> None:
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
            **labelled(label),
        }
    )


def _import_recorded(rows: Iterator[RecordedResponse], source: Path, folder: Path, num_experts: int | None) -> None:
    if num_experts is None:
        raise UsageError(f"{source} does not say how many experts a layer has", "give --num-experts")
    writer: Writer | None = None
    shape: tuple[int, ...] = ()
    kept: Ints = np.zeros(0, np.intp)
    for where, experts, prompt_tokens, domain in rows:
        if writer is None:
            kept = np.flatnonzero(routed(experts))
            if not kept.size:
                raise UsageError(f"{where} has no layer that routes", "is the model a mixture of experts?")
            writer = Writer(folder, num_experts, [f"layer {layer}" for layer in kept])
            shape = experts.shape[1:]
        if experts.shape[1:] != shape:
            raise UsageError(f"{where} has {list(experts.shape[1:])} layers and experts a token, not {list(shape)}")
        writer.add(experts[:, kept], np.full(len(experts), -1), prompt_tokens, domain)
    if writer is None:
        raise UsageError(f"{source} holds no routing", FLAG)
    writer.flush()
