"""How fast this machine brings experts into fast memory, and computes with them where they lie."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

MOST_BYTES = 512 << 20
PASS_S = 0.5
"""Each pass goes on for at least so long."""
PASSES = 3


def measure_link(expert_bytes: int) -> tuple[float, str]:
    """Bytes a second in pieces of an expert, and what was measured: pinned memory to a GPU, else a file to memory."""
    try:
        import torch

        if torch.cuda.is_available():
            return _to_gpu(expert_bytes), f"pinned memory to {torch.cuda.get_device_name()}"
    except ImportError:
        pass
    return _from_disk(expert_bytes), "a file to memory, past the page cache where the file system allows"


def _to_gpu(expert_bytes: int) -> float:
    import torch

    count = max(min(MOST_BYTES // expert_bytes, 64), 2)
    slow = torch.empty((count, expert_bytes), dtype=torch.uint8).pin_memory()
    fast = torch.empty(expert_bytes, dtype=torch.uint8, device="cuda")

    def copy(at: int) -> None:
        fast.copy_(slow[at % count])
        torch.cuda.synchronize()

    return _best(copy, expert_bytes)


def _from_disk(expert_bytes: int) -> float:
    count = max(min(MOST_BYTES // expert_bytes, 4096), 2)
    with tempfile.TemporaryDirectory(prefix="ipw-link-") as folder:
        path = Path(folder) / "experts.bin"
        block = np.random.default_rng(0).bytes(expert_bytes)
        with path.open("wb") as made:
            for _ in range(count):
                made.write(block)
            made.flush()
            os.fsync(made.fileno())
        order = np.random.default_rng(1).permutation(count)
        with path.open("rb", buffering=0) as file:
            room = bytearray(expert_bytes)

            def copy(at: int) -> None:
                place = int(order[at % count]) * expert_bytes
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), place, expert_bytes, os.POSIX_FADV_DONTNEED)
                file.seek(place)
                file.readinto(room)

            return _best(copy, expert_bytes)


def measure_cpu(expert_bytes: int) -> tuple[float, str]:
    """Bytes of weights a second that a matrix-vector product of 32-bit numbers goes through, from main memory."""
    width = max(int((expert_bytes / 4) ** 0.5), 16)
    count = max(min(MOST_BYTES // (4 * width * width), 512), 2)
    weights = np.random.default_rng(0).standard_normal((count, width, width), np.float32)
    token = np.ones(width, np.float32)

    def compute(at: int) -> None:
        weights[at % count] @ token

    return _best(compute, 4 * width * width), "products of 32-bit matrices and a vector, on all cores"


def _best(step: object, size: int) -> float:
    """Bytes a second of the median pass."""
    rates, at = [], 0
    for _ in range(PASSES):
        done, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < PASS_S:
            step(at)  # type: ignore[operator]
            at, done = at + 1, done + size
        rates.append(done / taken)
    return float(np.median(rates))
