"""The sensors of a machine that runs `ipw sensors serve`."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

from ipw.clock import boot_id, now_ns
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.remote.link import Link, Trip
from ipw.profilers.remote.service import NO_CHANNEL
from ipw.profilers.remote.where import PORT, TOKEN, Where, where_of
from ipw.profilers.sampler.relay import STATUSES, Told
from ipw.profilers.sources import missing_there
from ipw.runs.readings import RECORD, STATUS_CODES
from ipw.shapes import misfit, shape_of

EXCHANGE_S, FIRST_S, FEWEST_TRIPS, MOST_TRIPS = 0.25, 0.4, 8, 32
"""So often clocks are compared; and how long at first, with how many exchanges."""
LATELY = 40
"""Exchanges by which it is told how late it is there now: those of ten seconds."""
RETRY_S, LOST_NS = 0.3, 20_000_000_000
"""A connection that broke is tried again so soon; after so long, what is not read is recorded as lost."""
EARLIER = 1024
"""So many readings from before it was opened are taken too: there is one of each channel soon."""
CLOSE_S = 2.0
MOST_CHANNELS, LONGEST_NAME = 4096, 200
FACTS = {**shape_of(Channel), "index?": range(2**16 - 1)}


class RemoteSensor:
    """Follows what the machine reads, and compares clocks with it, each in a thread of its own.

    Its records are told as they were read there, on that clock less how far it was ahead at first. Its first channel is
    the clock: how far it is ahead of that.
    """

    def __init__(self, where: Where, name: str, token: str | None) -> None:
        """Ask the machine what it has, and begin to follow it. Raises SensorError."""
        self._where, self._name, self._token = where, name, token
        self._links = (Link(where, token), Link(where, token))
        try:
            facts = self._links[1].channels()
            self.trips = first_trips(self._links[1])
            entries = told_channels(facts)
        except SensorError:
            self._links[1].close()
            raise
        self._shift_ns = round(sum(bounds(self.trips, 0)) / 2)
        self._instance, self._boot = facts.get("instance"), facts.get("boot")
        self.channels: Sequence[Channel] = [self._clock(facts), *(self._channel(entry) for entry in entries)]
        self._place = {entry["index"]: number for number, entry in enumerate(entries, 1) if "index" in entry}
        self._told: list[deque[Told]] = [deque() for _ in self.channels]
        self._last_ns = [0] * len(self.channels)
        self._why = [""] * len(self.channels)
        self._lost: set[int] = set()
        self._gone: tuple[int, str] | None = None
        self._lately: deque[Trip] = deque(self.trips, LATELY)
        self._next = max(_number(facts.get("next")) - EARLIER, _number(facts.get("oldest")))
        self._stop = threading.Event()
        for trip in self.trips:
            self._note(trip)
        self._threads = [
            threading.Thread(target=work, name="ipw-remote", daemon=True) for work in (self._follow, self._compare)
        ]
        for thread in self._threads:
            thread.start()

    def told(self, index: int) -> Sequence[Told]:
        """Give what a channel told since it was asked last."""
        queue = self._told[index]
        return [queue.popleft() for _ in range(len(queue))]

    def why(self, index: int) -> str:
        """Say why a channel could not be read."""
        return self._why[index] or "it could not be read there"

    def gone(self) -> str | None:
        """Say why nothing comes from there at present."""
        return self._gone and self._gone[1]

    def read(self, index: int) -> Reading | None:
        """Give the next reading of a channel. Raises SensorError."""
        if self.channels[index].status != "ok":
            raise SensorError(self.channels[index].status, self.channels[index].reason or "")
        if not self._told[index]:
            if self._gone:
                raise SensorError("lost", self._gone[1])
            return None
        told = self._told[index].popleft()
        if told.code:
            raise SensorError(STATUSES.get(told.code, "lost"), self.why(index))
        return Reading(told.t_ns, told.value, told.uncertainty_ns)

    def close(self) -> None:
        """Hang up."""
        self._stop.set()
        for link in self._links:
            link.hang_up()
        for thread in self._threads:
            thread.join(CLOSE_S)

    def ahead(self) -> tuple[float, float]:
        """How far that clock is ahead of ours now, in ns, and within which error."""
        least, most = bounds(list(self._lately), 0)
        return (least + most) / 2, abs(most - least) / 2

    # --- what there is ----------------------------------------------------------------------------------------------

    def _clock(self, facts: Mapping[str, Any]) -> Channel:
        ahead_s, error_s = (each / 1e9 for each in _middle(self.trips))
        trip_s = min(trip.here_ns - trip.sent_ns for trip in self.trips) / 1e9
        note = f"{ahead_s:.6f} s ahead at first, known to ±{1e3 * error_s:.3g} ms; round trip {1e3 * trip_s:.3g} ms"
        return Channel(
            name=f"{self._name}/clock", kind="gauge", scope="system", method="external_meter", unit="s",
            device=f"{self._where.shown} {str(facts.get('host') or '')[:LONGEST_NAME]}".strip(), note=note,
            host=self._name, here=self._is_here(),
        )  # fmt: skip

    def _channel(self, entry: Mapping[str, Any]) -> Channel:
        """Make a channel of this run of what the other side says of its own."""
        known = {field.name for field in fields(Channel)}
        told = Channel(**{name: value for name, value in entry.items() if name in known})
        included_in, shape = (each and f"{self._name}/{each}" for each in (told.included_in, told.shape))
        hint = f"on {self._name}: {told.hint}" if told.hint else None
        status = told.status if "index" in entry or told.status != "ok" else "unsupported"
        return replace(
            told, name=f"{self._name}/{told.name}", included_in=included_in, shape=shape, hint=hint, status=status,
            asked=False, host=self._name, here=self._is_here(), clock=f"{self._name}/clock",
        )  # fmt: skip

    def _is_here(self) -> bool:
        """Whether it is this machine, seen from a container of it or through its own network."""
        boot = boot_id()
        return boot is not None and self._boot == sha256(f"ipw {boot}".encode()).hexdigest()

    # --- the clock --------------------------------------------------------------------------------------------------

    def _compare(self) -> None:
        with self._links[1] as link:
            while not self._stop.wait(EXCHANGE_S):
                with suppress(SensorError):
                    self._note(link.trip())

    def _note(self, trip: Trip) -> None:
        self._lately.append(trip)
        middle = (trip.sent_ns + trip.here_ns) // 2
        ahead_s = (trip.there_ns - self._shift_ns - middle) / 1e9
        self._told[0].append(Told(middle, ahead_s, 0, (trip.here_ns - trip.sent_ns + 1) // 2, middle))

    # --- the readings -----------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        with self._links[0] as link:
            while not self._stop.is_set():
                reason = self._followed(link)
                since_ns = now_ns() if self._gone is None else self._gone[0]
                self._gone = since_ns, reason
                if now_ns() - since_ns > LOST_NS:
                    self._lose(reason)
                self._stop.wait(RETRY_S)

    def _followed(self, link: Link) -> str:
        """Take readings as long as they come. Returns why no more do."""
        try:
            stream = link.stream(self._next)
            if stream.instance != self._instance:
                link.close()
                self._begin_anew()
                stream = link.stream(self._next)
            if stream.first != self._next:
                self._lose(f"{self._where.shown} did not keep what was read while it could not be reached")
            self._next = stream.first
            for block in stream.blocks:
                if self._stop.is_set():
                    break
                self._gone = None
                self._take(block)
        except SensorError as error:
            return error.reason
        return f"{self._where.shown} closed the connection"

    def _take(self, block: bytes) -> None:
        ahead_ns = int(self.ahead()[0])
        for t_ns, value, index, code, uncertainty_ns in RECORD.iter_unpack(block):
            if index == NO_CHANNEL:
                continue
            self._next += 1
            number = self._place.get(index)
            if number is None or not 0 <= t_ns < 2**62:
                continue
            if code:
                self._ask_why(number)
            self._lost.discard(number)
            self._last_ns[number] = told_ns = t_ns - self._shift_ns
            self._told[number].append(Told(told_ns, value, code, uncertainty_ns, t_ns - ahead_ns))

    def _ask_why(self, number: int) -> None:
        """Find what the other side says of a failure."""
        name = self.channels[number].name.partition("/")[2]
        with suppress(SensorError), Link(self._where, self._token) as link:
            failures = link.channels().get("failures")
            found = [f for f in failures if isinstance(f, dict)] if isinstance(failures, list) else []
            told = [str(f.get("reason"))[:LONGEST_NAME] for f in found if f.get("channel") == name]
            self._why[number] = told[-1] if told else ""

    def _lose(self, reason: str) -> None:
        """Record once of every channel that from its last reading on nobody knows what it read."""
        for number in self._place.values():
            lost_ns = self._last_ns[number] + 1
            if number not in self._lost and self._last_ns[number]:
                self._lost.add(number)
                self._why[number] = reason
                self._told[number].append(Told(lost_ns, float("nan"), STATUS_CODES["lost"], 0, lost_ns))

    def _begin_anew(self) -> None:
        """Go on with another process there, which reads the same channels. Raises SensorError where it does not."""
        with Link(self._where, self._token) as link:
            facts = link.channels()
            trips = first_trips(link)
        entries = [entry for entry in told_channels(facts) if "index" in entry]
        names = [f"{self._name}/{entry['name']}" for entry in entries]
        place = {channel.name: number for number, channel in enumerate(self.channels)}
        before = {self.channels[number].name for number in self._place.values()}
        if set(names) != before:
            raise SensorError("lost", f"{self._where.shown} was started anew and reads other channels")
        self._lose(f"{self._where.shown} was started anew")
        self._place = {entry["index"]: place[name] for entry, name in zip(entries, names, strict=True)}
        self._instance, self._next = facts.get("instance"), _number(facts.get("oldest"))
        if facts.get("boot") != self._boot or self._boot is None:  # its clock began anew
            self._boot, self._shift_ns = facts.get("boot"), round(sum(bounds(trips, 0)) / 2)
            self._lately = deque(trips, LATELY)


def open_sensor(address: str, name: str) -> Sensor:
    """Open the sensors at `http://HOST:PORT`, whose channels begin with `name`. Raises UsageError for another text."""
    where = where_of(address, PORT, credentials=TOKEN)
    try:
        return RemoteSensor(where, name, os.environ.get(TOKEN) or None)
    except SensorError as error:
        hint = f"on {where.host}: ipw sensors serve --listen 0.0.0.0:{where.port}"
        return missing_there(name, name, "system", error.status, error.reason, hint)


def told_channels(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check what a machine says of its channels. Raises SensorError where it cannot be that."""
    entries = facts.get("channels")
    if not isinstance(entries, list) or len(entries) > MOST_CHANNELS:
        raise SensorError("unsupported", "the other side tells no channels")
    for entry in entries:
        wrong = misfit(entry, FACTS)
        name = "" if wrong else str(entry.get("name"))
        if wrong or not 0 < len(name) <= LONGEST_NAME or entry.get("clock") or entry.get("host"):
            raise SensorError("unsupported", f"a channel of the other side cannot be used: {wrong or 'its name'}")
    if len({entry["name"] for entry in entries}) < len(entries):
        raise SensorError("unsupported", "two channels of the other side have one name")
    return entries


def first_trips(link: Link) -> list[Trip]:
    """Exchange some messages with the other side, one behind the other. Raises SensorError."""
    trips: list[Trip] = []
    end_ns = now_ns() + int(FIRST_S * 1e9)
    while len(trips) < FEWEST_TRIPS or (len(trips) < MOST_TRIPS and now_ns() < end_ns):
        trips.append(link.trip())
    return trips


def bounds(trips: Sequence[Trip], shift_ns: int) -> tuple[int, int]:
    """How far the other clock, less `shift_ns`, is ahead of ours at least and at most, by exchanges of one moment."""
    least = max(trip.there_ns - trip.here_ns for trip in trips) - shift_ns
    most = min(trip.there_ns - trip.sent_ns for trip in trips) - shift_ns
    return least, most


def _middle(trips: Sequence[Trip]) -> tuple[float, float]:
    least, most = bounds(trips, 0)
    return (least + most) / 2, abs(most - least) / 2


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**62 else 0
