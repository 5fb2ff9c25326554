"""The state of a study on disk: which cells wait, run, are done or failed. A later start resumes from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ipw.clock import anchor
from ipw.errors import IpwError, UsageError
from ipw.foreign_json import read_json
from ipw.metrics.accounting_text import marks
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.runs.directory import MANIFEST, RunDir
from ipw.runs.files import absolute, make_folder, replacing
from ipw.runs.readings import is_estimate
from ipw.secrets_out import blotted
from ipw.shapes import COUNT, misfit
from ipw.studies.suite import Planned, Suite

STUDY = "study.json"
SCHEMA_VERSION = 1
Entry = dict[str, Any]
SHAPE = {
    "name?": str,
    "cells!": [
        {"key!": str, "status!": {"waiting", "running", "done", "failed"}, "cell?": str, "label?": str,
         "attempts": COUNT, "node?": str, "run?": str, "energy_j?": float, "estimated?": bool, "valid?": bool,
         "marks?": [str], "error?": str, "hint?": str},
    ],
}  # fmt: skip


class Outcome(NamedTuple):
    """How a cell ended: with its run, or with an error."""

    planned: Planned
    run: RunDir | None
    error: IpwError | None


class StudyBook:
    """The entries of one study, written whole after each change."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        """Open the study's folder, or make it. What is done there stays done; what ran when it died waits again."""
        self.folder = absolute(folder)  # as the paths of its runs are
        make_folder(folder, "choose another folder with --out")
        before = {entry["key"]: entry for entry in read_study(folder)["cells"]} if (folder / STUDY).is_file() else {}
        self._name = suite.name
        self._entries = {planned.key: self._opened(planned, before.get(planned.key)) for planned in suite.cells}
        self._write()

    def waiting(self, cells: Sequence[Planned]) -> list[Planned]:
        """The cells that are not done, in their order; failed ones are tried again."""
        return [planned for planned in cells if self._entries[planned.key]["status"] != "done"]

    def begin(self, planned: Planned, node: str) -> None:
        """Note that a cell runs now."""
        entry = self._entries[planned.key]
        entry |= {"status": "running", "node": node, "attempts": entry["attempts"] + 1, "error": None, "hint": None}
        entry["started_ns"] = anchor().wall_ns
        self._write()

    def done(self, planned: Planned, run: RunDir) -> None:
        """Note where a cell's run is, and what it drew."""
        summary = run.summary() or {}
        energy = Derived(summary).metric("energy_j")
        self._entries[planned.key] |= {
            "status": "done",
            "run": run.path.relative_to(self.folder).as_posix(),
            "energy_j": number(energy.get("value")),
            "estimated": is_estimate(summary.get("method")),
            "valid": summary.get("valid"),
            "marks": marks(summary),
        }
        self._write()

    def failed(self, planned: Planned, error: str, hint: str | None) -> None:
        """Note why a cell has no run."""
        self._entries[planned.key] |= {"status": "failed", "error": error, "hint": hint}
        self._write()

    def again(self, planned: Planned) -> None:
        """Note that a cell that was begun waits again."""
        self._entries[planned.key]["status"] = "waiting"
        self._write()

    @property
    def entries(self) -> list[Entry]:
        """One a cell, in the order of the suite."""
        return list(self._entries.values())

    def _opened(self, planned: Planned, before: Entry | None) -> Entry:
        label = planned.cell.options.get("label")
        fresh = {
            "key": planned.key, "cell": planned.cell.name, "label": label, "repetition": planned.repetition,
            "status": "waiting", "attempts": 0, "node": None, "run": None, "energy_j": None, "error": None,
            "hint": None,
        }  # fmt: skip
        if before is None:
            return fresh
        kept = before["status"] == "done" and (self.folder / str(before.get("run")) / MANIFEST).is_file()
        return before | {"label": label} if kept else fresh | {"attempts": before.get("attempts", 0)}

    def _write(self) -> None:
        state = blotted({"schema_version": SCHEMA_VERSION, "name": self._name, "cells": self.entries})
        with replacing(self.folder / STUDY, durable=True) as file:
            file.write((json.dumps(state, indent=1) + "\n").encode())


def study_folder(out: Path, name: str) -> Path:
    """Where a study of this name lives below `out`: the same place each time, so that it can be resumed."""
    return out / (re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80] or "study")


def read_study(folder: Path) -> dict[str, Any]:
    """Read a study's state. Raises UsageError where it is none."""
    hint = "start the study again in another --out"
    state: dict[str, Any] = read_json(folder / STUDY, hint)
    if fault := misfit(state, SHAPE):
        raise UsageError(f"{folder / STUDY} is not a study: {fault}", hint)
    return state
