"""What to mind of runs, once each: what was found, of which of them, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ipw.metrics.metric import mappings
from ipw.metrics.validity.run import PHASES

Summary = Mapping[str, Any]
REMEDIES = {
    "sensors": "`ipw doctor` says which sensors there are, and what to run for those that cannot be read",
    "left out": "`ipw doctor` says why a sensor cannot be read",
    "sensor failures": "`ipw doctor` says whether it can be read now",
    "failed reads": "`ipw doctor --probe` shows how the sensor behaves",
    "coverage": "measure again: energy of a part of the window is not known",
    "largest gap": "measure for longer, so that the gap is a small part",
    "losses": "measure again: this energy is not known",
    "stillness": "`ipw doctor --probe` shows how the sensor behaves",
    "other load": "measure again with nothing else running",
    "other load on GPUs": "measure again with nothing else on the GPUs",
    "other processes": "measure again with nothing else on the GPUs",
    "steps": "joules of all requests together are right; a server that sends every token by itself tells them apart",
    "resolution": "ask more questions, so that the window is longer",
    "power source": "measure on mains: on battery, processors are slower",
    "throttling": "cool the machine, or lower the power limit, and measure again",
    "temperature": "warm up for longer (--warmup), or measure for longer",
    "wall clock": "nothing that is shown depends on it; times of day may be off",
    "server counts": "see whether something else asks this server",
    "other requests": "measure on a server that nobody else asks",
    "record": "`ipw report RUN --recompute` derives the run again from its raw files",
}
"""By check. Of others the finding says it all."""


def judgement(check: Mapping[str, Any]) -> str:
    """Say what a failed check means for the run."""
    return "not valid" if check["level"] == "error" else "mind"


def minds(summaries: Sequence[Summary], names: Sequence[str], told_before: Collection[str] = ()) -> Iterator[str]:
    """Yield a line for each finding, with the runs of which it holds unless that is all, and for each check what to do.

    Checks that were `told_before` are left out.
    """
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for summary, name in zip(summaries, names, strict=True):
        for check in mappings(summary.get("validity")):
            old = check.get("detail") == PHASES  # of a version that minded it in every run
            if not check.get("ok") and not old and check.get("check") not in told_before:
                findings = found.setdefault(str(check.get("check")), {})
                findings.setdefault((judgement(check), str(check.get("detail"))), []).append(name)
    for check_name, findings in found.items():
        for (judged, detail), of in findings.items():
            whose = "" if len(of) == len(names) else f"{', '.join(of)}: "
            yield f"{judged}: {whose}{check_name}: {detail}"
        if check_name in REMEDIES:
            yield f"  try: {REMEDIES[check_name]}"
