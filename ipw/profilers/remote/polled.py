"""Values that somebody else has read, asked for again and again: exporters, and what gathers from them."""

from __future__ import annotations

import os
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, SensorError
from ipw.profilers.remote.link import BROKEN, told_of
from ipw.profilers.remote.where import Where

TOKEN = "IPW_EXPORTER_TOKEN"  # noqa: S105 - the name of the variable
TIMEOUT_S, MOST_BYTES = 5.0, 64 << 20
LOOK_S, LOOK_EVERY_S = 2.5, 0.2
"""At opening it is looked so long, at most, whether values are renewed soon."""
POLL_S, SHORTEST_POLL_S = 1.0, 0.05

Values = Mapping[Any, float]


class Polled:
    """Asks in a thread of its own, and gives each channel what was told of it last."""

    def __init__(
        self,
        channels: Sequence[Channel],
        keys: Sequence[object],
        ask: Callable[[], Values],
        poll_s: float,
        close: Callable[[], None],
    ) -> None:
        """`keys[n]` is what `channels[n]` is called in what `ask` gives, which raises SensorError."""
        self.channels = channels
        self._keys, self._ask, self._poll_s, self._close = keys, ask, poll_s, close
        self._told: tuple[int, int, Values] | SensorError | None = None
        self._given: list[object] = [None] * len(channels)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="ipw-exporter", daemon=True)
        self._thread.start()

    def read(self, index: int) -> Reading | None:
        """Give the newest value of a channel once. Raises SensorError."""
        told = self._told
        if told is None or told is self._given[index]:
            return None
        self._given[index] = told
        if isinstance(told, SensorError):
            raise told
        t_ns, half_ns, values = told
        value = values.get(self._keys[index])
        if value is None:
            raise SensorError("lost", "it is no longer told")
        return Reading(t_ns, value, half_ns)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            before = now_ns()
            try:
                values = self._ask()
                half_ns = (now_ns() - before) // 2
                self._told = before + half_ns, half_ns, values
            except SensorError as error:
                self._told = error
            self._stop.wait(max(self._poll_s - (now_ns() - before) / 1e9, SHORTEST_POLL_S))
        self._close()


def watched(ask: Callable[[], Values], first: Values) -> float | None:
    """Watch for a moment how often values are renewed, in seconds; `None` where it is not to be seen so soon."""
    changes: list[int] = []
    before, end_ns = first, now_ns() + int(LOOK_S * 1e9)
    while len(changes) < 3 and now_ns() < end_ns:
        time.sleep(LOOK_EVERY_S)
        told = ask()
        if any(told.get(key, value) != value for key, value in before.items()):
            changes.append(now_ns())
        before = told
    return (changes[-1] - changes[0]) / 1e9 / (len(changes) - 1) if len(changes) > 1 else None


def renewed(channel: Channel, period_s: float | None, source: str, usual_s: float) -> Channel:
    """Say of a channel how often it is renewed, as found or else as is usual, and what that allows."""
    if period_s is None:
        told = f"{source} renews it more seldom than every {LOOK_S / 2:g} s, usually every {usual_s:g} s"
    else:
        told = f"{source} renews it every {max(period_s, 0.1):.2g} s"
    note = f"{told}: for runs that last many times as long, not for single queries"
    return replace(
        channel,
        update_period_s=period_s or usual_s,
        poll_s=poll_of(period_s),
        note="; ".join(each for each in (channel.note, note) if each),
    )


def poll_of(period_s: float | None) -> float:
    """How often to ask for what is renewed so often."""
    return POLL_S if period_s is None else max(min(period_s / 4, POLL_S), SHORTEST_POLL_S)


class Http:
    """Gets from one host over a connection that is kept, without proxies and redirects."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._connection: HTTPConnection | None = None

    def get(self, target: str) -> bytes:
        """Get a path. Raises SensorError, without secrets."""
        shown = self._where.shown
        headers = {"Accept": "text/plain;version=0.0.4, application/json;q=0.9", **_authorization()}
        try:
            if self._connection is None:
                kind = HTTPSConnection if self._where.secure else HTTPConnection
                self._connection = kind(self._where.host, self._where.port, timeout=TIMEOUT_S)
            self._connection.request("GET", target, headers=headers)
            response = self._connection.getresponse()
            body = response.read(MOST_BYTES)
        except BROKEN as error:
            self.close()
            raise SensorError("lost", f"{shown}: {told_of(error)}") from None
        self._refuse(response)
        return body

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refuse(self, response: HTTPResponse) -> None:
        if response.status in (401, 403):
            self.close()
            raise SensorError("permission", f"{self._where.shown}: it asks for a token, or USER:PASSWORD: {TOKEN}")
        if response.status not in (200, 400, 422):  # Prometheus says in JSON what is wrong with a query
            self.close()
            raise SensorError("lost", f"{self._where.shown}: HTTP status {response.status}")


def _authorization() -> dict[str, str]:
    token = os.environ.get(TOKEN, "")
    if not token:
        return {}
    basic = ":" in token
    return {"Authorization": f"Basic {b64encode(token.encode()).decode()}" if basic else f"Bearer {token}"}
