"""The sensor that most sensors are: channels, each with the function that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from ipw.profilers.base import Channel, Reading, Scope, SensorError, absent
from ipw.runs.readings import Status

Read = Callable[[], Reading | None]
"""Reads one channel, as `Sensor.read` does."""
Source = tuple[Channel, Read]


class Sources:
    """A sensor made of sources."""

    def __init__(self, sources: Iterable[Source], close: Callable[[], None] | None = None) -> None:
        """`close` lets go of what the sources share; it is called once."""
        pairs = list(sources)
        self.channels: Sequence[Channel] = [channel for channel, _ in pairs]
        self.reads: Sequence[Read] = [read for _, read in pairs]
        """For the sampler, which closes a sensor last: each layer of calls is felt where caches are cold."""
        self._close = close
        self._open = True

    def read(self, index: int) -> Reading | None:
        """Read one channel."""
        if not self._open:
            raise SensorError("lost", "the sensor is closed")
        return self.reads[index]()

    def close(self) -> None:
        """Let go of the device."""
        if self._open and self._close is not None:
            with suppress(Exception):  # what was read is kept, even where the device is gone by now
                self._close()
        self._open = False


def probed(channel: Channel, read: Read, hint: str | None = None) -> Source:
    """Try a source once; one that cannot be read says so in its channel, with `hint`, whatever it is that it raises."""
    try:
        read()
    except SensorError as error:
        return unreadable(replace(channel, status=error.status, reason=error.reason, hint=hint))
    except Exception as error:  # noqa: BLE001 - one bad call costs its own channel
        return unreadable(replace(channel, status="lost", reason=f"{type(error).__name__}: {error}", hint=hint))
    return channel, read


def unreadable(channel: Channel) -> Source:
    """Make a source of a channel that already says why it cannot be read."""

    def read() -> Reading | None:
        raise SensorError(channel.status, channel.reason or "")

    return channel, read


def missing(sensor: str, scope: Scope, status: Status, reason: str, hint: str | None = None) -> Sources:
    """Make the sensor that is not there."""
    return Sources([unreadable(absent(sensor, scope, status, reason, hint))])


def missing_there(
    host: str, sensor: str, scope: Scope, status: Status, reason: str, hint: str | None = None
) -> Sources:
    """Make the sensor of another machine that is not there."""
    lost = missing(sensor, scope, status, reason, hint)
    lost.channels = [replace(channel, host=host, here=False) for channel in lost.channels]
    return lost
