"""What was found, or asked for, and is not in the total: told in `ipw doctor`, in the run and in its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ipw.profilers.base import Channel, Scope
from ipw.profilers.discovery import BROKEN, SUMMED, choose_basis
from ipw.profilers.opening import STILL, ZERO
from ipw.profilers.selection import names_of, prefixes
from ipw.runs.readings import is_estimate

AROUND: frozenset[Scope] = frozenset({"module", "soc", "system", "wall"})
"""Scopes that hold a GPU, a package and its memory too."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that the total of a run is without."""

    channel: str
    reason: str
    level: Literal["error", "warning", "info"]
    """`error`: the run is not what was asked for, or its basis says more than it holds. `info`: another channel holds
    its joules."""
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def losses(channels: Sequence[Channel], selection: str = "auto") -> list[Loss]:
    """List what would be in the total if it could be read, and is not.

    It is an error where a sensor that `selection` names measures nothing, where a device is lost that the user named
    (CUDA_VISIBLE_DEVICES) and that nothing around it is measured with, and where a part of a sum is lost: one package
    of two, a GPU beside others that answers and stands still, or the packages of a sum that holds their memory. A GPU
    that does not answer does no work either, so its loss is told; so is a sensor that `auto` found and cannot use. What
    was seen to stand still is told even where the same joules are read in another way.
    """
    basis = choose_basis(channels).channels
    total = [channel for channel in channels if channel.name in basis and not is_estimate(channel.method)]
    found = [c for c in channels if c.status not in {"ok", "absent"} and c.kind != "gauge"]
    revived = [replace(c, status="ok") if c in found else c for c in channels]
    wanted = choose_basis(revived).channels
    told = [c for c in found if c.name in wanted or c.asked or c.note == BROKEN or _is_whole_sensor(c)]
    lost = [c for c in told if c.reason in {STILL, ZERO} or not _covered(c, total)]
    by_weight = sorted(lost, key=lambda c: c.reason not in {STILL, ZERO})
    first = {(c.part, c.scope): c for c in reversed(by_weight)}  # else, of a counter and a power, the counter
    vain = _asked_in_vain(channels, selection)
    return [*vain.values(), *(_told(c, total) for c in lost if c in first.values() and c.sensor not in vain)]


def _told(lost: Channel, total: Sequence[Channel]) -> Loss:
    reason = lost.reason or lost.status
    another_way = "; it is measured in another way" if _covered(lost, total) else ""
    return Loss(lost.name, f"{reason}{another_way}", _level(lost, total), lost.hint)


def _covered(lost: Channel, total: Sequence[Channel]) -> bool:
    """Whether the same joules are in the total by another way."""
    if any(c.part == lost.part and c.scope == lost.scope for c in total):
        return True
    return lost.scope != "gpu" and any(c.scope == lost.scope and c.sensor != lost.sensor for c in total)


def _level(lost: Channel, total: Sequence[Channel]) -> Literal["error", "warning", "info"]:
    if _covered(lost, total):
        return "warning"
    siblings = {c.scope for c in total if c.sensor == lost.sensor}
    works = lost.scope != "gpu" or lost.reason in {STILL, ZERO}
    if lost.scope in SUMMED and works and (lost.scope in siblings or siblings == {"dram"}):
        return "error"
    if any(c.scope in AROUND for c in total):
        return "info"
    return "error" if lost.asked else "warning"


def _asked_in_vain(channels: Sequence[Channel], selection: str) -> dict[str, Loss]:
    """Find the sensors that were asked for and measure nothing."""
    vain = {}
    names = names_of(selection)
    there = prefixes(names)
    for name in names:
        machine, asked = there.get(name, (None, name))
        mine = [c for c in channels if c.host == machine and f"{c.name}/".startswith(f"{asked}/") and c.kind != "gauge"]
        first = next((c for c in mine if c.reason), None)
        if first and not any(c.status == "ok" for c in mine):
            vain[asked] = Loss(asked, f"it was asked for and measures nothing: {first.reason}", "error", first.hint)
    return vain


def _is_whole_sensor(channel: Channel) -> bool:
    """Whether a sensor was there and as a whole is lost or closed, such as a plug that no longer answers."""
    return "/" not in channel.name and channel.status in {"lost", "permission"}
