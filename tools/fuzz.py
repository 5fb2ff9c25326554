"""Damages what ipw reads, in seeded ways, and reads it: `make fuzz`. Nothing may end in a traceback, hang or swell.

Every case is a process of its own (forked, so that thousands take minutes). It must end in a result, or in one line of
an IpwError; a damaged run must say so, or have the numbers that it had before.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parent.parent)]

from fuzz_damage import damage
from fuzz_files import files
from fuzz_runs import Case, runs, whole

from ipw.errors import IpwError

MOST_S, MOST_MIB = 20.0, 500
UNREAD = {"killed resumed"}
"""Refused also when they are whole, since the data set is not there."""


class Outcome(NamedTuple):
    """How one case ended."""

    name: str
    number: int
    how: str
    """`ok`, `told`, or else what is wrong."""
    seconds: float
    mib: float
    detail: str = ""
    damaged: str = ""


def cases() -> list[Case]:
    """List everything that is read."""
    return [*runs(), *files()]


def run(case: Case, number: int, seed: int, folder: Path, *, harm: bool = True) -> Outcome:
    """Make, damage and read in a process of its own; without `harm`, what is whole is read."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = random.Random(f"{seed} {number} {case.name}")
    for kind in case.needs:
        whole(kind)  # once, and not in each child
    target = case.make(folder)
    names = damage(target, rng) if harm else ""
    began, end = time.monotonic(), folder / "end"
    own_kib = _resident_kib()
    child = os.fork()
    if child == 0:
        _child(case, target, folder, end)
    usage = os.wait4(child, 0)[2]
    seconds = time.monotonic() - began
    how, _, detail = (end.read_text() if end.exists() else "killed").partition("\n")
    mib = usage.ru_maxrss / 1024
    swollen = mib - own_kib / 1024 > MOST_MIB  # a fork begins with what its parent holds
    how = "hang" if seconds > MOST_S else "memory" if swollen else how
    return Outcome(case.name, number, how, seconds, mib, detail, names)


def _child(case: Case, target: Path, folder: Path, end: Path) -> None:
    """Read, and write down how that ended; never returns."""
    signal.alarm(int(2 * MOST_S))
    os.chdir(folder)
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    told = "ok"
    try:
        case.read(target)
    except IpwError as error:
        told = f"{'lines' if chr(10) in error.message else 'told'}\n{error.message}"
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        silently = isinstance(error, AssertionError) and "silently" in str(error)
        told = f"{'silent' if silently else 'traceback'}\n{traceback.format_exc()}"
    end.write_text(told, errors="replace")
    os._exit(0)


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def fuzz(count: int, seed: int, folder: Path, first: int = 0) -> Iterator[Outcome]:
    """Yield how each of `count` cases ended, all kinds in turn."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "IPW_PROC": "/nonexistent"}
    known = cases()
    for case in known if first == 0 else ():
        outcome = run(case, -1, seed, folder / "case", harm=False)
        if outcome.how != "ok" and case.name not in UNREAD:
            yield outcome._replace(how="unread", detail=f"it is whole, and is not read: {outcome.detail}")
    for number in range(first, first + count):
        yield run(known[number % len(known)], number, seed, folder / "case")


def main() -> int:
    """Fuzz, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    asked = parser.parse_args()
    import ipw.metrics.summary
    import ipw.pipeline
    import ipw.reports.page.page  # noqa: F401 - read once, and not by each child

    with tempfile.TemporaryDirectory(prefix="ipw-fuzz-") as folder:
        found = []
        for outcome in fuzz(asked.cases, asked.seed, Path(folder), asked.first):
            found.append(outcome)
            if outcome.how not in {"ok", "told"}:
                where = f"{outcome.name}, case {outcome.number}, {outcome.damaged}"
                print(f"{outcome.how}: {where}\n{outcome.detail}", flush=True)
    print(dict(Counter(outcome.how for outcome in found)))
    slowest, largest = max(found, key=lambda o: o.seconds), max(found, key=lambda o: o.mib)
    print(f"{len(found)} cases of seed {asked.seed}: longest {slowest.seconds:.1f} s ({slowest.name}), "
          f"most memory {largest.mib:.0f} MiB ({largest.name})")  # fmt: skip
    return int(any(outcome.how not in {"ok", "told"} for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
