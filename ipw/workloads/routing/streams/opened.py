"""Any trace as a stream: parts of ours, tables, JSON lines, responses of servers, arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.streams.responses import RecordedResponse, read_responses, routed
from ipw.workloads.routing.streams.rows import stream_of_rows
from ipw.workloads.routing.streams.stream import Excluded, Spool, Stream, TokenRun, finished
from ipw.workloads.routing.streams.tables import Numbers, csv_batches, first_record, is_route, json_batches
from ipw.workloads.routing.trace import part_paths, read_part

Ints = npt.NDArray[np.integer[Any]]
JSON = (".jsonl", ".json", ".ndjson")
PASS = 16
"""So many equal tokens at the start are a server that ran on nothing, to see how much memory it needs."""


def open_stream(
    source: Path,
    folder: Path,
    columns: Mapping[str, str] | None = None,
    num_experts: int | None = None,
    k: int | None = None,
) -> Stream:
    """Bring a trace into `folder`, one file a layer. Raises UsageError for what is no whole trace of one model.

    Args:
        source: a run directory or parts of ours; CSV; JSON lines by token and layer, or with responses of vLLM or
            SGLang; `.npy` files.
        folder: an empty one.
        columns: names of the columns of a table by ours.
        num_experts: of each layer, where the trace does not say it.
        k: experts a token, likewise.
    """
    if not source.exists():
        raise UsageError(f"trace {source} is not there", "give a file or a folder")
    parts = part_paths(source) if source.is_dir() else [source] if source.suffix == ".safetensors" else []
    if parts:
        return _of_parts(parts, source, folder)
    if source.suffix == ".npy" or source.is_dir():
        return _of_responses(source, folder, num_experts, k)
    columns, domains = columns or {}, Numbers()
    if source.suffix.lower() in JSON:
        record = first_record(source)
        if not (isinstance(record, dict) and is_route(record, columns)):
            return _of_responses(source, folder, num_experts, k)
        batches = json_batches(source, columns, domains)
        stream = stream_of_rows(batches, source, folder, domains.names, num_experts, k)
        return without_pass(stream, source)
    return stream_of_rows(csv_batches(source, columns, domains), source, folder, domains.names, num_experts, k)


def without_pass(stream: Stream, source: Path) -> Stream:
    """Leave out the profiling passes at the start: many tokens whose experts are the same, in every layer."""
    first = 0
    while first < stream.tokens:
        equal = min(_equal(stream, layer, first) for layer in range(len(stream.layers)))
        if equal < PASS:
            break
        first += equal
    if first == stream.tokens:
        raise UsageError(
            f"{source} holds a profiling pass alone: all {first} tokens of a layer name the same experts",
            "ask the server something while it logs",
        )
    if not first:
        return stream
    starts = [*(run.start for run in stream.runs[1:]), stream.tokens]
    runs = [
        run._replace(start=max(run.start - first, 0))
        for run, end in zip(stream.runs, starts, strict=True)
        if end > first
    ]
    told = Excluded(
        first * len(stream.layers), f"a profiling pass: the first {first} tokens name the same experts in every layer"
    )
    return replace(
        stream, first=first, tokens=stream.tokens - first, runs=tuple(runs), excluded=(*stream.excluded, told)
    )


def _equal(stream: Stream, layer: int, first: int) -> int:
    """How many tokens from `first` on name the same experts."""
    found = 0
    wanted = stream.read(layer, first, first + 1)
    step = 4096
    for start in range(first, stream.tokens, step):
        differs = np.flatnonzero((stream.read(layer, start, start + step) != wanted).any(axis=1))
        if differs.size:
            return start - first + int(differs[0])
        found = min(start + step, stream.tokens) - first
    return found


def _of_parts(parts: list[Path], source: Path, folder: Path) -> Stream:
    names = Numbers()
    runs: list[TokenRun] = []
    domains: list[int] = []
    shape: tuple[Any, ...] | None = None
    tokens = 0
    with closing(Spool(folder)) as spool:
        for path in parts:
            part = read_part(path)
            own = (part.num_experts, part.layers, part.experts.shape[2])
            shape = shape or own
            if own != shape:
                raise UsageError(f"{path} is of another model than the parts before it")
            for layer in range(len(part.layers)):
                spool.add(layer, part.experts[:, layer], str(path))
            runs += _runs(part.bounds, part.generated, tokens, len(domains))
            domains += [names.of(part.domain_names[domain]) for domain in part.domains]
            tokens += len(part.experts)
    assert shape is not None
    stream = finished(spool, source, shape[2], runs, domains, names.names, shape[0])
    numbers = _layer_numbers(shape[1])
    return replace(stream, layers=numbers) if numbers else stream


def _layer_numbers(names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Numbers of layers in the model, from names as `model.layers.3.mlp.experts` or `layer 3`."""
    found = [[int(word) for word in name.replace(" ", ".").split(".") if word.isdigit()] for name in names]
    if any(not numbers for numbers in found):
        return None
    numbers = tuple(each[0] for each in found)
    return numbers if len(set(numbers)) == len(numbers) and sorted(numbers) == list(numbers) else None


def _runs(bounds: Ints, generated: npt.NDArray[np.bool_], first: int, texts: int) -> Iterator[TokenRun]:
    known = bool(generated.any())
    for text, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        own = generated[start:stop]
        for at in np.flatnonzero(np.diff(own, prepend=~own[:1])).tolist():
            yield TokenRun(first + start + at, texts + text, bool(own[at]) if known else None)


def _of_responses(source: Path, folder: Path, num_experts: int | None, k: int | None) -> Stream:
    names = Numbers()
    runs: list[TokenRun] = []
    domains: list[int] = []
    kept: Ints = np.zeros(0, np.intp)
    shape: tuple[int, ...] = ()
    tokens = lost = 0
    with closing(Spool(folder)) as spool:
        for each in read_responses(source, k):
            if not shape:
                kept, shape = np.flatnonzero(routed(each.experts)), each.experts.shape[1:]
                if not kept.size:
                    raise UsageError(f"{each.where} has no layer that routes", "is the model a mixture of experts?")
            if each.experts.shape[1:] != shape:
                raise UsageError(
                    f"{each.where} has {list(each.experts.shape[1:])} layers and experts a token, not {list(shape)}"
                )
            whole = np.asarray((each.experts[:, kept] >= 0).all(axis=(1, 2)))
            lost += int((~whole).sum())
            if not whole.any():
                continue
            experts = each.experts[whole][:, kept]
            for place, layer in enumerate(kept.tolist()):
                spool.add(layer, experts[:, place], each.where)
            runs += _of_one(each, whole, tokens, len(domains))
            domains.append(names.of(each.domain))
            tokens += len(experts)
    if not tokens:
        raise UsageError(f"{source} holds no routing", "vLLM and SGLang give it with --enable-return-routed-experts")
    stream = finished(spool, source, shape[1], runs, domains, names.names, num_experts)
    told = (Excluded(lost, "the server had no routing for these tokens (ids below 0)"),) if lost else ()
    return replace(stream, excluded=told)


def _of_one(each: RecordedResponse, whole: npt.NDArray[np.bool_], first: int, text: int) -> Iterator[TokenRun]:
    prompt = int(whole[: each.prompt_tokens].sum())
    written = int(whole.sum()) - prompt
    if prompt:
        yield TokenRun(first, text, False if written else None)
    if written:
        yield TokenRun(first + prompt, text, generated=True)
