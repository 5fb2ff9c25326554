"""What came of several runs that belong together."""

from __future__ import annotations

from typing import NamedTuple

from ipw.errors import IpwError
from ipw.runs.directory import RunDir
from ipw.runs.resume.outages import outage_error


class Series(NamedTuple):
    """What came of a series."""

    runs: list[RunDir]
    planned: int
    """How many runs it was to have."""
    interrupted: bool = False
    stopped: IpwError | None = None
    """Why the run behind the last one did not begin."""

    def error(self) -> IpwError | None:
        """Say which runs lost their server, and what was not begun; `None` where all went well."""
        lost: dict[int, IpwError] = {
            number: error for number, run in enumerate(self.runs, 1) if (error := outage_error(run))
        }
        if self.stopped:
            lost[len(self.runs) + 1] = self.stopped
        if not lost:
            return None
        told = [f"run {number} of {self.planned}: {error.message}" for number, error in lost.items()]
        left = self.planned - max(len(self.runs), *lost)
        told += [f"{left} more {'runs were' if left > 1 else 'run was'} not begun"] if left else []
        return IpwError("; ".join(told), "; ".join(dict.fromkeys(e.hint for e in lost.values() if e.hint)) or None)
