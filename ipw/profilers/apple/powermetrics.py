"""Macs through Apple's `powermetrics`: a program that streams one property list after another.

Whatever keeps it from telling joules reaches the user in its own words: what it wrote to stderr and how it ended, what
it wrote instead of a property list, or why one cannot be read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf

from ipw.clock import now_ns
from ipw.processes import environment
from ipw.profilers.apple.plist_stream import SCOPES, SampleError, in_another_format, printable, rails_j, sample, split
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.publications import Publications
from ipw.profilers.sources import missing

INTERVAL_MS = 200
FIRST_WITHIN_S = 5.0
SILENT_AFTER_NS = 3_000_000_000
WRITING_NS = 5_000_000
"""About how long a sample is on its way before it can be read."""
AT_MOST, AT_MOST_NS = 2.0, 3_000_000_000
"""A sample may be so many times as long as the time since the one before came, and so much more: they come in heaps."""
ANOTHER_FORMAT_NS = 1_000_000_000
"""What has not begun a property list so long after its first byte is none."""
MOST_BAD = 2
"""So many samples that cannot be read, and none before them that can: it is no accident."""
OPTIONS = (
    ("--samplers", "cpu_power,gpu_power,ane_power", "--hide-cpu-duty-cycle"),
    ("--samplers", "cpu_power,gpu_power", "--hide-cpu-duty-cycle"),
    ("--samplers", "cpu_power"),
)
"""Tried in turn: some versions of macOS tell the neural engine within `cpu_power`, and end at a name they lack."""
DENIED = ("password", "superuser", "not allowed", "sudoers", "must be root", "as root", "not permitted")
CHIP = ("cpu", "soc", "package")
"""What always draws while the chip runs, first what shows it best; a GPU or a neural engine may rest."""
BETWEEN = b"\0 \r\n"
FROZEN = "powermetrics tells 0 mW for the {} ({:.1f} s), though a running chip always draws: macOS does not renew it"
CUT_OFF = "a sample that is cut off, and has ended"
ENDING_S = 0.2
NOTE = "Apple's model of its own chip, which Apple says is not for comparing devices; memory and fabric are left out"
HINT = 'echo "$USER ALL=(root) NOPASSWD: /usr/bin/powermetrics" | sudo tee /etc/sudoers.d/ipw-powermetrics'


def open_sensor() -> Sensor:
    """Start powermetrics, without ever asking for a password, and wait for its first sample."""
    if shutil.which("powermetrics") is None:
        return missing("powermetrics", "soc", "absent", "there is no program powermetrics here (macOS has it)")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and shutil.which("sudo") is None:
        return missing("powermetrics", "soc", "permission", "powermetrics needs root, and there is no sudo", HINT)
    complaints: list[str] = []
    for options in OPTIONS:
        stream = PowerMetrics([*sudo, "powermetrics", "-f", "plist", "-i", str(INTERVAL_MS), "-b", "0", *options])
        if stream.channels:
            return stream
        stream.close()
        complaints.append(stream.complaint)
        if any(word in stream.complaint.lower() for word in DENIED):
            return missing("powermetrics", "soc", "permission", f"powermetrics needs root: {stream.complaint}", HINT)
        if not stream.ended:
            break  # it is no option that it minds
    return missing("powermetrics", "soc", "unsupported", "; ".join(dict.fromkeys(complaints)))


class PowerMetrics:
    """A running powermetrics, read on a thread so that each sample is stamped as it arrives."""

    def __init__(self, command: list[str]) -> None:
        """Start the program; `channels` stays empty where no usable sample came in time, and `complaint` says why."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment() | {"LC_ALL": "C"},  # in which we know what sudo says
            start_new_session=True,
        )
        self._stop, self._begun = threading.Event(), threading.Event()
        self._totals_j: dict[str, float] = {}
        self._told: dict[str, tuple[int, float]] = {}
        """Of each rail: when it was told last, and its power then."""
        self._missed: Counter[str] = Counter()
        """How many samples in a row it was missing from."""
        self._news: dict[str, deque[Reading | SensorError]] = {}
        self._chip, self._chip_j = Publications(live=True), 0.0
        """Whose total never begins again: one that does may come to what it was."""
        self._frozen: str | None = None
        self._bad = 0
        self._fault: str | None = None
        self._heard_ns = now_ns()
        self._model = ""
        self._thread = threading.Thread(target=self._listen, name="ipw-powermetrics", daemon=True)
        self._thread.start()
        self._begun.wait(FIRST_WITHIN_S)
        self._rails = [rail for rail in SCOPES if rail in self._news]
        self.channels: Sequence[Channel] = [self._channel(rail) for rail in self._rails]
        self.complaint = "" if self._rails else self._why()
        self.ended = self._fault is None and self._process.poll() is not None
        """Whether it ended by itself, with nothing that would say more."""

    def read(self, index: int) -> Reading | None:
        """Give the next sample's cumulative energy, if there is one."""
        news = self._news[self._rails[index]]
        if news:
            told = news.popleft()
            if isinstance(told, SensorError):
                raise told
            return told
        if not self._thread.is_alive():
            raise SensorError("lost", "the sensor is closed" if self._stop.is_set() else self._why())
        if now_ns() - self._heard_ns > SILENT_AFTER_NS:
            raise SensorError("lost", "powermetrics has fallen silent")
        return None

    def close(self) -> None:
        """End the program."""
        if self._stderr.closed:
            return
        self._stop.set()
        with suppress(ProcessLookupError, PermissionError):  # what sudo started ends by itself when its pipe closes
            os.killpg(self._process.pid, signal.SIGTERM)
        self._thread.join(timeout=2)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._stderr.close()

    def _channel(self, rail: str) -> Channel:
        frozen = self._frozen if rail in CHIP else None
        return Channel(
            name=f"powermetrics/{rail}",
            kind="counter",
            scope=SCOPES[rail],
            method="integrated_power",
            device=self._model,
            included_in="powermetrics/soc" if "soc" in self._news and rail in {"cpu", "gpu", "ane"} else None,
            resolution_j=1e-3,
            update_period_s=INTERVAL_MS / 1e3,
            note=NOTE,
            status="unsupported" if frozen else "ok",
            reason=frozen,
        )

    def _why(self) -> str:
        """Say why there is nothing (more) to read, in the program's own words where it has any."""
        if self._fault:
            return f"powermetrics writes {self._fault}"
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_S)
        code = self._process.poll()
        if code is None:
            how = f"powermetrics wrote no sample within {FIRST_WITHIN_S:g} s"
        else:
            how = f"powermetrics has ended ({f'signal {-code}' if code < 0 else f'code {code}'})"
        said = "" if self._stderr.closed else os.pread(self._stderr.fileno(), 4096, 0).decode(errors="replace")
        return f"{how}: {printable(said, 300)}" if said.strip() else how

    def _listen(self) -> None:
        """Take samples until the program ends, or what it writes can be none."""
        assert self._process.stdout is not None
        rest, first_ns = b"", 0
        with self._process.stdout as stream:
            while not self._stop.is_set() and not self._fault and (chunk := os.read(stream.fileno(), 1 << 16)):
                first_ns = first_ns or now_ns()
                try:
                    samples, rest = split(rest + chunk)
                except SampleError as error:
                    self._fault = str(error)
                    break
                for document in samples:
                    self._take(document)
                if not self._news and not self._fault and now_ns() - first_ns > ANOTHER_FORMAT_NS:
                    self._fault = in_another_format(rest)
        if not self._stop.is_set() and not self._fault and not self._news:
            self._fault = in_another_format(rest) or (CUT_OFF if rest.strip(BETWEEN) else None)
        self._begun.set()

    def _take(self, document: bytes) -> None:
        """Add a sample to the totals. The first one, over an interval that we did not see begin, sets them to 0."""
        before_ns, self._heard_ns = self._heard_ns, now_ns()
        try:
            told = sample(document)
            longest_ns = AT_MOST * (self._heard_ns - before_ns) + AT_MOST_NS if self._news else inf
            joules = rails_j(told, longest_s=longest_ns / 1e9)
        except SampleError as error:
            self._bad += 1
            if not self._news and self._bad >= MOST_BAD:
                self._fault = str(error)
            self._miss(self._news, f"powermetrics writes {error}")
            return
        first = not self._news
        if first:
            self._model = printable(str(told.get("hw_model", "")), 60)
            self._totals_j = dict.fromkeys(joules, 0.0)
            self._news = {rail: deque(maxlen=1000) for rail in joules}
        seconds = float(told["elapsed_ns"]) / 1e9
        mine = {rail: joules[rail] for rail in self._totals_j if rail in joules}
        for rail, energy_j in mine.items():
            if not first:
                self._totals_j[rail] += energy_j + self._missed_j(rail, energy_j / seconds, seconds)
            self._told[rail] = self._heard_ns, energy_j / seconds
        self._tell(mine)
        self._miss(self._totals_j.keys() - joules.keys(), "powermetrics left this rail out of a sample")

    def _tell(self, joules: dict[str, float]) -> None:
        """Give readings of what a sample renewed: a chip that drew nothing at all was not."""
        chip = next(rail for rail in CHIP if rail in self._totals_j)
        self._chip_j += joules.get(chip, 0.0)
        moment = self._chip.see(self._heard_ns, WRITING_NS, self._chip_j)
        still_s = None if moment else self._chip.still_s(self._heard_ns)
        if still_s is not None:
            self._frozen = (
                f"powermetrics tells 0 mW for the {chip} ({still_s:.1f} s), though a running chip always draws"
            )
        for rail, energy_j in joules.items():
            if still_s is not None and rail in CHIP:
                self._news[rail].append(SensorError("lost", self._frozen or ""))
            elif moment:
                self._news[rail].append(Reading(moment[0], self._totals_j[rail], moment[1]))
            elif rail not in CHIP and energy_j > 0:
                self._news[rail].append(Reading(self._heard_ns, self._totals_j[rail], WRITING_NS))
        if still_s is not None or (moment and self._totals_j[chip] > 0):
            self._begun.set()

    def _miss(self, rails: Iterable[str], reason: str) -> None:
        """Tell that energy was missed. Of several samples, start the total again: a counter that falls leaves a gap."""
        for rail in rails:
            self._missed[rail] += 1
            if self._missed[rail] > 1:
                self._totals_j[rail] = 0.0
            self._news[rail].append(SensorError("lost", reason))

    def _missed_j(self, rail: str, power_w: float, seconds: float) -> float:
        """Stand for one sample that was missed by the mean of those beside it, as where a power fails once."""
        missed = self._missed.pop(rail, 0)
        if missed != 1 or rail not in self._told:
            return 0.0
        before_ns, before_w = self._told[rail]
        return max((self._heard_ns - before_ns) / 1e9 - seconds, 0.0) * (before_w + power_w) / 2
