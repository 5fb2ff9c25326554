"""Takes away run folders that hold nothing: of starts that were refused, or killed before anything was measured."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path

from ipw.errors import IpwError
from ipw.runs.arrivals import ARRIVALS
from ipw.runs.checks.tries import PROBE
from ipw.runs.directory import MANIFEST, RunDir
from ipw.runs.files import PART
from ipw.runs.journal_lines import JOURNAL, STALL
from ipw.runs.owner import LOCK, Owner
from ipw.runs.readings import READINGS

START_FILES = {MANIFEST, JOURNAL, ARRIVALS, READINGS, LOCK, "sampler.log"}
"""What is there before anything is measured. A folder that holds more is left alone, as is what nobody here made."""
NO_WORK = {"warmup", "rank", STALL, PROBE}
NO_PHASES = {"idle", "warmup"}
NAME = re.compile(r"\d{8}T\d{6}Z-")
STARTING_S = 900.0
"""What is younger may belong to a process that is just starting or writing."""


def sweep(run: RunDir) -> None:
    """Remove the folder of a run that was refused, where its measured window never began and nothing was finished."""
    if _names(run.path) <= START_FILES and not _holds_work(run):
        _remove(run.path)


def sweep_beside(out: Path) -> None:
    """Remove from `out` what starts that were killed before they had a manifest left."""
    for path in out.iterdir():
        with contextlib.suppress(OSError):  # another process may sweep too
            dead = NAME.match(path.name) and not (path / MANIFEST).exists() and _old(path)
            if dead and _names(path) <= START_FILES and not _holds_work(RunDir(path)):
                _remove(path)


def sweep_parts(folder: Path) -> None:
    """Remove what processes that were killed had not written whole."""
    for path in folder.glob("*".join(PART)):
        with contextlib.suppress(OSError):
            if _old(path):
                path.unlink()


def _holds_work(run: RunDir) -> bool:
    if (run.path / MANIFEST).is_file() and run.manifest().get("resumed"):
        return True
    return any(
        record.get("kind") not in NO_WORK and not (record.get("kind") == "span" and record.get("phase") in NO_PHASES)
        for record in run.journal()
    )


def _names(path: Path) -> set[str]:
    """What lies in a folder; more than START_FILES where that is no folder of ours."""
    if path.is_symlink() or not path.is_dir():
        return {""}
    return {each.name for each in path.iterdir()}


def _old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > STARTING_S


def _remove(path: Path) -> None:
    with contextlib.suppress(IpwError, OSError), Owner(path, "swept"):
        shutil.rmtree(path)
