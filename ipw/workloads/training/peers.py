"""Processes of one machine that train together, one byte a slope; they may join late, and may be lost.

The first process is the hub: in every step it gathers the bytes of all and sends them all to each. Who is gone counts
as a slope of nothing in that step, and from the next step on the others are without it. Who comes later is let in
before a step: it gets the bytes of all steps so far and makes the weights of them itself, from the same initial
weights, while the others wait. Without the hub there is no training: it keeps the journal.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ipw.clock import now_ns
from ipw.errors import IpwError

DOOR = 16
"""Steps between two moments at which newcomers are let in."""
TIMEOUT_S = 60.0
"""A peer that is silent for so long is lost."""
HERE = "127.0.0.1"
HELLO = struct.Struct("<32sh")
"""Key and rank; a rank of -1 comes late."""
HELLO_S = 5.0
LATE = -1
PLACE = struct.Struct("<H")
READY = b""


class Member(NamedTuple):
    """A peer, as the hub sees it."""

    name: int
    """Its rank at first, which stays when others go."""
    line: Connection


class Replay(NamedTuple):
    """What a peer that came late did before it took part."""

    name: int
    steps: int
    start_ns: int
    end_ns: int


class Peers:
    """This process among its peers."""

    rank: int
    """Place among those who are there now, from 0."""

    def __init__(self, store: Path, on_replay: Callable[[Replay], None] | None = None, *, admit_from: int = 0) -> None:
        """Know where the others are to be met: at the file `store`; from step `admit_from` on newcomers are let in."""
        self._store, self._on_replay, self._admit_from = store, on_replay, admit_from
        self._hub: Connection | None = None
        self._server: socket.socket | None = None
        self._key = b""
        self._members: list[Member] = []
        self._waiting: list[Connection] = []
        self._names = 0
        self.lost: list[tuple[int, int]] = []
        """Peers that were lost: their names, and after how many exchanges."""
        self._exchanges = 0

    def found(self, rank: int, size: int) -> None:
        """Start as one of the first `size` members. Raises IpwError when they do not come."""
        if rank:
            self._hub = self._connect(rank)
            self._listen_to_hub()
            return
        self.rank, self._names = 0, size
        self._open()
        founders: dict[int, Connection] = {}
        deadline = time.monotonic() + TIMEOUT_S
        while len(founders) < size - 1:
            named = self._accept(deadline - time.monotonic())
            if named is None:
                raise IpwError(f"the {size} peers did not meet: {len(founders) + 1} of them came in {TIMEOUT_S:.0f} s")
            (self._waiting.append(named[1]) if named[0] == LATE else founders.update([named]))
        self._members = [Member(name, founders[name]) for name in sorted(founders)]
        for place, member in enumerate(self._members, 1):
            _send(member.line, PLACE.pack(place))

    def join(self) -> list[bytes]:
        """Come to a group that trains; returns the bytes of all steps until then. Call `ready` after the replay."""
        self._hub = self._connect(LATE)
        return _unpacked(self._listen_to_hub())

    def ready(self) -> None:
        """Say that the weights are those of the others."""
        assert self._hub is not None
        _send(self._hub, READY)

    def exchange(self, codes: bytes) -> bytes:
        """Gather the bytes of all, in the order of their ranks. Raises IpwError when the hub is lost.

        All peers have as many bytes; those of a peer that is lost in this step are 0.
        """
        if self._hub is not None:
            _send(self._hub, codes)
            return self._listen_to_hub()
        self._exchanges += 1
        deadline = time.monotonic() + TIMEOUT_S
        told = [(member, _receive(member.line, len(codes), deadline)) for member in self._members]
        every = codes + b"".join(bytes(len(codes)) if theirs is None else theirs for _, theirs in told)
        for member, theirs in told:
            if theirs is None:
                member.line.close()
                self.lost.append((member.name, self._exchanges - 1))
        self._members = [member for member, theirs in told if theirs is not None]
        for place, member in enumerate(self._members, 1):
            _send(member.line, PLACE.pack(place) + every)
        return every

    def open_door(self, log: Sequence[bytes]) -> None:
        """Let in those who wait, with the bytes so far, and wait until they are ready; called before every step."""
        after = len(log) - self._admit_from
        if self._server is None or after < 0 or after % DOOR:
            return
        while (named := self._accept(0.0)) is not None:
            self._waiting.append(named[1])
        for line in self._waiting:
            start_ns = now_ns()
            _send(line, PLACE.pack(len(self._members) + 1) + _packed(log))
            with suppress(OSError):
                line.poll(None)  # until it is ready, or gone, which the next exchange will tell
            self._members.append(Member(self._names, line))
            if self._on_replay:
                self._on_replay(Replay(self._names, len(log), start_ns, now_ns()))
            self._names += 1
        self._waiting = []

    def close(self) -> None:
        """Leave."""
        for line in (self._hub, *(member.line for member in self._members), *self._waiting):
            if line is not None:
                line.close()
        if self._server is not None:
            self._server.close()

    def _open(self) -> None:
        self._server = socket.create_server((HERE, 0))
        self._key = secrets.token_bytes(32)
        partial = self._store.with_name(f"{self._store.name}.part")
        partial.touch(0o600)
        partial.write_text(json.dumps({"port": self._server.getsockname()[1], "key": self._key.hex()}))
        partial.replace(self._store)

    def _accept(self, wait_s: float) -> tuple[int, Connection] | None:
        """Take in the next who knows the key: its rank and its line; `None` when nobody came in time."""
        assert self._server is not None
        deadline = time.monotonic() + wait_s
        while True:
            self._server.settimeout(max(deadline - time.monotonic(), 0.0))
            try:
                made, _ = self._server.accept()
            except OSError:
                return None
            made.setblocking(True)
            line = Connection(made.detach())
            hello = _receive(line, HELLO.size, time.monotonic() + HELLO_S)
            if hello is not None:
                key, rank = HELLO.unpack(hello)
                if hmac.compare_digest(key, self._key):
                    return rank, line
            line.close()

    def _connect(self, rank: int) -> Connection:
        deadline = time.monotonic() + TIMEOUT_S
        while not self._store.exists():
            if time.monotonic() > deadline:
                raise IpwError(f"the peers did not meet: the first of them did not come in {TIMEOUT_S:.0f} s")
            time.sleep(0.01)
        place = json.loads(self._store.read_text())
        try:
            made = socket.create_connection((HERE, place["port"]), TIMEOUT_S)
        except OSError as error:
            raise IpwError(f"the peers did not meet: {error}") from None
        made.setblocking(True)
        line = Connection(made.detach())
        _send(line, HELLO.pack(bytes.fromhex(place["key"]), rank))
        return line

    def _listen_to_hub(self) -> bytes:
        """Hear the own place, and what comes with it."""
        assert self._hub is not None
        try:
            said = self._hub.recv_bytes()
        except (EOFError, OSError):
            raise IpwError("the first peer is gone, and the training with it", "see training.log in the run") from None
        (self.rank,) = PLACE.unpack_from(said)
        return said[PLACE.size :]


def _send(line: Connection, said: bytes) -> None:
    """Send, if there is anybody: the next time that it is listened to tells who is gone."""
    with suppress(OSError):
        line.send_bytes(said)


def _receive(line: Connection, size: int, deadline: float) -> bytes | None:
    """Hear the next message of `size` bytes; `None` where the peer is gone, silent or says something else."""
    try:
        while line.poll(max(deadline - time.monotonic(), 0.0)):
            said = line.recv_bytes(size)
            if said != READY:
                return said if len(said) == size else None
    except (EOFError, OSError):
        pass
    return None


def _packed(log: Sequence[bytes]) -> bytes:
    return b"".join(PLACE.pack(len(codes)) + codes for codes in log)


def _unpacked(packed: bytes) -> list[bytes]:
    log, at = [], 0
    while at < len(packed):
        (size,) = PLACE.unpack_from(packed, at)
        log.append(packed[at + PLACE.size : at + PLACE.size + size])
        at += PLACE.size + size
    return log
