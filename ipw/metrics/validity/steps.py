"""Whether the steps of the engine could be told, by which requests in flight together are charged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipw.metrics.metric import number
from ipw.metrics.validity.check import Check, made
from ipw.runs.recorded import Recorded, part_of

ALONE = "one at a time"
BY_STEPS = "division of each step"
"""How the rule begins where steps served (energy/by_work.py)."""


def steps_check(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Say what kind of engine answered and how sure that is; nothing where no arrivals were kept."""
    attribution = Recorded(manifest).attribution
    engine = part_of(attribution, "engine")
    kind, why = engine.get("kind"), engine.get("why")
    if not isinstance(kind, str) or not isinstance(why, str):
        return
    rule, told = str(attribution.get("rule")), f"{kind}: {why}"
    if rule.startswith(BY_STEPS):
        yield made("steps", ok=True, detail=f"{told} ({number(engine.get('steps')) or 0:,.0f} steps)")
    elif kind == ALONE or _asked_alone(manifest):
        yield made("steps", ok=True, detail=told)  # nobody shares: there is nothing to divide
    else:
        reason = rule.partition("not by steps: ")[2]
        phases = "requests in flight together are charged by phase and time, which may be far off for each of them"
        yield made("steps", ok=False, detail="; ".join(filter(None, (told, reason, phases))))


def _asked_alone(manifest: Mapping[str, Any]) -> bool:
    """Whether one request at a time was asked for, so that a kind of engine decides nothing."""
    parameters = Recorded(manifest).parameters
    return parameters.get("rate") is None and parameters.get("concurrency") in {None, 1}
