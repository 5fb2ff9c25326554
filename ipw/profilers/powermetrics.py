"""Macs through Apple's `powermetrics`: a program that streams one property list after another."""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from xml.parsers.expat import ExpatError

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Scope, Sensor, SensorError
from ipw.profilers.plist_stream import rails_j, split
from ipw.profilers.sources import missing

INTERVAL_MS = 200
FIRST_WITHIN_S = 5.0
SILENT_AFTER_NS = 3_000_000_000
WRITING_NS = 5_000_000
"""About how long a sample is on its way before it can be read."""
OPTIONS = (
    ("--samplers", "cpu_power,gpu_power,ane_power", "--hide-cpu-duty-cycle"),
    ("--samplers", "cpu_power,gpu_power", "--hide-cpu-duty-cycle"),
    ("--samplers", "cpu_power"),
)
"""Tried in turn: some versions of macOS tell the neural engine within `cpu_power`, and end at a name they lack."""
SCOPES: dict[str, Scope] = {"package": "package", "soc": "soc", "cpu": "core", "gpu": "gpu", "ane": "ane"}
NOTE = "Apple's model of its own chip, which Apple says is not for comparing devices; memory and fabric are left out"
HINT = 'echo "$USER ALL=(root) NOPASSWD: /usr/bin/powermetrics" | sudo tee /etc/sudoers.d/ipw-powermetrics'


def open_sensor() -> Sensor:
    """Start powermetrics, without ever asking for a password, and wait for its first sample."""
    if shutil.which("powermetrics") is None:
        return missing("powermetrics", "soc", "absent", "there is no program powermetrics here (macOS has it)")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and shutil.which("sudo") is None:
        return missing("powermetrics", "soc", "permission", "powermetrics needs root, and there is no sudo", HINT)
    told = ""
    for options in OPTIONS:
        stream = PowerMetrics([*sudo, "powermetrics", "-f", "plist", "-i", str(INTERVAL_MS), "-b", "0", *options])
        if stream.channels:
            return stream
        stream.close()
        told = stream.complaint
        if any(word in told.lower() for word in ("password", "superuser", "not allowed", "sudoers")):
            return missing("powermetrics", "soc", "permission", f"powermetrics needs root: {told}", HINT)
    return missing("powermetrics", "soc", "unsupported", f"powermetrics tells no power: {told or 'it is silent'}")


class PowerMetrics:
    """A running powermetrics, read on a thread so that each sample is stamped as it arrives."""

    def __init__(self, command: list[str]) -> None:
        """Start the program; `channels` stays empty where no usable sample came in time."""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._complaints, start_new_session=True
        )
        self._stop, self._begun = threading.Event(), threading.Event()
        self._totals_j: dict[str, float] = {}
        self._news: dict[str, deque[Reading | SensorError]] = {}
        self._heard_ns = now_ns()
        self._model = ""
        self.complaint = ""
        self._thread = threading.Thread(target=self._listen, name="ipw-powermetrics", daemon=True)
        self._thread.start()
        self._begun.wait(FIRST_WITHIN_S)
        self.channels: Sequence[Channel] = [self._channel(rail) for rail in SCOPES if rail in self._totals_j]
        self._rails = [rail for rail in SCOPES if rail in self._totals_j]

    def read(self, index: int) -> Reading | None:
        """Give the next sample's cumulative energy, if there is one."""
        news = self._news[self._rails[index]]
        if news:
            told = news.popleft()
            if isinstance(told, SensorError):
                raise told
            return told
        if not self._thread.is_alive():
            raise SensorError("lost", "powermetrics has ended")
        if now_ns() - self._heard_ns > SILENT_AFTER_NS:
            raise SensorError("lost", "powermetrics has fallen silent")
        return None

    def close(self) -> None:
        """End the program."""
        if self._complaints.closed:
            return
        self._stop.set()
        with suppress(ProcessLookupError, PermissionError):  # what sudo started ends by itself when its pipe closes
            os.killpg(self._process.pid, signal.SIGTERM)
        self._thread.join(timeout=2)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._complaints.seek(0)
        self.complaint = self._complaints.read(4096).decode(errors="replace").strip().replace("\n", " ")
        self._complaints.close()

    def _channel(self, rail: str) -> Channel:
        return Channel(
            name=f"powermetrics/{rail}",
            kind="counter",
            scope=SCOPES[rail],
            method="integrated_power",
            device=self._model,
            included_in="powermetrics/soc" if rail in {"cpu", "gpu", "ane"} else None,
            resolution_j=1e-3,
            update_period_s=INTERVAL_MS / 1e3,
            note=NOTE,
        )

    def _listen(self) -> None:
        """Take samples until the program ends."""
        assert self._process.stdout is not None
        rest = b""
        with self._process.stdout as stream:
            while not self._stop.is_set() and (chunk := os.read(stream.fileno(), 1 << 16)):
                samples, rest = split(rest + chunk)
                for sample in samples:
                    self._take(sample)
        self._begun.set()

    def _take(self, document: bytes) -> None:
        """Add a sample to the totals. The first one, over an interval that we did not see begin, sets them to 0."""
        self._heard_ns = now_ns()
        try:
            sample = plistlib.loads(document)
            joules = rails_j(sample)
        except (plistlib.InvalidFileException, ExpatError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._miss(self._totals_j, f"powermetrics wrote a sample that cannot be read: {error}")
            return
        if not self._totals_j:
            self._model = str(sample.get("hw_model", ""))
            self._news = {rail: deque(maxlen=1000) for rail in joules}
            self._totals_j = dict.fromkeys(joules, 0.0)
            joules = self._totals_j
        for rail in self._totals_j.keys() & joules.keys():
            self._totals_j[rail] += joules[rail]
            self._news[rail].append(Reading(self._heard_ns, self._totals_j[rail], WRITING_NS))
        self._miss(self._totals_j.keys() - joules.keys(), "powermetrics left this rail out of a sample")
        self._begun.set()

    def _miss(self, rails: Iterable[str], reason: str) -> None:
        """Tell energy that nobody saw, and start the total again: a counter that falls leaves a gap."""
        for rail in rails:
            self._totals_j[rail] = 0.0
            self._news[rail].append(SensorError("lost", reason))
