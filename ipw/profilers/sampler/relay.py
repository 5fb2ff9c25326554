"""A channel of another machine on its way into the file: what was kept there is kept here, as it was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import isfinite, nan
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ipw.profilers.base import Channel, Sensor
from ipw.profilers.sampler.lane import Sink
from ipw.runs.readings import STATUS_CODES, Status

STATUSES: dict[int, Status] = {code: status for status, code in STATUS_CODES.items()}


class Told(NamedTuple):
    """A record of another machine."""

    t_ns: int
    """On its clock, less how far that was ahead at first."""
    value: float
    code: int
    uncertainty_ns: int
    about_ns: int
    """On our clock, as far as it is known now."""


@runtime_checkable
class Teller(Sensor, Protocol):
    """A sensor that was read elsewhere."""

    def told(self, index: int) -> Sequence[Told]:
        """Give what `channels[index]` told since it was asked last."""

    def why(self, index: int) -> str:
        """Say why the channel could not be read there, or here."""

    def gone(self) -> str | None:
        """Say why nothing comes from there at present."""


class Relay:
    """One channel, with what `Sampling` wants of a lane."""

    def __init__(
        self, index: int, channel: Channel, number: int, teller: Teller, file: Sink, failures: deque[dict[str, Any]]
    ) -> None:
        """`number` is the channel's among those of the teller, `index` that in the file."""
        self.channel = channel
        self.reads = 0
        self.read_ns = self.changed_ns = -1
        self.longest_ns = 0
        self.failing: Status | None = None
        self._index, self._number, self._teller, self._file, self._failures = index, number, teller, file, failures
        self._last: float | None = None
        self._told_ns = 0

    def poll(self, _now_ns: int) -> bool:
        """Take what was told. Returns whether the value changed; never raises."""
        changed = False
        for told in self._teller.told(self._number):
            self.reads += 1
            if told.code or not isfinite(told.value):
                self._fail(
                    told.t_ns, STATUSES.get(told.code or STATUS_CODES["lost"], "lost"), self._teller.why(self._number)
                )
                continue
            self._file.add(told.t_ns, told.value, self._index, 0, told.uncertainty_ns)
            if self._last is not None and told.value != self._last:
                changed = True
                if 0 <= self.changed_ns < told.about_ns - self.longest_ns:
                    self.longest_ns = told.about_ns - self.changed_ns
                self.changed_ns = told.about_ns
            self._last, self._told_ns, self.failing = told.value, told.t_ns, None
            self.read_ns = max(told.about_ns, self.read_ns)
        return changed

    def give_up(self, since_ns: int) -> None:
        """Record that the channel is lost where nothing was told since then, as the run ends."""
        if self.read_ns < since_ns and self.failing is None and self.read_ns >= 0:
            self._fail(self._told_ns + 1, "lost", self._teller.gone() or "nothing came any more")

    def _fail(self, t_ns: int, status: Status, reason: str) -> None:
        self._file.add(t_ns, nan, self._index, STATUS_CODES[status], 0)
        if status != self.failing:
            self._failures.append({"channel": self.channel.name, "status": status, "reason": reason, "t_ns": t_ns})
        self.failing = status
