"""Whether a server that fails is gone, overloaded, or only fails at a question: what ends a run, and what does not.

A question that failed on its way says little by itself: a connection breaks now and then, some questions are too long
for a server, a busy one turns questions away. So the server is tried before it is given up: whether anybody answers
there at all, and after a few failures in a row by short questions. The run ends only when no answer comes, to these or
to any other. Until then the failed questions are held back: they count when the server turns out to be there, and are
open else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, NoReturn, TypeVar

from ipw.clock import now_ns
from ipw.errors import OutageError
from ipw.workloads.lm.http.failure import TURNED_AWAY
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.servers.outage import Kind, Outage

T = TypeVar("T")
Sign = Literal["life", "unreachable", "failing", "silent", "busy"]

FEW = 3
"""Failures one behind the other, of a kind that one question alone may bring about. What fails at the same moment, as
all that is in flight does when a server dies, counts once."""
MANY = 16
"""Failures at the same moment that are as bad as a few one behind the other."""
PATIENCE_S, BUSY_S, MOST_BUSY_S = 1.0, 30.0, 120.0
"""How long a server is tried that cannot be reached or fails, that turns questions away, and that does so saying how
long it wants to be left alone (`Retry-After`)."""
QUIET_S = 30.0
"""Without a byte of what is on its way, while nobody else is let in."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.05, 1.0
LATE_NS = 25_000_000
"""What is read so soon after a failure may have been sent before it."""
LOOK_S = 0.1
"""Between two looks whether a process of ours still runs."""
TRY_S = 10.0
"""For an answer to a short question."""

SEE_LOG = "see the server's log, and start it again"
HOW: dict[Kind, str] = {
    "unreachable": "cannot be reached any more",
    "failing": "answers no question",
    "silent": "does not answer",
    "busy": "turns every question away",
}

Keep = Callable[[bool], None]
"""Books a question: as failed, or as open because nobody was there to answer it."""


class Tried(NamedTuple):
    """The ways to reach the server."""

    present: Callable[[], Awaitable[str | None]]
    """Finds why nobody answers there at all; `None` where somebody does."""
    ask: Callable[[int, float], Awaitable[Answer]]
    """Puts a short question, by number another one, within so many seconds."""
    waiting: Callable[[], bool]
    """Whether any question is on its way over a connection that is up."""
    heard_ns: Callable[[], int]
    """Says when bytes came last of any answer that is on its way."""
    ended: Callable[[], Outage | None] | None
    """Says how the server's process has ended, where that can be known."""


def sign_of(answer: Answer, stall_s: float) -> Sign:
    """Say what an answer, or the want of one, tells of the server."""
    if answer.failure != "transport":
        return "life"
    if answer.status == "timeout":
        last_ns = answer.last_token_ns
        return "silent" if last_ns is None or answer.end_ns - last_ns >= stall_s * 1e9 else "life"
    status = answer.http_status
    if status is not None and not 200 <= status < 300:
        return "busy" if status in TURNED_AWAY or answer.retry_after_s is not None else "failing"
    return "unreachable"


