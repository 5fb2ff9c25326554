"""Lines of a run's journals: what kinds there are, and how they are read."""

from __future__ import annotations

from collections.abc import Container, Iterator
from io import BytesIO
from pathlib import Path

JOURNAL = "journal.jsonl"
RANK_JOURNALS = "journal-rank*.jsonl"
"""Of the ranks of a job beside the one that measures for all of them."""

KINDS = {
    "span": "an interval that was marked: `name`, `phase` (`idle`, `measure`, …), `start_ns`, `end_ns`, `status`",
    "query": "a question that was asked in the measured window, with its answer, times, tokens and score; of masked "
    "diffusion models also what each forward pass `committed` and `computed`, and how `sure` it was",
    "warmup": "the same, asked before the window",
    "retry": "the same, asked again after the window because it had failed in it",
    "cut_off": "the same, on its way when the run ended: nothing is known of its answer",
    "probe": "the same, asked to find out whether a server that failed still answers",
    "agreement": "whether an answer is that of the method that it is held against, which answered later",
    "step": "a training step: `method`, `step`, `start_ns`, `end_ns`, `loss`, `samples`, `tokens`, `status`",
    "loss": "the loss of a step that a trainer told later",
    "evaluation": "the loss on held-out data after a step",
    "model": "facts of the model that a method trains",
    "method": "how a training method ended",
    "anatomy": "what took memory in a step of a training method, in bytes, watched during the warm-up",
    "example": "the first tokens of a routing run, as text",
    "offload": "a pass with experts loaded on demand",
    "stall": "the disk was full from `start_ns` to `end_ns`, and nothing could be written",
    "rank": "which devices a rank of several uses, and whether it has ended",
}
"""Kinds of lines, each with what it says. A new one is a new version of the format."""

STALL = "stall"

FIRST = b'{"kind":"'
"""How `Journal` begins a line, so that one of another kind need not be decoded."""
ODD = b""
"""In place of a kind: what is not written so."""
BLOCK_BYTES = 1 << 20
"""Read at once."""
NAMES = frozenset((ODD, *(name.encode() for name in KINDS)))


class JournalLines:
    """Lines of a run's journals by kind. Those of rare kinds are kept, so that a derivation scans a long file once.

    A journal that grew or was replaced meanwhile is scanned anew.
    """

    KEPT, SHORT = 1000, 1 << 16
    """A kind of more lines than this, or of one with more bytes, is not kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: object = None
        self._rare: dict[bytes, list[tuple[int, bytes]]] = {}

    def of(self, kind: str | None) -> Iterator[bytes]:
        """Yield the lines of one kind, or all, in their order, and those that begin with no known kind."""
        paths = [path for path in (self._folder / JOURNAL, *sorted(self._folder.glob(RANK_JOURNALS))) if path.is_file()]
        seen = [(path, found.st_ino, found.st_size, found.st_mtime_ns) for path in paths if (found := path.stat())]
        wanted = {name: self._rare.get(name) for name in ((kind or "").encode(), ODD)}
        if kind and seen == self._seen and None not in wanted.values():
            kept = [numbered for lines in wanted.values() for numbered in lines or ()]
            yield from (line for _, line in sorted(kept))
            return
        rare: dict[bytes, list[tuple[int, bytes]]] = {name: [] for name in NAMES}
        number = 0
        for block in (block for path in paths for block in blocks(path, BLOCK_BYTES)):
            if kind and (alike := _all_of(block, wanted)) and alike[1] > self.KEPT:
                rare.pop(alike[0], None)
                number += alike[1]
                continue
            for line in BytesIO(block):
                name = _name(line)
                if name in rare:
                    rare[name].append((number, line))
                    if len(rare[name]) > self.KEPT or len(line) > self.SHORT:
                        del rare[name]
                number += 1
                if kind is None or name in wanted:
                    yield line
        self._rare, self._seen = rare, seen


def _name(line: bytes) -> bytes:
    """Give the kind of a line, as far as its beginning tells."""
    name = line[len(FIRST) : line.find(b'"', len(FIRST))] if line.startswith(FIRST) else ODD
    return name if name in NAMES else ODD


def _all_of(block: bytes, wanted: Container[bytes]) -> tuple[bytes, int] | None:
    """Give the kind that all lines of a block begin with, and how many they are; `None` where some may be `wanted`."""
    name = _name(block)
    if name in wanted:  # as what is odd always is
        return None
    lines = block.count(b"\n")
    return (name, lines) if block.count(b'\n%s%s"' % (FIRST, name)) == lines - 1 and block.endswith(b"\n") else None


def blocks(path: Path, at_once: int) -> Iterator[bytes]:
    """Whole lines of a file, about so many bytes of them at once."""
    with path.open("rb") as file:
        while block := file.read(at_once):
            yield block + file.readline()
