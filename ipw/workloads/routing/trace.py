"""Routing on disk: parts of a few tens of thousands of tokens, so that memory stays flat however long the corpus is.

A part is a safetensors file with the arrays of `Trace` and, in its metadata, the number of experts and the names of
layers and domains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import MissingExtraError, UsageError
from ipw.runs.files import replacing
from ipw.workloads.routing.checked import checked, checked_bounds

Ints = npt.NDArray[np.integer[Any]]
FORMAT, VERSION = "ipw-routing", "1"
PART_TOKENS = 1 << 16
DTYPES = {"experts": np.int16, "bounds": np.int64, "token_ids": np.int32, "generated": np.bool_, "domains": np.int16}


@dataclass(frozen=True, slots=True)
class Trace:
    """The experts that some sequences chose."""

    experts: Ints
    """[tokens, layers, k] ids, in the order in which the router ranks them."""
    bounds: Ints
    """[sequences + 1] where sequences begin and end."""
    token_ids: Ints
    """[tokens]; -1 where they are not known."""
    generated: npt.NDArray[np.bool_]
    """[tokens] whether the model wrote the token; the others are its prompt."""
    domains: Ints
    """[sequences] index into `domain_names`."""
    domain_names: tuple[str, ...]
    layers: tuple[str, ...]
    """Names of the routed layers, from first to last."""
    num_experts: int
    """Of each layer."""

    @property
    def sequences(self) -> int:
        """How many there are."""
        return len(self.bounds) - 1


def check(trace: Trace, where: str) -> Trace:
    """Return `trace` if all its parts fit together and it is the routing of `num_experts` experts, else UsageError."""
    if trace.experts.ndim != 3:
        raise UsageError(f"{where}: experts are [tokens, layers, k], not {list(trace.experts.shape)}")
    tokens, layers, _ = trace.experts.shape
    try:
        checked_bounds(trace.bounds, tokens)
        for layer in range(layers):
            checked(trace.experts[:, layer], trace.num_experts)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from None
    fits = {
        "token_ids": trace.token_ids.shape == (tokens,),
        "generated": trace.generated.shape == (tokens,),
        "layers": len(trace.layers) == layers > 0,
        "domains": trace.domains.shape == (trace.sequences,)
        and 0 <= trace.domains.min() <= trace.domains.max() < len(trace.domain_names),
    }
    for name, does in fits.items():
        if not does:
            raise UsageError(f"{where}: {name} do not fit {tokens} tokens of {layers} layers")
    return trace


def part_path(folder: Path, index: int) -> Path:
    """Where part `index` of the routing in `folder` lies."""
    return folder / f"routing-{index:05d}.safetensors"


def part_paths(folder: Path) -> list[Path]:
    """All parts in order."""
    return sorted(folder.glob("routing-*.safetensors"))


def write_part(path: Path, trace: Trace) -> None:
    """Write one part whole or not at all."""
    safetensors = _safetensors()
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "num_experts": str(trace.num_experts),
        "layers": json.dumps(trace.layers),
        "domains": json.dumps(trace.domain_names),
    }
    arrays: dict[str, Ints] = {
        name: np.ascontiguousarray(getattr(trace, name), dtype) for name, dtype in DTYPES.items()
    }
    with replacing(path, durable=True) as file:
        file.write(safetensors.numpy.save(arrays, metadata))


def read_part(path: Path) -> Trace:
    """Read one part. Raises UsageError where it is none, or its arrays do not fit together."""
    with _opened(path) as (metadata, file):
        trace = Trace(
            **{name: file.get_tensor(name) for name in DTYPES},
            domain_names=_names(metadata, "domains"),
            layers=_names(metadata, "layers"),
            num_experts=int(metadata["num_experts"]),
        )
    return check(trace, str(path))


def read_parts(folder: Path) -> Iterator[Trace]:
    """Read the parts in `folder` one by one. Raises UsageError where there is none, or where they differ in shape."""
    paths = part_paths(folder)
    if not paths:
        raise UsageError(f"{folder} holds no routing", "`ipw run routing` captures some")
    first: Trace | None = None
    for path in paths:
        part = read_part(path)
        first = first or part
        if (part.num_experts, part.layers, part.experts.shape[2]) != (
            first.num_experts,
            first.layers,
            first.experts.shape[2],
        ):
            raise UsageError(f"{path} is of another model than the parts before it")
        yield part


class Index(NamedTuple):
    """What can be known of all parts without reading their routing."""

    domains: Ints
    """[sequences] index into `domain_names`."""
    domain_names: tuple[str, ...]
    tokens: Ints
    """[sequences] lengths."""
    token_counts: Ints
    """[largest token id + 1] occurrences."""


def read_index(folder: Path) -> Index:
    """Read sequences, domains and words of all parts, whose domains are numbered anew."""
    names: dict[str, int] = {}
    domains, tokens, counts = [], [], np.zeros(0, np.int64)
    for path in part_paths(folder):
        with _opened(path) as (metadata, file):
            own = [names.setdefault(name, len(names)) for name in _names(metadata, "domains")]
            domains.append(np.array(own, np.intp)[file.get_tensor("domains")])
            tokens.append(np.diff(file.get_tensor("bounds")))
            ids = file.get_tensor("token_ids")
        part = np.bincount(ids[ids >= 0], minlength=len(counts))
        part[: len(counts)] += counts
        counts = part
    return Index(np.concatenate(domains), tuple(names), np.concatenate(tokens), counts)


class Writer:
    """Gathers sequences and writes a part whenever enough tokens are there."""

    def __init__(self, folder: Path, num_experts: int, layers: Sequence[str], part_tokens: int = PART_TOKENS) -> None:
        self._folder, self._num_experts, self._layers = folder, num_experts, tuple(layers)
        self._part_tokens = part_tokens
        self._parts = 0
        self._start()

    def add(self, experts: Ints, token_ids: Ints, prompt_tokens: int, domain: str) -> None:
        """Add one sequence of [tokens, layers, k] experts, of which the first `prompt_tokens` are its prompt."""
        self._experts.append(experts)
        self._token_ids.append(token_ids)
        self._generated.append(np.arange(len(experts)) >= prompt_tokens)
        self._domains.append(self._names.setdefault(domain, len(self._names)))
        self._tokens += len(experts)
        if self._tokens >= self._part_tokens:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if not self._experts:
            return
        trace = Trace(
            experts=np.concatenate(self._experts),
            bounds=np.cumsum([0, *map(len, self._experts)]),
            token_ids=np.concatenate(self._token_ids),
            generated=np.concatenate(self._generated),
            domains=np.array(self._domains),
            domain_names=tuple(self._names),
            layers=self._layers,
            num_experts=self._num_experts,
        )
        write_part(part_path(self._folder, self._parts), check(trace, "the captured routing"))
        self._parts += 1
        self._start()

    def _start(self) -> None:
        self._experts: list[Ints] = []
        self._token_ids: list[Ints] = []
        self._generated: list[npt.NDArray[np.bool_]] = []
        self._domains: list[int] = []
        self._names: dict[str, int] = {}
        self._tokens = 0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """Open a part; what is wrong with its content, found inside the block too, is told as a UsageError."""
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if (metadata.get("format"), metadata.get("version")) != (FORMAT, VERSION):
                raise ValueError(f"it is not {FORMAT}, version {VERSION}")  # noqa: TRY301 (told below as all else)
            yield metadata, file
    except (OSError, ValueError, LookupError, TypeError, safetensors.SafetensorError) as error:
        raise UsageError(f"{path} is not a routing trace: {error}", "was it copied whole?") from None


def _names(metadata: dict[str, str], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in json.loads(metadata[key]))


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise MissingExtraError("keeping routing traces", "routing") from None
    return safetensors
