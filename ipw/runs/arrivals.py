"""When each chunk of text came, by request: `arrivals.bin`, a block a request, which its line in the journal points at.

A block is `size`, `content`, `check`. `size` is the length of the content. The content is `2 chunks + told`, then for
each chunk the time since the chunk before (of the first: since the request's `start_ns`) in units of 10 µs, and, where
`told` is 1, for each chunk its number of tokens; where it is 0, nobody told, and each is taken for one. `check` is the
CRC-32 of all before it, 4 bytes, little-endian. All else are varints, seven bits a byte, the lowest first, as in
Protocol Buffers; times are zigzag-coded, so that a gap may be negative.

Gaps up to 82 ms take two bytes, up to 10 s three. The line in the journal (`arrivals`) tells where in the file the
block begins. Times in a block are relative, so that runs are merged by putting their files one behind the other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ipw.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ARRIVALS = "arrivals.bin"
UNIT_NS = 10_000
"""Of the times that are kept. A stamp is late by more: sockets are read one after the other, 20 µs apart."""
CHECK_BYTES = 4
VARINT_BYTES = 8
"""The most that one takes: 56 bits, or ten thousand years in units of 10 µs."""
MOST_UNITS = (1 << 62) // UNIT_NS
MOST_TOKENS = 255
"""Of a chunk that is read; more stands for as many."""
READ_BYTES = 1 << 22
COPIED = "was the run copied whole?"


def encoded(start_ns: int, stamps_ns: Sequence[int], tokens: Sequence[int] | None = None) -> bytes:
    """Make the block of a request that began at `start_ns`; nothing where no chunk came."""
    if not stamps_ns:
        return b""
    content = bytearray(_varint(2 * len(stamps_ns) + (tokens is not None)))
    add = content.append
    before = 0
    for t_ns in stamps_ns:
        at = (t_ns - start_ns) // UNIT_NS
        gap, before = at - before, at
        code = gap << 1 if gap >= 0 else -(gap << 1) - 1
        if code < 1 << 14 and code > 127:  # what runs for nearly every token
            add(code & 127 | 128)
            add(code >> 7)
        else:
            content += _varint(code)
    for count in tokens or ():
        content += _varint(count)
    return block(content)


def block(content: bytes | bytearray) -> bytes:
    """Put the length before a block's content, and the check value behind it."""
    begun = _varint(len(content)) + content
    return begun + zlib.crc32(begun).to_bytes(CHECK_BYTES, "little")


def _varint(number: int) -> bytes:
    taken = bytearray()
    while number > 127:
        taken.append(number & 127 | 128)
        number >>= 7
    taken.append(number)
    return bytes(taken)


class Blocks(NamedTuple):
    """Some blocks of a file, one behind the other."""

    at: list[int]
    """Where each begins."""
    contents: list[bytes]
    end: int
    """Where the last one ends."""


def whole_blocks(path: Path) -> Iterator[Blocks]:
    """Read a file of blocks, some megabytes at a time, up to where it ends or a crash cut the last block short.

    Raises UsageError at the first block that is damaged.
    """
    with path.open("rb") as file:
        data, begin = b"", 0
        while more := file.read(READ_BYTES):
            data += more
            found = _cut(data, begin, path)
            if found.at:
                data, begin = data[found.end - begin :], found.end
                yield found


def _cut(data: bytes, begin: int, path: Path) -> Blocks:
    """Cut data into the whole blocks at its start; `begin` is where it stands in the file."""
    at: list[int] = []
    contents: list[bytes] = []
    start, count = 0, len(data)
    while start < count:
        size, place = data[start], start + 1
        if size > 127:
            size, place = _long(data, start)
            if place - start > VARINT_BYTES:
                raise _damaged(path, begin + start)
        end = place + size
        if end + CHECK_BYTES > count:
            break
        if zlib.crc32(data[start:end]) != int.from_bytes(data[end : end + CHECK_BYTES], "little"):
            raise _damaged(path, begin + start)
        at.append(begin + start)
        contents.append(data[place:end])
        start = end + CHECK_BYTES
    return Blocks(at, contents, begin + start)


def _long(data: bytes, place: int) -> tuple[int, int]:
    """Read a varint of several bytes; returns it, and where it ends. One that is cut short is longer than all data."""
    number = shift = 0
    for byte in data[place : place + VARINT_BYTES + 1]:
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
    return len(data), place


