"""Ranks of one job that share a host: the first to come reads its sensors, and all mark their spans in its run.

Who comes first takes a lock in the folder of the runs, named by the job, the host and how often the job measured
before. The others read the run's name from it. Each keeps a journal of its own under a lock that ends with its
process, so that the first knows when all are done, and a rank that was killed leaves what it had finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ipw.clock import boot_id
from ipw.errors import IpwError, UsageError
from ipw.metering import accelerator
from ipw.runs.directory import MANIFEST, RunDir
from ipw.runs.files import make_folder, opened
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import RANK_JOURNALS

JOIN_TIMEOUT_S = 90.0
"""For the first to have started its sampler."""
GATHER_TIMEOUT_S = 60.0
"""For the others to end, once the first has."""
LOOK_S = 0.02
JOB = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "WORLD_SIZE")
"""Variables of torchrun and its like that tell one job from another."""

_measured = count()


class Rank(NamedTuple):
    """Which of several processes this one is."""

    number: int
    local_size: int
    """How many run on this host."""
    job: str
    """The same for all ranks of the job on this host."""


class Lead:
    """The seat of the rank that reads the sensors."""

    def __init__(self, run: RunDir, rank: Rank, lock: int, path: Path) -> None:
        self.run, self.rank = run, rank
        self._lock, self._path = lock, path

    def gather(self) -> None:
        """Wait for the others to end, though not for ever."""
        self._path.unlink(missing_ok=True)
        os.close(self._lock)  # who comes now measures by itself
        deadline = time.monotonic() + GATHER_TIMEOUT_S
        for path in self.run.path.glob(RANK_JOURNALS):
            with path.open("ab") as theirs:
                _locked(theirs.fileno(), deadline)


class Guest(NamedTuple):
    """The seat of a rank whose host's sensors another one reads."""

    run: RunDir
    rank: Rank
    journal: Journal


def launcher() -> tuple[int, ...]:
    """Give the process that started the ranks of this host, whose children they all are; none where nobody is left."""
    parent = os.getppid()
    return (parent,) if parent > 1 else ()


def this_rank() -> Rank | None:
    """Which rank this process is, by the environment that torchrun makes; `None` where there is but one process."""
    known = os.environ
    try:
        world, number = int(known["WORLD_SIZE"]), int(known["RANK"])
        local_size = int(known.get("LOCAL_WORLD_SIZE", world))
    except (KeyError, ValueError):
        return None
    if world < 2:
        return None
    words = [_host(), *(known.get(name, "") for name in JOB)]
    return Rank(number, local_size, hashlib.sha256("\n".join(words).encode()).hexdigest()[:12])


def take_seat(out: Path, slug: str, rank: Rank) -> Lead | Guest:
    """Come together with the other ranks of this host. Raises IpwError where nobody starts to measure in time."""
    make_folder(out, "choose another folder with --out")
    path = out / f".ranks-{rank.job}-{next(_measured)}"
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while time.monotonic() < deadline:
        lock = opened(path, os.O_RDWR | os.O_CREAT)
        first = _locked(lock, 0.0)
        if first and _is(path, lock):
            os.ftruncate(lock, 0)
            run = RunDir.create(out, slug)
            os.pwrite(lock, run.path.name.encode(), 0)
            return Lead(run, rank, lock, path)
        name = "" if first else os.pread(lock, 1000, 0).decode(errors="replace")
        os.close(lock)
        if found := _running(out, name):
            journal = Journal(found, rank.number, RANK_JOURNALS.replace("*", str(rank.number)))
            _locked(journal.fileno(), 0.0)
            return Guest(found, rank, journal)
        time.sleep(LOOK_S)
    raise IpwError(f"no rank began to measure in {out}", "let all ranks of a host measure, or none")


def weights(channels: list[dict[str, Any]], claims: Mapping[int, list[str]], rank: int, size: int) -> dict[str, float]:
    """Say which part of each channel belongs to a rank, by channel name.

    A GPU belongs to those who computed on it; of what nobody claims, and of packages and memory, each rank has an
    equal part.
    """
    parts = {}
    for channel in channels:
        device = str(channel.get("device"))
        owners = [number for number, uuids in claims.items() if any(uuid in device for uuid in uuids)]
        if channel.get("scope") != "gpu" or not (owners or claims.get(rank)):
            parts[str(channel["name"])] = 1 / size
        else:
            parts[str(channel["name"])] = 1 / len(owners) if rank in owners else 0.0
    return parts


def own_parts(channels: list[dict[str, Any]], rank: Rank) -> dict[str, float]:
    """Say which part of each channel is this process's, while it runs."""
    return weights(channels, {rank.number: accelerator.devices()}, rank.number, rank.local_size)


def _running(out: Path, name: str) -> RunDir | None:
    """Open the run of this name once it is being measured."""
    if not name or not (out / name / MANIFEST).is_file():
        return None
    try:
        run = RunDir.open(out / name)
        return run if run.manifest().get("status") == "running" else None
    except UsageError:
        return None


def _locked(descriptor: int, deadline: float) -> bool:
    """Lock a file, by the deadline if not at once. The lock ends with the process, whatever its children hold open."""
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_S)
        else:
            return True


def _is(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _host() -> str:
    """What all processes of a machine agree on, in containers too, and no two machines."""
    return boot_id() or platform.node()
