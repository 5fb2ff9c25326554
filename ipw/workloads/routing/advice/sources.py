"""From what people have, a trace or a model or both, to a stream and the sizes of what it routes between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ipw.errors import IpwError, UsageError
from ipw.foreign_json import read_json
from ipw.runs.readings import is_estimate
from ipw.workloads.lm.servers.gguf import is_gguf
from ipw.workloads.routing.advice.amounts import bytes_of
from ipw.workloads.routing.advice.captured import capture
from ipw.workloads.routing.advice.model import Sizes, is_model, sizes_of
from ipw.workloads.routing.streams.opened import open_stream
from ipw.workloads.routing.streams.stream import Stream

BUNDLED = "moe"
SIZES = "--model FILE, or --expert-bytes 3MiB"


@dataclass(frozen=True, slots=True)
class Told:
    """What the options say of a trace and its model."""

    expert_bytes: str | None = None
    resident_bytes: str | None = None
    kv_bytes: str | None = None
    num_experts: int | None = None
    experts_per_token: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    corpus: str = "bundled"


def open_source(source: str, model: str | None, told: Told, folder: Path) -> tuple[Stream | None, Sizes]:
    """Open a trace and find the sizes of its model; or let a model run and trace that.

    There is no stream where a model cannot be run here: a GGUF file. Raises UsageError.
    """
    sized = sizes_of(_place(model)) if model else None
    layers = folder / "layers"
    layers.mkdir()
    if is_model(_place(source)):
        own = sized or sizes_of(_place(source))
        if is_gguf(_place(source)):
            return None, _overridden(own, told)
        spool = folder / "routing"
        spool.mkdir()
        capture(source, told.corpus, spool)
        return open_stream(spool, layers), _overridden(own, told)
    k = told.experts_per_token or (sized.k if sized else None)
    experts = told.num_experts or (sized.num_experts if sized else None)
    stream = open_stream(Path(source), layers, told.columns, experts, k)
    return stream, _overridden(sized or _of_run(Path(source), stream) or _unknown(stream), told)


def _place(source: str) -> str:
    return str(files("ipw") / "data" / "moe") if source == BUNDLED and not Path(source).exists() else source


def _unknown(stream: Stream) -> Sizes:
    return Sizes("of the trace", stream.layers, (), stream.num_experts, stream.k, None, None, "told")


def _of_run(path: Path, stream: Stream) -> Sizes | None:
    """What a run of ours says of its model."""
    try:
        manifest = read_json(path / "manifest.json")
    except IpwError:
        return None
    model = manifest.get("model") if isinstance(manifest, dict) else None
    size = model.get("expert_bytes") if isinstance(model, dict) else None
    if type(size) is not int or size < 1:
        return None
    assert isinstance(model, dict)
    routed = size * stream.num_experts * len(stream.layers)
    width = {"float32": 4, "float16": 2, "bfloat16": 2}.get(str(model.get("dtype")))
    count = model.get("parameters")
    rest = count * width - routed if type(count) is int and width else None
    return Sizes(
        str(model.get("name") or path.name), stream.layers, (size,) * len(stream.layers), stream.num_experts, stream.k,
        rest if rest is not None and rest >= 0 else None, None, "a run",
    )  # fmt: skip


def _overridden(sizes: Sizes, told: Told) -> Sizes:
    layer_bytes = sizes.layer_bytes
    if told.expert_bytes:
        each = [bytes_of(part, "--expert-bytes", "3MiB") for part in told.expert_bytes.split(",")]
        if len(each) not in (1, len(sizes.layers)):
            raise UsageError(
                f"--expert-bytes names {len(each)} sizes for {len(sizes.layers)} layers", "give one, or one a layer"
            )
        layer_bytes = tuple(each * (len(sizes.layers) if len(each) == 1 else 1))
    if not layer_bytes:
        raise UsageError("how large an expert is, is not known: the trace does not say it", SIZES)
    found = replace(sizes, layer_bytes=layer_bytes)
    if told.resident_bytes:
        found = replace(found, resident_bytes=bytes_of(told.resident_bytes, "--resident-bytes", "1.5GiB"))
    if told.kv_bytes:
        found = replace(found, kv_bytes=bytes_of(told.kv_bytes, "--kv-bytes", "96KiB"))
    return found


def measured_prices(source: str) -> dict[str, Any]:
    """What an offload run measured of tokens and bytes; empty where `source` is no such run."""
    from ipw.runs.directory import RunDir
    from ipw.workloads.routing.offload.cost import fit_line
    from ipw.workloads.routing.offload.table import offload_rows

    path = Path(source)
    if not (path / "manifest.json").is_file() or not (path / "journal.jsonl").is_file():
        return {}
    run = RunDir.open(path)
    rows = [row for row in offload_rows(run) if row["tokens_per_s_expected"] is not None]
    if not rows:
        return {}
    loaded = [row["loaded_bytes_per_token"] for row in rows]
    token_s, byte_s = fit_line(loaded, 1 / np.array([row["tokens_per_s"] for row in rows]))
    found: dict[str, Any] = {"token_s": token_s, "link_byte_s": byte_s}
    energy = [row["energy_per_token_j"] for row in rows]
    if None not in energy:
        found["token_j"], found["link_byte_j"] = fit_line(loaded, energy)
        found["estimated"] = is_estimate(run.manifest().get("method"))
    return found
