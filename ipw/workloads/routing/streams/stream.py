"""A trace as one file a layer, so that policies read it in chunks and memory stays flat however long it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.checked import first_bad_token

Ints = npt.NDArray[np.integer[Any]]
ID = np.dtype(np.int16)
MOST_EXPERTS = 1 << 15
CHUNK = 1 << 20
"""Accesses that are in memory at once."""


class Excluded(NamedTuple):
    """What of a source was left out."""

    rows: int
    reason: str


class TokenRun(NamedTuple):
    """Tokens in a row that are of one text, and all of its prompt or all written by the model."""

    start: int
    """Number of the first one."""
    text: int
    generated: bool | None
    """`None` where the source does not say."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The experts that each layer of a model chose, token after token."""

    paths: tuple[Path, ...]
    """One file a layer: int16 [tokens, k]."""
    layers: tuple[int, ...]
    """Numbers of the layers in the model."""
    k: int
    num_experts: int
    tokens: int
    runs: tuple[TokenRun, ...]
    domains: tuple[int, ...]
    """Of each text, an index into `domain_names`."""
    domain_names: tuple[str, ...]
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    """What had to be taken for granted."""
    first: int = 0
    """So many tokens at the start of the files are left out."""

    @property
    def generated(self) -> bool:
        """Whether some tokens are known to be written by the model; then the others only warm the caches up."""
        return any(run.generated for run in self.runs)

    @property
    def accesses(self) -> int:
        """Of all layers."""
        return self.tokens * self.k * len(self.layers)

    def read(self, layer: int, start: int, stop: int) -> Ints:
        """Ids [stop - start, k] of one layer, as int32; cut off at the end."""
        with self.paths[layer].open("rb") as file:
            file.seek((self.first + start) * self.k * ID.itemsize)
            found = np.fromfile(file, ID, (min(stop, self.tokens) - start) * self.k)
        return found.astype(np.int32).reshape(-1, self.k)

    def chunks(self, width: int = 1) -> list[tuple[int, int]]:
        """Starts and ends of parts that together have all tokens; `width` layers are read at once."""
        step = max(CHUNK // (self.k * width), 1)
        return [(start, min(start + step, self.tokens)) for start in range(0, self.tokens, step)]


@dataclass(slots=True)
class Spool:
    """Gathers ids by layer as they come, in any order of layers."""

    folder: Path
    files: dict[int, BinaryIO] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    """Ids by layer."""

    def add(self, layer: int, ids: Ints, where: str) -> None:
        """Append the ids of one layer."""
        if ids.size and (ids.min() < 0 or ids.max() >= MOST_EXPERTS):
            bad = int(ids[(ids < 0) | (ids >= MOST_EXPERTS)][0])
            raise UsageError(f"{where}: {bad} is not the id of an expert", "ids count from 0")
        if layer not in self.files:
            if layer < 0:
                raise UsageError(f"{where}: {layer} is not the number of a layer", "layers count from 0")
            self.files[layer] = (self.folder / f"layer-{layer:05d}.bin").open("wb")
            self.counts[layer] = 0
        self.files[layer].write(np.ascontiguousarray(ids, ID).tobytes())
        self.counts[layer] += ids.size

    def close(self) -> None:
        """Write all that was gathered."""
        for file in self.files.values():
            file.close()

    def path(self, layer: int) -> Path:
        """Where the ids of a layer lie."""
        return Path(self.files[layer].name)


def finished(
    spool: Spool,
    source: Path,
    k: int,
    runs: list[TokenRun],
    domains: list[int],
    names: list[str],
    num_experts: int | None,
) -> Stream:
    """Make a stream of what was gathered. Raises UsageError where layers differ in length, or ids are impossible."""
    spool.close()
    layers = sorted(spool.counts)
    if not layers or not max(spool.counts.values()):
        raise UsageError(f"{source} holds no routing", "is the trace empty?")
    longest = max(layers, key=lambda layer: spool.counts[layer])
    for layer in layers:
        has, most = spool.counts[layer], spool.counts[longest]
        if has != most:
            raise UsageError(
                f"{source}: layers are of unlike length: layer {layer} names {has} experts, layer {longest} {most}",
                "was the file cut short? cut it behind the last token that all layers have",
            )
    ids = spool.counts[layers[0]]
    if ids % k:
        raise UsageError(
            f"{source} ends in the middle of a token: {ids} experts a layer are no multiple of {k}",
            "was it copied whole? cut the last token off, or give --experts-per-token",
        )
    highest = -1
    for layer in layers:
        highest = max(highest, _highest(spool.path(layer)))
    notes = []
    if num_experts is None:
        num_experts = highest + 1
        notes.append(
            f"the trace does not say how many experts a layer has: taken for {num_experts}, the highest id + 1"
        )
    if highest >= num_experts:
        raise UsageError(
            f"{source} names expert {highest}, but a layer has {num_experts} experts, 0 to {num_experts - 1}",
            "is it the trace of another model, or --num-experts wrong?",
        )
    stream = Stream(
        tuple(spool.path(layer) for layer in layers), tuple(layers), k, num_experts, ids // k,
        tuple(runs), tuple(domains), tuple(names), notes=tuple(notes),
    )  # fmt: skip
    _refuse_twins(stream, source)
    return stream


def _highest(path: Path) -> int:
    highest = -1
    with path.open("rb") as file:
        while (found := np.fromfile(file, ID, CHUNK)).size:
            highest = max(highest, int(found.max()))
    return highest


def _refuse_twins(stream: Stream, source: Path) -> None:
    for number, layer in enumerate(stream.layers):
        for start, stop in stream.chunks():
            experts = stream.read(number, start, stop)
            bad = first_bad_token(experts, stream.num_experts)
            if bad >= 0:
                raise UsageError(
                    f"{source}: token {start + bad} of layer {layer} names an expert twice: {experts[bad].tolist()}",
                    f"are there {stream.k} experts a token? see --experts-per-token",
                )
