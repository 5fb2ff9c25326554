"""What is told of decoding methods that were measured or gone on with: one run, or all side by side."""

from __future__ import annotations

from pathlib import Path

from ipw.errors import FAILURE, OK
from ipw.runs.directory import RunDir
from ipw.verbs.common.conclude import conclude
from ipw.verbs.common.progress import TERMINAL
from ipw.verbs.common.series import conclude_series
from ipw.verbs.common.terminal import console
from ipw.verbs.common.trust import check_trusted
from ipw.workloads.diffusion.resume import resume_diffusion, together
from ipw.workloads.diffusion.turns import Taken
from ipw.workloads.series import Series


def conclude_methods(
    taken: Taken, out: Path, planned: int, *, as_json: bool, strict: bool, otlp: str | None = None
) -> int:
    """Derive and show the runs, `planned` of them; a method that ended badly is told and makes the exit code."""
    if len(taken.runs) == 1:
        code = conclude(taken.runs[0], interrupted=taken.interrupted, as_json=as_json, strict=strict, otlp=otlp)
    else:
        measured = Series(taken.runs, planned, interrupted=taken.interrupted)
        code = conclude_series(measured, out, as_json=as_json, strict=strict, otlp=otlp)
    for told in taken.failed:
        console().print(told, markup=False, soft_wrap=True)
    return FAILURE if code == OK and taken.failed else code


def resume_methods(
    run: Path, retry_failed: str, *, yes: bool, as_json: bool, strict: bool, otlp: str | None = None
) -> int:
    """Go on with a run that was cut short, and with those that took turns with it; derive, show."""
    opened = RunDir.open(run)
    for each in together(opened):
        check_trusted(each.path, each.manifest()["workload"], given=False, yes=yes)
    taken = resume_diffusion(opened, retry_failed, TERMINAL)
    return conclude_methods(taken, run.parent, len(taken.runs), as_json=as_json, strict=strict, otlp=otlp)
