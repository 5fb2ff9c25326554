"""What of a host's energy belongs to which of several ranks, and what went wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.metering.ranks import weights
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

WHOLE = "measure"
"""The phase of the one span that is all of the host's."""


def rank_parts(run: RunDir, marked: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """For each channel, which part of it belongs to the rank of each span; none where there is but one process.

    A span of no rank has all of the host's.
    """
    recorded = Recorded.of(run)
    if "ranks" not in recorded.entries:
        return {}
    claims = {r["rank"]: list(r["devices"]) for r in run.journal("rank")}
    size = int(recorded.entries["ranks"]["on_this_host"])
    sensors = [dict(channel) for channel in recorded.sensors]
    known = {int(span["rank"]) for span in marked if span.get("rank") is not None}
    parts = {rank: weights(sensors, claims, rank, size) for rank in known}
    whole = dict.fromkeys((channel["name"] for channel in sensors), 1.0)
    each = [whole if s.get("phase") == WHOLE or s.get("rank") is None else parts[int(s["rank"])] for s in marked]
    return {name: np.array([part[name] for part in each]) for name in whole}


def rank_flags(run: RunDir) -> list[str]:
    """Say which ranks did not end in order, and which of their GPUs nobody read."""
    recorded = Recorded.of(run)
    if "ranks" not in recorded.entries:
        return []
    last = {int(r["rank"]): r for r in run.journal("rank")}
    read = " ".join(str(channel.get("device")) for channel in recorded.sensors)
    late = [n for n in last if not last[n]["ended"]]
    unread = [(n, uuid) for n in last for uuid in last[n]["devices"] if uuid not in read]
    return [
        *(f"rank {n} was killed, or still measured when the others had ended" for n in late),
        *(f"rank {n} computed on GPU-{uuid}, which was not read" for n, uuid in unread),
    ]