def _damaged(path: Path, at: int) -> UsageError:
    return UsageError(f"{path} cannot be read: its block at byte {at} is damaged", COPIED)


class Chunks(NamedTuple):
    """What came, in arrays of one length, request by request."""

    row: npt.NDArray[np.int32]
    """Whose: the place of the request in what was asked for."""
    since_ns: npt.NDArray[np.int64]
    """After the start of the request."""
    tokens: npt.NDArray[np.uint8]
    """1 where the server did not tell; MOST_TOKENS stands for as many or more."""


class Read(NamedTuple):
    """What a file holds of the requests that were asked for."""

    chunks: Chunks
    first: npt.NDArray[np.int64]
    """Of each block that is there, where its chunks begin in these arrays."""
    missing: int
    """Blocks that are not there."""
    torn_bytes: int
    """Behind the last whole block."""


def read_chunks(path: Path, at: npt.NDArray[np.int64]) -> Read:
    """Read the blocks that begin `at` these places of a file, one for each request, or -1.

    Of several requests with one block it is the first one's. Raises UsageError where the file is damaged, OSError where
    there is none.
    """
    import numpy as np

    places, asked = np.unique(at, return_index=True)
    places, asked = places[places >= 0], asked[places >= 0]
    most = path.stat().st_size  # a chunk takes a byte or more; memory that is not written to is not taken
    found = Chunks(np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.uint8))
    first = [np.zeros(0, np.int64)]
    count = end = 0
    for blocks in whole_blocks(path):
        end = blocks.end
        sizes, since, tokens = _decoded(blocks, path)
        begins = np.array(blocks.at, np.int64)
        near = np.searchsorted(places, begins)
        hit = near < places.size
        hit[hit] = places[near[hit]] == begins[hit]
        first.append(count + np.cumsum(sizes[hit]) - sizes[hit])
        wanted = hit.repeat(sizes)
        rows = slice(count, count + int(wanted.sum()))
        found.row[rows] = asked[near[hit]].repeat(sizes[hit])
        found.since_ns[rows], found.tokens[rows] = since[wanted], tokens[wanted]
        count = rows.stop
    chunks = Chunks(found.row[:count], found.since_ns[:count], found.tokens[:count])
    begins = np.concatenate(first)
    return Read(chunks, begins, places.size - begins.size, most - end)


def _decoded(blocks: Blocks, path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """How many chunks each block has, and of every chunk nanoseconds since the request's start, and tokens."""
    import numpy as np

    data = np.frombuffer(b"".join(blocks.contents), np.uint8)
    edges = np.cumsum([0, *map(len, blocks.contents)])
    ends = np.flatnonzero(data < 128)
    lengths = np.diff(ends, prepend=-1)
    heads = np.searchsorted(ends, edges)
    each = np.diff(heads)
    whole = each > 0
    whole[whole] = ends[heads[1:][whole] - 1] + 1 == edges[1:][whole]
    if not whole.all() or (lengths > VARINT_BYTES).any():
        raise _damaged(path, blocks.at[int(whole.argmin())])
    starts = ends - lengths + 1
    values = np.zeros(ends.size, np.int64)
    for place in range(int(lengths.max())):
        longer = lengths > place
        values[longer] |= (data[starts[longer] + place].astype(np.int64) & 127) << 7 * place
    sizes, told = values[heads[:-1]] >> 1, values[heads[:-1]] & 1
    fits = (sizes < each) & (each == 1 + sizes * (1 + told))
    if not fits.all():
        raise _damaged(path, blocks.at[int(fits.argmin())])
    first = np.cumsum(sizes) - sizes
    at = (heads[:-1] + 1 - first).repeat(sizes) + np.arange(int(sizes.sum()))
    gaps = (values[at] >> 1) ^ -(values[at] & 1)
    total = np.cumsum(np.append(0, gaps))
    since = total[1:] - total[first].repeat(sizes)
    if (np.abs(since) > MOST_UNITS).any():
        raise _damaged(path, blocks.at[0])
    tokens = np.ones(at.size, np.uint8)
    counted = told.repeat(sizes) == 1
    tokens[counted] = np.minimum(values[at[counted] + sizes.repeat(sizes)[counted]], MOST_TOKENS)
    return sizes, since * UNIT_NS, tokens
