"""The sampler: a process of its own that reads the sensors and appends their readings to the run's `power.bin`.

`ipw.profilers.sampler.handle` starts it as `python -m ipw.profilers.sampler.process --out DIR --sensors auto`. On
stdout it says one line of JSON when it is ready (`{"channels", "pid"}`, or `{"error", "hint", "exit_code"}`), and one
when it is done: what it cost, what it read and what went wrong. It ends when its stdin does, on SIGTERM, or when its
parent is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import add, attrgetter
from pathlib import Path
from typing import Any, TextIO

from ipw.clock import now_ns
from ipw.errors import FAILURE, OK, IpwError
from ipw.profilers.base import Channel, Sensor
from ipw.profilers.discovery import close, find
from ipw.profilers.host_load import open_load
from ipw.profilers.nvidia.gpu_load import open_gpu_load
from ipw.profilers.sampler.lane import MOST_FAILURES, Lane, PowerFile, Sink
from ipw.profilers.sampler.relay import Relay, Teller
from ipw.profilers.sampler.ticks import MS, Cadence, TickFollower
from ipw.profilers.sampler.turns import Turns
from ipw.profilers.sources import Sources
from ipw.runs.readings import READINGS

FLUSH_NS = 400 * MS
ORPHAN_CHECK_NS = 1_000 * MS
LONGEST_SLEEP_NS = 200 * MS
"""So that a stop is noticed soon even where nothing is due."""
SETTLE_NS = 1_000 * MS
"""At most so long it waits, at either end, for every counter to tick, unless one says that it does so more seldom."""
LONGEST_SETTLE_NS, UNTOLD_NS, BATCHED_NS = 4_000 * MS, 3_000 * MS, 500 * MS
"""What is published seldom is waited for up to the first of these. What does not say how often: until it moves, up
to the second, and at the end again where it moves more seldom than the third."""
ASK_AGAIN_NS = 30 * MS
"""Meanwhile, what had nothing new to tell is asked again so soon."""
QUIET_NS = 3 * MS // 2
"""What can wait keeps so far away from the next read that cannot."""
HELD_UP_NS = 4_000 * MS
"""By how long it overslept meanwhile it waits longer, at most: what ticked then was not seen."""
RELAY_NS, RELAY_SETTLE_NS = 50 * MS, 6_000 * MS
"""How often what other machines told is taken, and how long it is waited for at either end, at most."""
DUE_NS, PATIENCE_NS = attrgetter("due_ns"), attrgetter("patience_ns")
LATE_NS = MS
"""Waking later than this after the time that was asked for is counted."""


class SamplerLoop:
    """The loop: sleep until a read is due, read all that is due by then, and hand it to the file now and then."""

    def __init__(self, sensors: Sequence[Sensor], file: Sink, start_ns: int) -> None:
        self.channels: list[dict[str, Any]] = []
        """For the greeting: every channel, with its index in the file where it is read."""
        self._file = file
        self._failures: deque[dict[str, Any]] = deque(maxlen=MOST_FAILURES)
        self._lanes: list[Lane | Relay] = []
        self._followed: list[tuple[TickFollower, Lane]] = []
        polled: dict[int, list[Lane | Relay]] = {}
        for sensor in sensors:
            for number, channel in enumerate(sensor.channels):
                if channel.status != "ok":
                    self.channels.append(channel.as_dict())
                    continue
                index = len(self._lanes)
                self.channels.append(channel.as_dict() | {"index": index})
                if isinstance(sensor, Teller):
                    relay = Relay(index, channel, number, sensor, file, self._failures)
                    self._lanes.append(relay)
                    polled.setdefault(RELAY_NS, []).append(relay)
                    continue
                read = sensor.reads[number] if isinstance(sensor, Sources) else partial(sensor.read, number)
                lane = Lane(index, channel, read, file, self._failures)
                self._lanes.append(lane)
                poll_ns = max(int(channel.poll_s * 1e9), MS)
                if channel.ticks:
                    self._followed.append((TickFollower(start_ns, poll_ns, costly=channel.shape is not None), lane))
                else:
                    polled.setdefault(poll_ns, []).append(lane)
        leeway = 1.0 if self._followed else 0.0
        self._polled = [(Cadence(start_ns, ns, int(leeway * ns)), lanes) for ns, lanes in polled.items()]
        self._followers = [follower for follower, _ in self._followed]
        self._plan_polls()
        self._plan_followed()
        self._wakeups = self._late_wakeups = self._max_late_ns = self._held_up_ns = 0
        self._turns = Turns(self._followers)

    def run(self, until: Callable[[], bool]) -> None:
        """Sample until the condition holds; it is looked at after each waking. Raises OSError (disk full)."""
        due_ns = now_ns()
        flush_ns = due_ns + FLUSH_NS
        while not until():
            now = self._sleep(min(due_ns, self._polled_due_ns))  # the condition may have asked for a poll
            self._read(now)
            due_ns = self._due_ns
            if now >= flush_ns:
                self._file.flush()
                flush_ns = now + FLUSH_NS
        self._file.flush()

    def settle(self, *, first: bool = False) -> None:
        """Read everything once more, and on until each counter that ticks was seen to. Raises OSError (disk full).

        What is published in batches is waited for, so that the end of the run is within its readings; at `first` its
        newest batch does. So is a counter that does not say how often it is renewed: until it moves, and at the end,
        where it moves in batches, once more.
        """
        start_ns = now_ns()
        since_ns = 0 if first else start_ns
        untold = [lane for _, lanes in self._polled for lane in lanes if _may_be_batched(lane.channel)]
        batched = untold if first else [lane for lane in untold if lane.changed_ns >= 0 and _wait_ns(lane) > BATCHED_NS]
        periods_s = [lane.channel.update_period_s or 0.0 for _, lanes in self._polled for lane in lanes]
        waits_ns = [*(int(1.2e9 * each) for each in periods_s), *map(_wait_ns, batched)]
        relays = [lane for lane in self._lanes if isinstance(lane, Relay)]
        limit_ns = max([SETTLE_NS, *(min(each, LONGEST_SETTLE_NS) for each in waits_ns)])
        limit_ns = max([limit_ns, *(_wait_ns(lane) for lane in batched if lane.channel.age_periods)])
        limit_ns = max(limit_ns, RELAY_SETTLE_NS) if relays else limit_ns
        held_up_ns = self._held_up_ns
        for follower, _ in self._followed:
            follower.watch_now(start_ns)
        self._plan_followed()

        def settled() -> bool:
            now, more_ns = now_ns(), min(self._held_up_ns - held_up_ns, HELD_UP_NS)
            for cadence, lanes in self._polled:
                if any(not lane.failing and (lane.read_ns < since_ns or late(lane)) for lane in lanes):
                    cadence.due_ns = min(cadence.due_ns, now + ASK_AGAIN_NS)
            self._plan_polls()
            moved = all(lane.failing or not late(lane) for lane in batched)
            return (moved and self._settled(start_ns, since_ns)) or now - start_ns > limit_ns + more_ns

        def late(lane: Lane | Relay) -> bool:
            return lane in batched and lane.changed_ns < since_ns

        for cadence, _ in self._polled:
            cadence.due_ns = start_ns
        self._plan_polls()
        self.run(settled)
        for relay in relays:
            relay.give_up(since_ns)
        self._file.flush()

    def read(self, now: int) -> int:
        """Read what is due or soon will be, and where nothing else is for a while, what may be read by now.

        Returns when the next read is due.
        """
        self._read(now)
        return min(self._due_ns, self._polled_due_ns)

    def _read(self, now: int) -> None:
        more = self._follow(now, now + QUIET_NS)
        quiet = self._due_ns - now > QUIET_NS
        if quiet and more:
            self._follow(now, sys.maxsize)
        if now >= self._turns.due_ns and self._turns.plan(now):
            self._plan_followed()
        if now >= self._soonest_ns:
            for cadence, lanes in self._polled:
                if cadence.due_ns - (cadence.slack_ns if quiet else 0) <= now:
                    for lane in lanes:
                        lane.poll(now)
                    cadence.advance(now)
            self._plan_polls()

    def _plan_polls(self) -> None:
        """Note when the next poll is due, and how soon one does as well: most wakings are before that."""
        self._polled_due_ns = self._soonest_ns = sys.maxsize
        for cadence, _ in self._polled:
            self._polled_due_ns = min(self._polled_due_ns, cadence.due_ns)
            self._soonest_ns = min(self._soonest_ns, cadence.due_ns - cadence.slack_ns)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """What could not be read of late, and why."""
        return list(self._failures.copy())  # at once: a thread may ask while one is added

    def stats(self) -> dict[str, Any]:
        """What was read, what was missed, and why."""
        return {
            "reads": sum(lane.reads for lane in self._lanes),
            "records": self._file.records,
            "wakeups": self._wakeups,
            "late_wakeups": self._late_wakeups,
            "max_late_s": self._max_late_ns / 1e9,
            "ticks": sum(follower.ticks for follower, _ in self._followed),
            "ticks_watched": sum(follower.watched for follower, _ in self._followed),
            "ticks_missed": sum(follower.missed for follower, _ in self._followed),
            "learned": {
                lane.channel.name: {"period_s": follower.period_ns / 1e9, "bracket_s": follower.bracket_ns / 1e9}
                for follower, lane in self._followed
                if follower.period_ns is not None
            },
            "failures": self.failures,
        }

    def _sleep(self, due_ns: int) -> int:
        """Wait until the next read is due. Returns the time."""
        now = now_ns()
        if due_ns <= now:
            return now
        time.sleep(min(due_ns - now, LONGEST_SLEEP_NS) / 1e9)
        now = now_ns()
        self._wakeups += 1
        if now - due_ns > LATE_NS:
            self._late_wakeups += 1
            self._max_late_ns = max(self._max_late_ns, now - due_ns)
            self._held_up_ns += now - due_ns
        return now

    def _follow(self, now: int, until_ns: int) -> bool:
        """Read each of the followed that may be read by now and is due until then. Returns whether any may be yet."""
        any_read = more = False
        for follower, lane in self._followed:
            due_ns = follower.due_ns
            if due_ns - follower.slack_ns > now:
                continue
            if due_ns <= until_ns:
                changed = lane.poll(now)
                follower.observe(max(lane.read_ns, now), changed)
                any_read, due_ns = True, follower.due_ns
            more |= due_ns - follower.slack_ns <= now
        if any_read:
            self._plan_followed()
        return more

    def _plan_followed(self) -> None:
        """Note when the last of those is due for which the others can wait."""
        if not self._followers:
            self._due_ns = sys.maxsize
            return
        dues_ns = list(map(DUE_NS, self._followers))
        latest_ns, self._due_ns = min(map(add, dues_ns, map(PATIENCE_NS, self._followers))), max(dues_ns)
        if self._due_ns > latest_ns:
            self._due_ns = max(due_ns for due_ns in dues_ns if due_ns <= latest_ns)

    def _settled(self, start_ns: int, since_ns: int) -> bool:
        """Whether each followed counter was watched since `start_ns`, and each other channel read since `since_ns`."""
        return all(
            lane.failing or (lane.read_ns if follower.resting else follower.watched_ns) >= start_ns
            for follower, lane in self._followed
        ) and all(lane.failing or lane.read_ns >= since_ns for _, lanes in self._polled for lane in lanes)


def _may_be_batched(channel: Channel) -> bool:
    """Whether a counter of the whole is renewed seldom, or does not say how often."""
    whole = channel.kind == "counter" and channel.included_in is None
    return (
        whole and not channel.ticks and (channel.update_period_s is None or channel.update_period_s * 1e9 > BATCHED_NS)
    )


def _wait_ns(lane: Lane | Relay) -> int:
    """How long to wait for a counter's next move, by how long it took it so far, or as it says."""
    told_ns = int(1e9 * (lane.channel.update_period_s or 0.0))
    return max(lane.longest_ns, told_ns) * 6 // 5 or UNTOLD_NS


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample until told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ipw.profilers.sampler.process", description="Read sensors into a file."
    )
    parser.add_argument("--out", type=Path, required=True, help="the run directory")
    parser.add_argument("--sensors", default="auto", help="names, separated by commas")
    parser.add_argument("--own", type=int, nargs="*", default=[], help="processes of this run beside the parent")
    asked = parser.parse_args(arguments)
    gc.disable()  # NVIDIA's binding makes thousands of classes, through which it would look again and again
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the two lines
    try:
        return _sample(asked.out, asked.sensors, [os.getppid(), *asked.own], out)
    finally:
        with contextlib.suppress(BrokenPipeError):  # what a parent that is gone did not hear
            out.close()


