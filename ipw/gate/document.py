"""`gate.json`: what a gate found, with all that its other forms are made of.

Format history
  1  the first
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ipw.errors import FAILURE, INCONCLUSIVE, INVALID, OK, REGRESSION
from ipw.gate.comparable import what_differs
from ipw.gate.family import Decision
from ipw.gate.judging import log_ratios, values
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import Rule
from ipw.gate.verdict import Verdict
from ipw.metrics.definitions import definition_of
from ipw.metrics.validity.check import Check
from ipw.runs.recorded import Recorded

SCHEMA_VERSION = 1
Document = dict[str, Any]
EXIT_CODES = {"ok": OK, "regressed": REGRESSION, "inconclusive": INCONCLUSIVE, "invalid": INVALID, "failed": FAILURE}
"""What `ipw ab` exits with."""
ESTIMATE = "estimate"
MOST_LOG = 20.0
"""A bound beyond this is none: two pairs can leave one at billions of times the base."""


def gate_document(
    observed: Sequence[Observed],
    rules: Sequence[Rule],
    checks: Sequence[Check],
    decision: Decision[str] | None,
    *,
    case: str,
    facts: Mapping[str, Any],
    error: str | None = None,
) -> Document:
    """Write down a session. Without a `decision` it is invalid, or failed where `error` says why.

    `facts` are told as they are: who was compared, by which plan, calibrated how.
    """
    manifest = observed[0].manifest if observed else {}
    verdict = "failed" if error else decision.verdict if decision else "invalid"
    basis = manifest.get("basis")
    metrics = [_metric(rule, observed, decision, estimated=basis == ESTIMATE) for rule in rules]
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "error": error,
        "case": case,
        **facts,
        "pairs": len({each.pair for each in observed}),
        "starts": len({each.start for each in observed}),
        "family": decision.family if decision else sum(rule.gates for rule in rules),
        "basis": basis,
        "estimated": any(entry["estimated"] for entry in metrics),
        "host": {key: Recorded(manifest).host.get(key) for key in ("name", "cpu", "threads", "system")},
        "validity": list(checks),
        "notes": [*facts.get("notes", []), *what_differs(observed)],
        "metrics": metrics,
        "runs": [
            {"arm": each.arm, "pair": each.pair, "start": each.start, "run": each.path} for each in observed
        ],
    }  # fmt: skip


def _metric(
    rule: Rule, observed: Sequence[Observed], decision: Decision[str] | None, *, estimated: bool
) -> dict[str, Any]:
    name = rule.metric
    definition = definition_of(name)
    points = rule.points
    verdict = decision.verdicts.get(name) if decision else None
    ratios = None if points else log_ratios(observed, name)
    return {
        "metric": name,
        "label": definition.label if definition else name,
        "unit": definition.unit if definition else "",
        "better": {"higher": "lower", "lower": "higher"}[rule.harm],
        "gates": rule.gates,
        "margin": rule.margin,
        "change_in": "points" if points else "fraction",
        "estimated": estimated and definition is not None and definition.is_energy,
        "verdict": verdict.verdict if verdict else None,
        **_change(verdict, points=points),
        "p_regressed": verdict.p_regressed if verdict else None,
        "p_adjusted": decision.adjusted.get(name) if decision else None,
        "pairs_needed": verdict.pairs_needed if verdict else None,
        "reason": verdict.reason if verdict else None,
        "base": _mean(observed, "base", name),
        "candidate": _mean(observed, "candidate", name),
        "log_ratios": ratios[0] if ratios else None,
    }


def _change(verdict: Verdict | None, *, points: bool) -> dict[str, float | int | None]:
    """Give the change of candidate against base: a fraction of the base, or of accuracy the difference."""

    def told(x: float | None) -> float | None:
        if x is None or x > MOST_LOG:
            return None
        return x if points else math.expm1(x)

    if verdict is None:
        return dict.fromkeys(("change", "low", "high", "n"))
    return {
        "change": told(verdict.estimate), "low": told(verdict.low), "high": told(verdict.high), "n": verdict.n
    }  # fmt: skip


def _mean(observed: Sequence[Observed], arm: ArmName, metric: str) -> float | None:
    known = [value for value in values(observed, arm, metric) if value is not None]
    return sum(known) / len(known) if known else None
