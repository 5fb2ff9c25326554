"""What PyTorch does on an accelerator in this process; PyTorch is never imported for it."""

from __future__ import annotations

import sys


def synchronise() -> None:
    """Wait until the current device has done what it was given. Without PyTorch, or on the CPU, nothing to wait for.

    Raises what the device raises: an error of earlier work shows here.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.synchronize()
    elif sys.platform == "darwin" and torch is not None and torch.backends.mps.is_available():
        torch.mps.synchronize()


def devices() -> list[str]:
    """UUIDs of the GPUs on which this process holds memory through PyTorch, and of its current one."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return []
    holding = [i for i in range(cuda.device_count()) if cuda.max_memory_reserved(i)]
    named = (getattr(cuda.get_device_properties(i), "uuid", None) for i in sorted({cuda.current_device(), *holding}))
    return [str(uuid) for uuid in named if uuid is not None]  # older versions of PyTorch know none
