"""Which GPUs a workload can see: CUDA_VISIBLE_DEVICES in all its forms, against the GPUs that NVML lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Gpu:
    """A physical GPU, as NVML lists it."""

    index: int
    uuid: str
    bus_id: str
    name: str
    migs: tuple[str, ...] = ()
    """UUIDs of its MIG instances."""


class Selection(NamedTuple):
    """The GPUs that are measured, by NVML index, each once."""

    indices: tuple[int, ...]
    notes: dict[int, str]
    """What a reader must know of a measured GPU."""
    reason: str | None
    """Why the list ends where it does, if anything in it was not understood or nothing is selected."""


SHARED = "a MIG instance is visible; the figure is of its whole parent GPU, which others may share"
UNORDERED = (
    "CUDA numbers unlike GPUs fastest first, which only CUDA can tell; this index was taken in PCI order: "
    "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by UUID"
)


def select(
    visible: str | None, gpus: Sequence[Gpu], order: str | None = None, variable: str = "CUDA_VISIBLE_DEVICES"
) -> Selection:
    """Say which GPUs are visible, given the value of `variable`, and of CUDA_DEVICE_ORDER.

    As in CUDA the list ends at the first entry that names no GPU: `0,-1,2` is GPU 0. Entries are numbers, `GPU-<uuid>`,
    `MIG-<uuid>`, or `MIG-GPU-<uuid>/<gi>/<ci>`; a UUID may be cut short as long as it is unambiguous.
    """
    if visible is None:
        return Selection(tuple(gpu.index for gpu in gpus), {g.index: SHARED for g in gpus if g.migs}, None)
    if not visible.strip():
        return Selection((), {}, f"{variable} is empty: no GPU is visible")
    alike = order == "PCI_BUS_ID" or len({gpu.name for gpu in gpus}) <= 1
    chosen: list[int] = []
    notes: dict[int, str] = {}
    for token in (part.strip() for part in visible.split(",")):
        gpu = _named(token, gpus)
        if gpu is None:
            rest = f"{variable}={visible}: {token!r} names no GPU here; it and what follows is not visible"
            return Selection(tuple(chosen), notes, rest)
        if gpu.index not in chosen:
            chosen.append(gpu.index)
        if gpu.migs or token.upper().startswith("MIG-"):
            notes[gpu.index] = SHARED
        elif _is_number(token) and not alike:
            notes[gpu.index] = UNORDERED
    return Selection(tuple(chosen), notes, None)


def _named(token: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """Find the one GPU that an entry of the list means."""
    if _is_number(token):
        in_pci_order = sorted(gpus, key=lambda gpu: gpu.bus_id)
        return in_pci_order[int(token)] if int(token) < len(gpus) else None
    wanted = token.upper()
    if wanted.startswith("MIG-GPU-"):
        uuid = wanted.removeprefix("MIG-").split("/")[0]
        found = [gpu for gpu in gpus if gpu.uuid.upper() == uuid]
    elif wanted.startswith("MIG-"):
        found = [gpu for gpu in gpus for mig in gpu.migs if mig.upper().startswith(wanted)]
    elif wanted.startswith("GPU-"):
        found = [gpu for gpu in gpus if gpu.uuid.upper().startswith(wanted)]
    else:
        found = []
    return found[0] if len(found) == 1 else None


def _is_number(token: str) -> bool:
    return token.isascii() and token.isdecimal()
