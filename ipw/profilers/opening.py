"""The look at opening: a counter that does not move, or a meter that answers 0 W, is passed over and says why.

Hypervisors show RAPL counters that are always 0, some drivers a GPU's counter that never moves. What does not move for
several of its own updates is not believed; whether a counter goes on moving is judged from the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ipw.clock import now_ns
from ipw.energy.belief.limits import NOTHING_W
from ipw.profilers.base import Channel, Scope, Sensor
from ipw.profilers.sources import Read, Source, Sources, unreadable
from ipw.system import in_virtual_machine

WHOLE: frozenset[Scope] = frozenset({"gpu", "module", "package", "dram", "soc", "system"})
"""Scopes of what is never without power. A core, a graphics unit or one rail of several may sleep."""
SLOWEST_S = 0.15
"""A counter that is renewed more seldom is not judged at opening: its next update would have to be waited for."""
LEAST_S, TICKING_S = 0.3, 0.5
"""So long a counter is looked at before it is said to stand still: many of its updates, or five of a GPU's."""
BUSY_NS = 2_000_000
"""First without a pause: two updates of a RAPL counter, and a CPU that works draws far more in them than the least
that it can tell apart. What moves is so believed at once."""
PAUSE_S, LONGEST_PAUSE_S, PART = 0.004, 0.04, 1 / 8
"""Then ever more seldom, after such a part of the time so far: what has not moved for long moves no sooner."""
POWER_POLL_S = 0.02
"""How often power is read that is all that there is of a device."""
VIRTUAL_S, AGAIN_S, HELD_UP_S = 1.3, 0.2, 5.0
"""QEMU renews the counters of its guests once a second (MSR_ENERGY_THREAD_SLEEP_US). In a virtual machine a counter
that was ever above 0 is looked at for longer, and one that has moved must move again soon, or it is one of these.
One that moved while nobody looked is looked at anew, up to the last of these."""
STILL = "its energy counter stands still"
ZERO = "it answers 0 W"
SLOW = "renewed seldom, as the counters of a virtual machine are"
HINT = "if this is a virtual machine, measure on its host"


