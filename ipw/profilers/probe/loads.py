"""Loads whose every pulse is known: which pulses tell what a sensor looks at, and what makes a GPU work in them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from ipw.clock import now_ns
from ipw.errors import install_hint

Pulses = Sequence[tuple[int, int]]
"""When a load works: start and end of each interval in monotonic nanoseconds, in order."""
Load = Callable[[Pulses], Pulses]
"""Lets a device work in each of these intervals and rest between them; returns when it truly worked."""

SHORTEST_NS, LONGEST_NS = 3_000_000, 200_000_000
"""Of irregular pulses and of the rests between them."""
PHASES, DUTY = 8, 0.25
SIDE = 4096
SPIN_NS = 300_000
"""The last of the wait for a pulse is not slept."""


def irregular_pulses(start_ns: int, seconds: float) -> Pulses:
    """Pulses and rests of lengths that never repeat, spread over magnitudes: they lock to no sensor's period."""
    chance = random.Random(0)  # noqa: S311 - a load, not a secret
    edges = [start_ns]
    while edges[-1] < start_ns + seconds * 1e9:
        edges.append(edges[-1] + int(SHORTEST_NS * (LONGEST_NS / SHORTEST_NS) ** chance.random()))
    return list(zip(edges[::2], edges[1::2], strict=False))


def phased_pulses(start_ns: int, period_ns: float, repeats: int, lead: int = 0) -> tuple[Pulses, list[tuple[int, int]]]:
    """A pulse of a quarter of each period, later by an eighth of a period in each of eight groups of `repeats`.

    Before them come `lead` such pulses, for a sensor with a memory. Returns the pulses, and each group's time from its
    third pulse to its end.
    """
    starts = [int(start_ns + k * period_ns) for k in range(lead)]
    pulses, groups = [(start, start + int(DUTY * period_ns)) for start in starts], []
    for phase in range(PHASES):
        first = start_ns + (lead + phase * (repeats + 1 + 1 / PHASES)) * period_ns
        starts = [int(first + k * period_ns) for k in range(repeats)]
        pulses += [(start, start + int(DUTY * period_ns)) for start in starts]
        groups.append((starts[2], starts[-1] + int(period_ns)))
    return pulses, groups


def gpu_load(uuid: str) -> Load | str:
    """Make the load for the GPU of this UUID, or say why there is none."""
    try:
        import torch
    except ImportError:
        return f"no load: torch is not installed: {install_hint('torch')}"
    if not torch.cuda.is_available():
        return "no load: this torch sees no CUDA device"
    for index in range(torch.cuda.device_count()):
        if str(torch.cuda.get_device_properties(index).uuid) in uuid:
            return matrix_load(torch, f"cuda:{index}")
    return f"no load: torch does not see {uuid}"


def matrix_load(torch: Any, device: str, side: int = SIDE) -> Load:
    """Make the load on a torch device. Products are waited for one by one, so that a pulse ends within one of them."""
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in "ab")

    def work() -> None:
        torch.matmul(left, right)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def play(pulses: Pulses) -> Pulses:
        worked = []
        for start, end in pulses:
            while (wait_ns := start - now_ns()) > 0:
                time.sleep(max(wait_ns - SPIN_NS, 0) / 1e9)
            begun = now_ns()
            while now_ns() < end:
                work()
            worked.append((begun, now_ns()))
        return worked

    work()
    return play
