"""Weights that lie on disk and are read past the system's cache, as for a model that does not fit into memory."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BLOCK = 4096
"""Direct reads begin and end at multiples of this."""


class OnDisk:
    """A stack of weights [E, …] in a file; taking an expert out of it reads that expert."""

    def __init__(self, weight: torch.Tensor, path: Path) -> None:
        self._shape, self._dtype = weight.shape, weight.dtype
        self._size = weight[0].nbytes
        raw = weight.detach().contiguous().view(-1).view(_bytes()).numpy().tobytes()
        with path.open("wb") as file:
            file.write(raw)
            file.write(bytes(BLOCK))
            file.flush()
            os.fsync(file.fileno())
        self._path = path
        direct = getattr(os, "O_DIRECT", 0)
        try:
            self._file = os.open(path, os.O_RDONLY | direct)
        except OSError:  # the file system has no such reads
            self._file = os.open(path, os.O_RDONLY)
        self._own = threading.local()

    def __getitem__(self, expert: int) -> torch.Tensor:
        """Read one expert; what was read before by the same thread is overwritten."""
        import torch

        start = expert * self._size
        first, last = start // BLOCK * BLOCK, -(-(start + self._size) // BLOCK) * BLOCK
        room = self._room(last - first)
        done = 0
        while done < last - first:
            count = os.preadv(self._file, [memoryview(room)[done : last - first]], first + done)
            if not count:
                break
            done += count
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file, first, last - first, os.POSIX_FADV_DONTNEED)
        found = torch.frombuffer(room, dtype=_bytes(), count=self._size, offset=start - first)
        return found.view(self._dtype).view(self._shape[1:])

    def to(self, device: Any, *, copy: bool) -> torch.Tensor:
        """All of it, as the model had it."""
        import torch

        assert copy
        return torch.stack([self[expert].clone() for expert in range(self._shape[0])]).to(device)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def _room(self, size: int) -> mmap.mmap:
        """Memory of this thread that begins at a page, as direct reads want it."""
        if getattr(self._own, "room", None) is None or len(self._own.room) < size:
            self._own.room = mmap.mmap(-1, size)
        room: mmap.mmap = self._own.room
        return room


def _bytes() -> torch.dtype:
    import torch

    return torch.uint8