def _sample(folder: Path, selection: str, own: Sequence[int], out: TextIO) -> int:
    stopped = _stop_condition()
    try:
        sensors = find(selection)
        sensors += [load for load in (open_load(own), open_gpu_load(sensors, own)) if load]
        file = PowerFile(folder / READINGS)
    except IpwError as error:
        _say(out, {"error": error.message, "hint": error.hint, "exit_code": error.exit_code})
        return error.exit_code
    except OSError as error:
        _say(out, {"error": f"cannot write {folder / READINGS}: {error.strerror}", "hint": None, "exit_code": FAILURE})
        return FAILURE
    sampling = SamplerLoop(sensors, file, now_ns())
    gc.freeze()  # all that there is now stays
    gc.enable()
    died = None
    start_ns, start_cpu_s = now_ns(), time.process_time()
    try:
        sampling.settle(first=True)
        _say(out, {"channels": sampling.channels, "pid": os.getpid()})
        sampling.run(stopped)
        sampling.settle()
    except OSError as error:
        died = f"cannot write {folder / READINGS}: {error.strerror}"
    cost = {"cpu_s": time.process_time() - start_cpu_s, "wall_s": (now_ns() - start_ns) / 1e9}
    cost["startup_cpu_s"] = start_cpu_s
    _say(out, cost | sampling.stats() | ({"died": died} if died else {}))
    file.close()
    close(sensors)
    return FAILURE if died else OK


def _stop_condition() -> Callable[[], bool]:
    """Return what tells whether to stop: SIGTERM came or, looked at now and then, stdin ended or the parent is gone.

    The parent may have children that hold the other end of stdin open after it, hence the last.
    """
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))
    parent, check_ns = os.getppid(), 0
    stdin = select.poll()
    stdin.register(0, select.POLLIN)

    def stopped() -> bool:
        nonlocal check_ns
        if now_ns() < check_ns or terminated:
            return bool(terminated)
        check_ns = now_ns() + ORPHAN_CHECK_NS
        return bool(stdin.poll(0) or os.getppid() != parent)

    return stopped


def _say(out: TextIO, line: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # a parent that is gone hears nothing
        out.write(json.dumps(line) + "\n")
        out.flush()


if __name__ == "__main__":
    sys.exit(main())
