"""One clock for several nodes: offsets from round trips, and power series of all nodes as one.

The moment at which a node read its clock lies between the question and its answer (Cristian 1989): half of the shortest
round trip bounds the error. Two measurements, before and after, tell how the clocks drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import IpwError
from ipw.runs.checks.digests import readings_digest
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.runs.readings import READINGS, RECORD

WORST_NS = 1_000_000
"""Offsets that are known less well than to a millisecond are refused."""


class Offset(NamedTuple):
    """How far a clock is ahead of the driver's, at a moment of the driver's."""

    at_ns: int
    ahead_ns: int
    error_ns: int
    """It lies within this of the truth."""


class Recording(NamedTuple):
    """What the sampler of a further node wrote, and how that node's clock stood to the driver's."""

    node: str
    channels: Sequence[Mapping[str, Any]]
    readings: bytes
    offsets: tuple[Offset, Offset]
    """Before and after."""


def offset(trips: Sequence[tuple[int, int, int]]) -> Offset:
    """From round trips `(sent, the node's clock, answered)`, in ns: the shortest one says most."""
    sent, there, answered = min(trips, key=lambda trip: trip[2] - trip[0])
    middle = (sent + answered) // 2
    return Offset(middle, there - middle, (answered - sent + 1) // 2)


def between(main: tuple[Offset, Offset], other: tuple[Offset, Offset]) -> tuple[float, float, int]:
    """From the other node's clock to the main one's: what to add at 0 and per ns of it, and within which error.

    Raises IpwError where the clocks are not known to a millisecond.
    """
    error = max(m.error_ns + o.error_ns for m, o in zip(main, other, strict=True))
    if error > WORST_NS:
        raise IpwError(
            f"the clocks of two nodes are known to {error / 1e6:.1f} ms only, which is too little",
            "use nodes that answer one another within a millisecond",
        )
    moments = [o.at_ns + o.ahead_ns for o in other]
    adds = [m.ahead_ns - o.ahead_ns for m, o in zip(main, other, strict=True)]
    rate = (adds[1] - adds[0]) / (moments[1] - moments[0]) if moments[1] > moments[0] else 0.0
    return adds[0] - rate * moments[0], rate, error


def join(run: RunDir, main: tuple[Offset, Offset], recordings: Sequence[Recording]) -> None:
    """Add the readings of further nodes to a run, as channels of their own on the run's clock.

    Raises IpwError where a node's joules have another basis than the run's, or its clock is not known well enough.
    """
    manifest = run.manifest()
    sensors = list(manifest["sensors"])
    blocks = [run.readings()]
    for place, recording in enumerate(recordings, start=2):
        base, rate, error = between(main, recording.offsets)
        names = {c["name"] for c in manifest["sensors"] if c.get("in_total")}
        theirs = {c["name"] for c in recording.channels if c.get("in_total")}
        if names != theirs:
            told = f"{', '.join(sorted(theirs)) or 'nothing'}, not {', '.join(sorted(names)) or 'nothing'}"
            raise IpwError(f"node {recording.node} measures {told}", "ipw doctor on that node says why")
        first = max((c["index"] for c in sensors if "index" in c), default=-1) + 1
        sensors += [_renamed(channel, place, first) for channel in recording.channels if "index" in channel]
        blocks.append(_moved(recording.readings, first, base, rate, error))
    whole = np.concatenate(blocks)
    with replacing(run.path / READINGS, durable=True) as file:
        file.write(whole[np.argsort(whole["t_ns"], kind="stable")].tobytes())
    nodes = [{"node": r.node, "offsets": [o._asdict() for o in r.offsets]} for r in recordings]
    joined = {"sensors": sensors, "nodes": nodes, "clock": [o._asdict() for o in main]}
    known = manifest.get("recorded") or {}
    run.update_manifest(**joined)
    run.update_manifest(recorded=known | {"readings": whole.size, "readings_sha256": readings_digest(run)})


def _renamed(channel: Mapping[str, Any], place: int, first: int) -> dict[str, Any]:
    prefix = f"node{place}/"
    others = {key: prefix + channel[key] for key in ("included_in", "shape", "clock") if channel.get(key)}
    return {**channel, "name": prefix + channel["name"], "index": first + channel["index"], **others}


def _moved(readings: bytes, first: int, base: float, rate: float, error_ns: int) -> npt.NDArray[np.void]:
    """Readings on the main node's clock, each as uncertain in time as the offset is besides."""
    from ipw.runs.readings import RECORD_FIELDS

    moved = np.frombuffer(readings[: len(readings) // RECORD.size * RECORD.size], np.dtype(RECORD_FIELDS)).copy()
    moved["t_ns"] += np.rint(base + rate * moved["t_ns"]).astype(np.int64)
    moved["channel"] += first
    moved["uncertainty_ns"] += error_ns
    return moved
