"""The parent's side of the sampler: start it, know that it is ready, stop it, and learn what it cost or why it died."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from ipw.errors import USAGE, IpwError, UsageError
from ipw.processes import environment, python
from ipw.runs.files import appending

START_TIMEOUT_S = 60.0
"""NVML on eight GPUs without persistence mode takes many seconds to start."""
STOP_TIMEOUT_S, END_TIMEOUT_S = 20.0, 10.0
"""It waits for sensors at the end, longer where it was held up; then it only has to end."""
LOG = "sampler.log"


class Sampler:
    """A running sampler. Its readings are in `power.bin` of the run directory, at most half a second behind."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, channels: list[dict[str, Any]]) -> None:
        self.channels = channels
        """What the machine has: `Channel.as_dict()`, with the `index` in `power.bin` of those that are read."""
        self.pid = process.pid
        self._process = process
        self._log = log
        self._stats: dict[str, Any] | None = None

    @classmethod
    def start(cls, folder: Path, sensors: str = "auto", own: Sequence[int] = ()) -> Self:
        """Start sampling into `folder`, and wait until every channel was read once and every counter has ticked.

        `own` are processes whose work is the run's, beside this one and what it starts. Raises UsageError for a sensor
        that nobody knows, IpwError where the sampler does not start.
        """
        log = folder / LOG
        command = python("ipw.profilers.sampler.process", "--out", str(folder), "--sensors", sensors)
        command += ["--own", *map(str, own)] if own else []
        try:
            with appending(log) as stderr:  # its own session: Ctrl-C in the terminal stops the parent, which stops it
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=environment(),
                    start_new_session=True,
                )
        except OSError as error:
            raise IpwError(f"the sampler cannot be started: {error}") from None
        sampler = cls(process, log, [])
        try:
            greeting = sampler._hear(START_TIMEOUT_S)
        except BaseException:  # Ctrl-C while it starts
            sampler._end(1.0)
            raise
        if greeting is None or "channels" not in greeting:
            raise sampler._not_started(greeting or {})
        sampler.channels = greeting["channels"]
        return sampler

    def alive(self) -> bool:
        """Whether it still samples."""
        return self._stats is None and self._process.poll() is None

    def stop(self) -> dict[str, Any]:
        """Stop after the next tick of every counter. Returns its statistics; harmless to call twice.

        They are `cpu_s` over `wall_s`, and `startup_cpu_s` before that; `reads`, `records`, `wakeups`, `late_wakeups`,
        `max_late_s`, `ticks`, `ticks_watched`, `ticks_missed`, `learned` (channel to `period_s` and `bracket_s`),
        `failures`, and `died` where it did not last: the reason, then perhaps alone.
        """
        if self._stats is None:
            self._process.terminate()
            stats = self._hear(STOP_TIMEOUT_S + self._longest_wait_s())
            code = self._end()
            self._stats = {"died": _cause(code) + self._last_words()} if stats is None else stats
        return self._stats

    def _longest_wait_s(self) -> float:
        """How long it waits for the next news of an exporter."""
        waits = [2 * (c.get("update_period_s") or 0.0) for c in self.channels if c.get("age_periods")]
        return float(max(waits, default=0.0))

    def _hang_up(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _hear(self, timeout_s: float) -> dict[str, Any] | None:
        """Read one line of JSON; `None` where none comes in time."""
        assert self._process.stdout is not None
        line = _read_line(self._process.stdout, timeout_s)
        try:
            heard = json.loads(line)
        except ValueError:
            return None
        return heard if isinstance(heard, dict) else None

    def _end(self, within_s: float = END_TIMEOUT_S) -> int:
        """Make sure that it is gone. Returns how it ended, as subprocess tells it."""
        self._hang_up()
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._log.is_file() and self._log.stat().st_size == 0:
            self._log.unlink()
        return code

    def _not_started(self, greeting: dict[str, Any]) -> IpwError:
        code = self._end()
        if greeting.get("error"):
            kind = UsageError if greeting.get("exit_code") == USAGE else IpwError
            return kind(str(greeting["error"]), greeting.get("hint"))
        return IpwError(f"the sampler did not start: {greeting.get('died') or _cause(code)}{self._last_words()}")

    def _last_words(self) -> str:
        """Give the last line that it wrote to stderr."""
        try:
            lines = self._log.read_text(errors="replace").split("\n")
        except OSError:
            return ""
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""


def _read_line(pipe: IO[bytes], timeout_s: float) -> bytes:
    """Read up to the first newline, the end, or the timeout."""
    line = b""
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            block = os.read(pipe.fileno(), 65536)
            if not block:
                break
            line += block
    return line


def _cause(code: int) -> str:
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    return f"it ended with code {code}"
