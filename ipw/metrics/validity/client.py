"""Whether the client kept up: where it was never idle, times and rates are its own, and not the server's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ipw.metrics.metric import mappings, number
from ipw.metrics.validity.check import Check, made
from ipw.runs.recorded import Recorded, part_of

CLIENT = "client"
LEAST_S, LEAST_CROWDED_S, CROWDED = 2.0, 5.0, 0.1
"""Of a window: how busy a process is, is looked at second by second. The longer one where it waited for a processor for
more than such a part of the window: others may take one for a moment."""
TOLD, MOST = 0.01, 0.05
"""Shares of the window in which a process was never idle. Beyond the first, the slowest hundredth of the answers (p99)
may be its doing. Beyond the second, so may more than what any percentile here leaves out."""
MORE = 4
"""Processes in place of one; of several, twice as many."""


class Strain(NamedTuple):
    """How hard the busiest of some processes worked, over all parts of a run."""

    wall_s: float
    cpu_s: float
    queued_s: float
    saturated_s: float
    late_p99_s: float

    @property
    def share(self) -> float:
        """Of the window, without a pause."""
        return self.saturated_s / self.wall_s if self.wall_s else 0.0


def client_checks(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Say how hard the client had to work; an error where it was what the run measured."""
    parts = mappings(manifest.get("client"))
    if not parts:
        return
    processes = max(len(mappings(part.get("processes"))) for part in parts)
    asks = _busiest([mappings(part.get("processes")) for part in parts])
    hands_out = _busiest([[part_of(part, "schedule")] for part in parts])
    yield _kept_up(manifest, processes, asks, hands_out)
    dead = [one for part in parts for one in mappings(part.get("processes")) if one.get("died")]
    if dead:
        lost = sum(int(number(one.get("lost")) or 0) for one in dead)
        told = "; ".join(dict.fromkeys(str(one.get("died")) for one in dead))
        questions = f"{lost} question{'s'[: lost != 1]} failed with {'it' if len(dead) == 1 else 'them'}"
        yield made("client processes", ok=False, detail=f"{len(dead)} of {processes} died ({told}); {questions}")


def _kept_up(manifest: Mapping[str, Any], processes: int, asks: Strain, hands_out: Strain) -> Check:
    busy = f"busy {100 * asks.cpu_s / max(asks.wall_s, 1e-9):.0f} % of the time"
    late = f"its timer {_ms(asks.late_p99_s)} late (99 %)"
    name = "the process that asks" if processes == 1 else f"the busiest of {processes} that ask"
    if not asks.wall_s and not hands_out.wall_s:
        return made(CLIENT, ok=True, detail=f"{name}: nothing is known of how busy it was")
    worst = max(asks, hands_out, key=lambda each: each.share)
    crowded = worst.queued_s > CROWDED * worst.wall_s
    if worst.share <= TOLD or worst.wall_s < (LEAST_CROWDED_S if crowded else LEAST_S):
        return made(CLIENT, ok=True, detail=f"{name}: {busy}, {late}")
    level: Literal["error", "warning"] = "error" if worst.share > MOST else "warning"
    what = "the client was the bottleneck" if level == "error" else "the client was at its limit now and then"
    if worst is hands_out:
        name = "the process that hands out the questions"
    detail = f"{what}: {name} was never idle in {100 * worst.share:.0f} % of the window"
    if worst.queued_s > worst.cpu_s:
        detail += f", and waited for a processor {100 * worst.queued_s / worst.wall_s:.0f} % of it: others had them"
    late = f"moments are late by {_ms(worst.late_p99_s)} (99 %)"
    return made(
        CLIENT, ok=False, detail=f"{detail}; {late}; {_more(manifest, processes, worst, hands_out)}", level=level
    )


def _more(manifest: Mapping[str, Any], processes: int, worst: Strain, hands_out: Strain) -> str:
    """Say what helps."""
    threads = int(number(Recorded(manifest).host.get("threads")) or 0)
    wanted = MORE if processes == 1 else 2 * processes
    if worst is hands_out:
        return "share the questions among machines (--shard)"
    if worst.queued_s > worst.cpu_s or 0 < threads <= processes:
        return "ask from a machine with more free processors"
    return f"try --clients {min(wanted, threads or wanted)}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.2g} ms"


def _busiest(parts: Sequence[Sequence[Mapping[str, Any]]]) -> Strain:
    """Add up the busiest process of each part."""
    found = [max(map(_strain, part), key=lambda each: (each.share, each.cpu_s)) for part in parts if part]
    return Strain(
        wall_s=sum(each.wall_s for each in found),
        cpu_s=sum(each.cpu_s for each in found),
        queued_s=sum(each.queued_s for each in found),
        saturated_s=sum(each.saturated_s for each in found),
        late_p99_s=max((each.late_p99_s for each in found), default=0.0),
    )


def _strain(told: Mapping[str, Any]) -> Strain:
    names = ("wall_s", "cpu_s", "queued_s", "saturated_s", "late_p99_s")
    return Strain(*(number(told.get(name)) or 0.0 for name in names))