class Look:
    """A look at one sensor, from when it was opened."""

    def __init__(self, sensor: Sensor, *, prompt: bool | None = True) -> None:
        """Begin to look. A counter that tells no update period is renewed soon if `prompt`; `None`: judge nothing."""
        self._sensor = sensor
        self._reads: Sequence[Read] = (
            sensor.reads
            if isinstance(sensor, Sources)
            else [partial(sensor.read, place) for place in range(len(sensor.channels))]
        )
        self._still: dict[int, float] = {}
        """What is looked at and has not moved, by its place: the first value."""
        for place, channel in enumerate(sensor.channels):
            value = self._value(place) if prompt is not None and _is_judged(channel, prompt=prompt) else None
            if value is not None and (channel.kind == "counter" or value < NOTHING_W):
                self._still[place] = value
        self._rails = {place for place, channel in enumerate(sensor.channels) if _is_rail(channel)}
        """Each may rest, but not all of them."""
        if not self._rails <= self._still.keys():
            self._believe(self._rails)
        self._moved: dict[int, tuple[float, int]] = {}
        """What has moved once where that does not suffice: the value, and when."""
        self._slow: set[int] = set()
        self._from_ns = now_ns()
        self._virtual = any(map(self._may_be_slow, self._still)) and in_virtual_machine()
        least_s = VIRTUAL_S if self._virtual else 0.0
        self._limit_s = max((least_s, *map(_limit_s, self._watched()))) if self._still else 0.0

    def judged(self) -> Sensor:
        """Look until all has moved or time is up. Returns the sensor; what stood still is failed, with the reason.

        The last look begins when time is up, or later: the process may have been held up between two looks, and opening
        the other sensors may have taken all the time that there was.
        """
        while self._moved or self._still:
            looked_ns = now_ns() - self._from_ns
            self._look()
            if not self._moved and looked_ns >= self._limit_s * 1e9:
                break
            quick = any(not channel.ticks for channel in self._watched())
            if (self._still or self._moved) and not (quick and now_ns() - self._from_ns < BUSY_NS):
                time.sleep(_pause_s(now_ns() - self._from_ns))
        if self._still or self._slow:
            self._sensor = self._without(set(self._still))
            self._still, self._slow = {}, set()
        return self._sensor

    def _look(self) -> None:
        for place, first in list(self._still.items()):
            if (value := self._value(place)) != first and (self._counts(place) or value is None or value >= NOTHING_W):
                self._believe(self._rails if place in self._rails else {place})
                if value is not None and self._virtual and first and self._may_be_slow(place):
                    self._moved[place] = value, now_ns()
        for place, (value, moved_ns) in list(self._moved.items()):
            asked_ns = now_ns()
            late = asked_ns - moved_ns > AGAIN_S * 1e9
            newest = self._value(place)
            if late and newest not in {value, None} and asked_ns - self._from_ns < HELD_UP_S * 1e9:
                self._moved[place] = newest, now_ns()  # the process was held up: nobody knows when it moved
            elif late or newest != value:
                del self._moved[place]
                self._slow |= {place} if late else set()

    def _believe(self, places: set[int]) -> None:
        for place in places:
            self._still.pop(place, None)

    def _may_be_slow(self, place: int) -> bool:
        channel = self._sensor.channels[place]
        return channel.kind == "counter" and not channel.ticks and bool(self._still.get(place, True))

    def _counts(self, place: int) -> bool:
        return self._sensor.channels[place].kind == "counter"

    def _watched(self) -> list[Channel]:
        return [self._sensor.channels[place] for place in self._still]

    def _value(self, place: int) -> float | None:
        """Read; what fails, or is a stream without news, is not judged here."""
        try:
            reading = self._reads[place]()
            return None if reading is None else float(reading.value)
        except Exception:  # noqa: BLE001 - the sampler will tell
            return None

    def _without(self, still: set[int]) -> Sensor:
        """Fail the channels at these places; the power that is read beside a counter takes its place."""
        channels = self._sensor.channels
        instead = {channels[place].name: _beside(channels[place], channels) for place in still}
        sources: list[Source] = []
        for place, (channel, read) in enumerate(zip(channels, self._reads, strict=True)):
            stand_in = instead.get(channel.included_in or "")
            if place in self._slow:
                changes = {"ticks": True, "update_period_s": None, "note": SLOW}
                sources.append((replace(channel, **changes), read))  # type: ignore[arg-type]
            elif place in still:
                reason = STILL if channel.kind == "counter" else ZERO
                sources.append(unreadable(replace(channel, status="unsupported", reason=reason, hint=HINT)))
            elif stand_in is channel:
                outer = next(c.included_in for c in channels if c.name == channel.included_in)
                sources.append((replace(channel, included_in=outer, poll_s=min(channel.poll_s, POWER_POLL_S)), read))
            elif stand_in is not None:
                sources.append((replace(channel, included_in=stand_in.name), read))
            else:
                sources.append((channel, read))
        return Sources(sources, self._sensor.close)


def _is_judged(channel: Channel, *, prompt: bool) -> bool:
    if channel.status != "ok" or channel.scope not in WHOLE:
        return False
    if channel.kind == "power":
        return channel.method == "integrated_power" and channel.included_in is None
    known = prompt if channel.update_period_s is None else channel.update_period_s <= SLOWEST_S
    return channel.kind == "counter" and channel.method == "counter" and known


def _is_rail(channel: Channel) -> bool:
    return channel.scope == "soc" and channel.kind == "power" and _is_judged(channel, prompt=True)


def _pause_s(looked_ns: int) -> float:
    return min(max(PAUSE_S, PART * looked_ns / 1e9), LONGEST_PAUSE_S)


def _limit_s(channel: Channel) -> float:
    return TICKING_S if channel.ticks else max(LEAST_S, 3 * (channel.update_period_s or 0.0))


def _beside(counter: Channel, channels: Sequence[Channel]) -> Channel | None:
    """Find the power of the same device, where it can be read."""
    found = [c for c in channels if c.included_in == counter.name and c.scope == counter.scope and c.kind == "power"]
    readable = [c for c in found if c.status == "ok"]
    return next((c for c in readable if c.name == f"{counter.name}/power"), readable[0] if readable else None)
