"""How noisy this runner is, kept in a file that can live in git: the log-ratios of A/A sessions, a job an entry.

Format history
  1  the first
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_json import read_json
from ipw.gate.noise import Noise, noise, smallest_effect
from ipw.gate.policy import Policy
from ipw.gate.verdict import GateError
from ipw.host import host_facts
from ipw.printable import clean
from ipw.runs.files import make_folder, replacing
from ipw.shapes import COUNT, misfit

SCHEMA_VERSION = 1
UNCALIBRATED = "no calibration of this runner: 0.5 % is assumed between starts; `ipw calibrate` measures it"
ANEW = "remove it and run `ipw calibrate`"
Job = dict[str, Any]
"""`created`, `runner`, `workload`, `basis`, and `metrics`: by name `log_ratio` and `start`, one a pair."""
SHAPE = {
    "jobs!": [
        {"created?": str, "workload?": str, "basis?": str,
         "metrics!": {"*": {"log_ratio!": [float], "start!": [COUNT]}}},
    ],
}  # fmt: skip


def runner() -> dict[str, Any]:
    """Tell what makes two runners alike: hosted ones have another name in every job."""
    facts = host_facts()
    return {key: facts[key] for key in ("cpu", "threads", "machine")}


def read_jobs(path: Path) -> list[Job]:
    """Read the stored jobs; none where there is no file. Raises UsageError for any other file."""
    if not path.is_file():
        return []
    content = read_json(path, ANEW)
    if fault := misfit(content, {"schema_version!": object}):
        raise UsageError(f"{path} is not a calibration file: {fault}", ANEW)
    if content["schema_version"] != SCHEMA_VERSION:
        raise UsageError(f"{path} has schema version {clean(content['schema_version'], 20)}", "calibrate again")
    if fault := misfit(content, SHAPE):
        raise UsageError(f"{path} is not a calibration file: {fault}", ANEW)
    jobs: list[Job] = content["jobs"]
    try:
        for entry in (entry for job in jobs for entry in job["metrics"].values()):
            noise(entry["log_ratio"], entry["start"], [0] * len(entry["start"]))
    except GateError as error:
        raise UsageError(f"{path} is not a calibration file: {error}", ANEW) from None
    return jobs


def write_jobs(path: Path, jobs: list[Job]) -> None:
    """Replace the file. Raises IpwError."""
    make_folder(path.parent)
    with replacing(path) as file:
        content = {"schema_version": SCHEMA_VERSION, "jobs": jobs}
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def levels(jobs: list[Job]) -> dict[str, Noise]:
    """Split the noise of every metric that all jobs have."""
    names = [name for name in (jobs[0]["metrics"] if jobs else {}) if all(name in job["metrics"] for job in jobs)]
    found = {}
    for name in names:
        entries = [job["metrics"][name] for job in jobs]
        ratios = [ratio for entry in entries for ratio in entry["log_ratio"]]
        starts = [start for entry in entries for start in entry["start"]]
        of_job = [index for index, entry in enumerate(entries) for _ in entry["start"]]
        found[name] = noise(ratios, starts, of_job)
    return found


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a gate takes from the calibration; nothing where this runner was not calibrated."""

    noise: Mapping[str, Noise]
    basis: str | None
    facts: Mapping[str, Any] | None
    notes: tuple[str, ...]

    @property
    def start_sd(self) -> dict[str, float]:
        """The spread between starts by metric, as far as known."""
        return {name: found.start_sd_high for name, found in self.noise.items() if found.start_sd_high is not None}

    def refuse_margins(self, policy: Policy, *, pairs: int, starts: int) -> None:
        """Raise UsageError for a margin below what so many pairs can see on this runner."""
        for rule in policy.rules:
            found = self.noise.get(rule.metric)
            if found is None or found.repetition_sd is None:
                continue
            least = smallest_effect(found, pairs=pairs, starts=min(starts, pairs), alpha=policy.alpha)
            if rule.margin < least:
                raise UsageError(
                    f"{rule.metric}: a margin of {100 * rule.margin:g} % is below the {100 * least:.2g} % "
                    f"that {pairs} pairs can see on this runner",
                    f"margin = {least:.2g}, or more --pairs",
                )

    def check_basis(self, basis: object) -> None:
        """Raise UsageError where the runs measure something else than was calibrated."""
        if self.facts is not None and basis != self.basis:
            raise UsageError(
                f"the calibration is of basis {self.basis}, these runs are of basis {basis}", "run `ipw calibrate`"
            )


def calibrated(path: Path, workload: str) -> Calibrated:
    """Read what was calibrated for this workload on runners like this one, in the basis of the last job."""
    mine = [job for job in read_jobs(path) if job.get("runner") == runner() and job.get("workload") == workload]
    if not mine:
        return Calibrated({}, None, None, (UNCALIBRATED,))
    basis = mine[-1].get("basis")
    jobs = [job for job in mine if job.get("basis") == basis]
    facts = {"path": str(path), "jobs": len(jobs), "created": jobs[-1].get("created"), "basis": basis}
    return Calibrated(levels(jobs), None if basis is None else str(basis), facts, ())