class Liveness:
    """Follows what comes of the questions of a run, and raises OutageError in `watch` when the server is lost."""

    def __init__(self, what: str, tried: Tried, *, timeout_s: float, stall_s: float) -> None:
        """Follow the server that is called `what`."""
        self._what, self._tried = what, tried
        self._timeout_s, self._stall_s = timeout_s, stall_s
        self._held: list[Keep] = []
        self._in_a_row = self._counted_ns = self._held_ns = 0
        self._calm, self._doubted = asyncio.Event(), asyncio.Event()
        self._calm.set()
        self._answered_ns: int | None = None
        self.last: Sign = "life"
        """What the last question that came to its end said."""

    def take(self, answer: Answer, keep: Keep) -> None:
        """Learn from a question that has come to its end; `keep` books it, now or when more is known."""
        self.last = sign_of(answer, self._stall_s)
        if self.last == "life":
            self._answered_ns = answer.end_ns
            if answer.start_ns > self._held_ns:  # what was sent before a failure says nothing of what is behind it
                self._alive()
            keep(True)
            return
        if not self._held:
            self._held_ns = answer.end_ns
        self._held.append(keep)
        if answer.start_ns >= self._counted_ns:  # sent after the failure before was known
            self._in_a_row, self._counted_ns = self._in_a_row + 1, answer.end_ns
        if self.last == "unreachable" or self._in_a_row >= FEW or len(self._held) >= MANY:
            self._doubt()

    async def calm(self) -> None:
        """Wait until nobody doubts that the server is there."""
        await self._calm.wait()

    async def settled(self) -> None:
        """Wait until it is known of every question that was asked whether it counts."""
        if len(self._held) >= FEW:
            self._doubt()
        await self._calm.wait()
        self._release(counts=True)

    def close(self) -> None:
        """Leave open what is not known to count."""
        self._release(counts=False)

    async def watch(self) -> NoReturn:
        """Look after the server until cancelled. Raises OutageError when it is lost."""
        while True:
            self._check_ended()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._doubted.wait()
            await self.verdict()

    async def verdict(self) -> None:
        """Where it is doubted, try the server until anything shows that it is there.

        Raises OutageError after some patience; who was held up himself has tried a few times too.
        """
        sign, began, pause_s, tries = self.last, time.monotonic(), FIRST_PAUSE_S, 0
        while self._doubted.is_set():
            await self._watched(asyncio.sleep(pause_s))
            patience_s, pause_s = PATIENCE_S, min(2 * pause_s, MOST_PAUSE_S)
            error = await self._watched(self._tried.present()) if sign == "unreachable" else None
            if error is None:
                heard = self._tried.heard_ns() > self._held_ns + LATE_NS
                if heard or (sign == "unreachable" and self._in_a_row < FEW):
                    self._settle()
                    return
                timeout_s = self._timeout_s if sign == "silent" else min(self._timeout_s, TRY_S)
                answer = await self._watched(self._tried.ask(tries, timeout_s))
                sign, error = sign_of(answer, self._stall_s), answer.error
                if sign == "life":
                    self._alive()
                    return
                patience_s, pause_s = _patience(sign, answer.retry_after_s, pause_s)
            tries += 1
            late = time.monotonic() - began + pause_s > patience_s and (tries >= FEW or sign != "unreachable")
            if late and sign != "life" and self._doubted.is_set() and not self._under_way(began):
                failed = len(self._held)
                more = f"in {failed} question{'s'[: failed != 1]} and {tries} more {'try' if tries == 1 else 'tries'}"
                self.lost(sign, f"{error} ({more})")

    def _under_way(self, began: float) -> bool:
        """Whether a question is on its way, of which something was heard not too long ago, or since `began`.

        A process that dies takes all its connections with it: what is on its way may yet be answered.
        """
        quiet_s = min(time.monotonic() - began, (now_ns() - self._tried.heard_ns()) / 1e9)
        return self._tried.waiting() and quiet_s < QUIET_S

    def lost(self, kind: Kind, error: str | None, hint: str = SEE_LOG) -> NoReturn:
        """Raise OutageError, with the last error that there was."""
        self._raise(Outage(kind, self._what, f"{HOW[kind]}: {error}"), hint)

    def _check_ended(self) -> None:
        if self._tried.ended and (outage := self._tried.ended()):
            self._raise(outage, SEE_LOG)

    def _raise(self, outage: Outage, hint: str) -> NoReturn:
        moment = {"t_ns": now_ns(), "last_answer_ns": self._answered_ns}
        raise OutageError(outage.told, outage._asdict() | moment, hint)

    async def _watched(self, trying: Awaitable[T]) -> T:
        """Wait for a try, and look meanwhile whether the server's process still runs."""
        trial = asyncio.ensure_future(trying)
        try:
            while not trial.done():
                self._check_ended()
                await asyncio.wait({trial}, timeout=LOOK_S)
            return trial.result()
        finally:
            trial.cancel()

    def _doubt(self) -> None:
        self._calm.clear()
        self._doubted.set()

    def _settle(self) -> None:
        """Doubt no more, but remember how many failed: somebody is there, who may yet answer no question."""
        self._release(counts=True)
        self._doubted.clear()
        self._calm.set()

    def _alive(self) -> None:
        self._in_a_row = 0
        self._settle()

    def _release(self, *, counts: bool) -> None:
        held, self._held, self._held_ns = self._held, [], 0
        for keep in held:
            keep(counts)


def _patience(sign: Sign, retry_after_s: float | None, pause_s: float) -> tuple[float, float]:
    """How long a server is tried in all, and how long it is left alone before the next try."""
    if sign == "silent":
        return 0.0, pause_s  # the try was as long as a question may take
    if sign != "busy":
        return PATIENCE_S, pause_s
    if retry_after_s is None:
        return BUSY_S, pause_s
    return max(BUSY_S, min(retry_after_s + MOST_PAUSE_S, MOST_BUSY_S)), max(pause_s, retry_after_s)
