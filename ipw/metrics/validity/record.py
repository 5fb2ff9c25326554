"""Whether a run's record can be believed: the check that makes a run not valid where its files say different things."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number
from ipw.runs.checks.digests import altered, digests
from ipw.runs.checks.record import NO_DIGESTS, Found, held
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL
from ipw.runs.recorded import Recorded

RECORD = "record"
CHANGED = "the summary is not as ipw wrote it: an entry was changed; `ipw report RUN --recompute` makes it anew"
SAME_REL = 1e-6
"""Sums may be taken in another order than then."""


def with_record(
    summary: Mapping[str, Any], run: RunDir, found: Found, before: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Add to a summary what its record says of it, and the digests of the files that it was made from.

    `before` is the manifest as it was before this derivation.
    """
    manifest = run.manifest()
    errors, told = held(manifest, found)
    if NO_DIGESTS in told:
        told += _other_joules(_joules(before), _joules(manifest))
    asked = len(found.query_id)  # once each, however often: the journal has a line for every try
    count = f"{asked} questions" if asked else f"{sum(found.lines.values())} lines"
    fine = f"{count} and {found.readings} readings, all whole"
    checked = _with_check(summary, errors, told, fine)
    return checked | {"files": digests(run, {JOURNAL: str(found.journal["sha256"])})}


def verified(summary: Mapping[str, Any], run: RunDir) -> dict[str, Any]:
    """Hold a stored summary against the files of its run as they are now; `ipw report --recompute` makes it anew."""
    faults = [] if run.summary_is_whole() else [CHANGED]
    faults += altered(run, Derived(summary).files)
    told = [NO_DIGESTS] if summary.get("schema_version") == 1 else []
    return _with_check(summary, faults, told, "") if faults or told else dict(summary)


def record_faults(summary: Mapping[str, Any]) -> list[str]:
    """Say what the check of the record found."""
    failed = [check for check in mappings(summary.get("validity")) if check.get("check") == RECORD]
    return [str(check.get("detail")) for check in failed if check.get("level") == "error" and not check.get("ok")]


def _joules(manifest: Mapping[str, Any]) -> float | None:
    return number(Recorded(manifest).attribution.get("measured_j"))


def _other_joules(then: float | None, now: float | None) -> Iterator[str]:
    if then is not None and (now is None or abs(now - then) > SAME_REL * abs(then)):
        held_now = "nothing that is known" if now is None else f"{now:.6g} J"
        yield f"its window holds {held_now}, and held {then:.6g} J when it was derived before"


def _with_check(summary: Mapping[str, Any], errors: Sequence[str], told: Sequence[str], fine: str) -> dict[str, Any]:
    faults = [*errors, *told]
    detail = "; ".join(faults[:3]) + (f"; {len(faults) - 3} more" if len(faults) > 3 else "")
    level = "warning" if told and not errors else "error"
    check = {"check": RECORD, "ok": not faults, "detail": detail or fine, "level": level}
    others = [each for each in mappings(summary.get("validity")) if each.get("check") != RECORD or not each.get("ok")]
    return {**summary, "valid": bool(summary.get("valid")) and not errors, "validity": [check, *others]}
