"""Which GPUs a workload can see: CUDA_VISIBLE_DEVICES in all its forms, against the GPUs that NVML lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ipw.profilers.base import SensorError


@dataclass(frozen=True, slots=True)
class Gpu:
    """A physical GPU, as NVML lists it."""

    index: int
    uuid: str
    """Empty where it is not told; so are `bus_id` and `name`."""
    bus_id: str
    name: str
    migs: tuple[str, ...] = ()
    """UUIDs of its MIG instances."""
    notes: tuple[str, ...] = ()
    """Which of these facts is missing, and why."""
    lost: SensorError | None = None
    """Why the whole GPU does not answer."""


class Selection(NamedTuple):
    """The GPUs that are measured, by NVML index, each once."""

    indices: tuple[int, ...]
    notes: dict[int, str]
    """What a reader must know of a measured GPU."""
    reason: str | None
    """Why the list ends where it does, if anything in it was not understood or nothing is selected."""
    named: bool = False
    """Whether the user names GPUs, so that a run without one of them is not what was asked for."""
    unknown: bool = False
    """Whether a name is none of a GPU that is here, nor one that stands for no GPU."""


NONE = {"", "-1", "nodevfiles", "none", "void"}
"""What people and schedulers write where no GPU is to be seen."""
SHARED = "a MIG instance is visible; the figure is of its whole parent GPU, which others may share"
UNORDERED = (
    "CUDA numbers unlike GPUs fastest first, which only CUDA can tell; this index was taken in PCI order: "
    "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by UUID"
)
UNPLACED = (
    "a GPU before this one does not answer or does not tell its PCI place, and whether CUDA counts it only CUDA can "
    "tell: name GPUs by UUID"
)


def select(
    visible: str | None, gpus: Sequence[Gpu], order: str | None = None, variable: str = "CUDA_VISIBLE_DEVICES"
) -> Selection:
    """Say which GPUs are visible, given the value of `variable`, and of CUDA_DEVICE_ORDER.

    As in CUDA the list ends at the first entry that names no GPU: `0,-1,2` is GPU 0. Entries are numbers, `GPU-<uuid>`,
    `MIG-<uuid>`, or `MIG-GPU-<uuid>/<gi>/<ci>`; a UUID may be cut short as long as it is unambiguous. A GPU that does
    not answer can be named too: by its number, and by any UUID where it is the only one whose UUID is not known.
    """
    if visible is None:
        return Selection(tuple(gpu.index for gpu in gpus), {g.index: SHARED for g in gpus if g.migs}, None)
    if not visible.strip():
        return Selection((), {}, f"{variable} is empty: no GPU is visible", named=True)
    known = {gpu.name for gpu in gpus if gpu.lost is None}
    alike = order == "PCI_BUS_ID" or len(known) <= 1
    chosen: list[int] = []
    notes: dict[int, str] = {}
    for token in (part.strip() for part in visible.split(",")):
        gpu = _named(token, gpus)
        if gpu is None:
            rest = f"{variable}={visible}: {token!r} names no GPU here; it and what follows is not visible"
            return Selection(tuple(chosen), notes, rest, named=True, unknown=token.lower() not in NONE)
        if gpu.index not in chosen:
            chosen.append(gpu.index)
        if gpu.migs or token.upper().startswith("MIG-"):
            notes[gpu.index] = SHARED
        elif _is_number(token) and not alike:
            notes[gpu.index] = UNORDERED
        elif _is_number(token) and any(not each.bus_id for each in _in_order(gpus)[: int(token)]):
            notes[gpu.index] = UNPLACED
    return Selection(tuple(chosen), notes, None, named=True)


def _named(token: str, gpus: Sequence[Gpu]) -> Gpu | None:
    """Find the one GPU that an entry of the list means."""
    if _is_number(token):
        return _in_order(gpus)[int(token)] if int(token) < len(gpus) else None
    wanted = token.upper()
    if wanted.startswith("MIG-GPU-"):
        uuid = wanted.removeprefix("MIG-").split("/")[0]
        found = [gpu for gpu in gpus if gpu.uuid.upper() == uuid]
    elif wanted.startswith("MIG-"):
        found = [gpu for gpu in gpus for mig in gpu.migs if mig.upper().startswith(wanted)]
    elif wanted.startswith("GPU-"):
        found = [gpu for gpu in gpus if gpu.uuid.upper().startswith(wanted)]
    else:
        return None
    if not found:
        found = [gpu for gpu in gpus if not gpu.uuid]
    return found[0] if len(found) == 1 else None


def _in_order(gpus: Sequence[Gpu]) -> Sequence[Gpu]:
    """Sort by PCI place; where one is not told, NVML's own order stands, which is mostly the same."""
    return sorted(gpus, key=lambda gpu: gpu.bus_id) if all(gpu.bus_id for gpu in gpus) else gpus


def _is_number(token: str) -> bool:
    return token.isascii() and token.isdecimal()
