"""Whether a run's record can be believed: the check that makes a run not valid where its files say different things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipw.reports.metric import mapping, mappings
from ipw.runs.digests import altered, digests
from ipw.runs.directory import RunDir
from ipw.runs.journal import JOURNAL
from ipw.runs.record import Found, held

RECORD = "record"


def with_record(summary: Mapping[str, Any], run: RunDir, found: Found) -> dict[str, Any]:
    """Add to a summary what its record says of it, and the digests of the files that it was made from."""
    errors, told = held(run.manifest(), found)
    count = found.lines.get("query") or sum(found.lines.values())
    fine = f"{count} {'questions' if 'query' in found.lines else 'lines'} and {found.readings} readings, all whole"
    checked = _with_check(summary, errors, told, fine)
    return checked | {"files": digests(run, {JOURNAL: str(found.journal["sha256"])})}


def verified(summary: Mapping[str, Any], run: RunDir) -> dict[str, Any]:
    """Hold a stored summary against the files of its run as they are now; `ipw report --recompute` makes it anew."""
    faults = list(altered(run, mapping(summary.get("files"))))
    return _with_check(summary, faults, (), "") if faults else dict(summary)


def record_faults(summary: Mapping[str, Any]) -> list[str]:
    """Say what the check of the record found."""
    failed = [check for check in mappings(summary.get("validity")) if check.get("check") == RECORD]
    return [str(check.get("detail")) for check in failed if check.get("level") == "error" and not check.get("ok")]


def _with_check(summary: Mapping[str, Any], errors: Sequence[str], told: Sequence[str], fine: str) -> dict[str, Any]:
    faults = [*errors, *told]
    detail = "; ".join(faults[:3]) + (f"; {len(faults) - 3} more" if len(faults) > 3 else "")
    level = "warning" if told and not errors else "error"
    check = {"check": RECORD, "ok": not faults, "detail": detail or fine, "level": level}
    others = [each for each in mappings(summary.get("validity")) if each.get("check") != RECORD or not each.get("ok")]
    return {**summary, "valid": bool(summary.get("valid")) and not errors, "validity": [check, *others]}
