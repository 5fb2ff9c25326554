"""Whether the server counted what the run counted, and whether it worked for others meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from ipw.metrics.metric import mappings, number
from ipw.metrics.validity.check import Check, made
from ipw.runs.recorded import Recorded, part_of

NEAR = 0.02
"""Share of the tokens by which two honest counts differ: tokens that open and end, answers that were cut off."""
FEW = 16
LONG_ANSWER = 4096
"""Tokens of an answer that was cut off without a limit, at most."""
STEPS_NEAR = 0.05
KINDS = {"generated_tokens": "generated", "prompt_tokens": "prompt", "computed_prompt_tokens": "computed prompt"}


def server_counts_checks(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Compare, where the server told anything at /metrics."""
    parts = mappings(manifest.get("server_counts"))
    if not parts:
        return
    most = number(Recorded(manifest).parameters.get("max_tokens")) or LONG_ANSWER
    others, differ = [], []
    for part in parts:
        running = number(part.get("running_before")) or 0
        if running >= 1:
            others.append(f"{running:.0f} request{'s'[: running != 1]} of others ran when the run began")
        told, counted = part_of(part, "told"), part_of(part, "counted")
        if any((number(value) or 0) < 0 for value in told.values()):
            differ.append("its counters began anew during the run")
            continue
        uncounted = number(counted.get("uncounted")) or 0
        for name, kind in KINDS.items():
            theirs, ours = number(told.get(name)), number(counted.get(name))
            if theirs is not None and ours is not None:
                each = most if name == "generated_tokens" else inf
                _compare(kind, theirs, ours, uncounted * each if uncounted else 0.0, others, differ)
    if len(parts) == 1:
        differ += _steps(manifest, part_of(parts[0], "told"))
    engine = parts[0].get("engine")
    fine = f"{engine} counted what was counted here"
    yield made("server counts", not differ, f"{engine} says otherwise: {'; '.join(differ)}" if differ else fine)
    served = f"{'; '.join(others)}: what it did for others is in these joules"
    yield made("other requests", not others, served if others else "none")


def _compare(kind: str, theirs: float, ours: float, open_: float, others: list[str], differ: list[str]) -> None:
    allowed = NEAR * max(ours, theirs) + FEW
    if theirs > ours + allowed + open_:
        others.append(f"the server counts {theirs:,.0f} {kind} tokens, and {ours:,.0f} were asked for here")
    elif theirs < ours - allowed:
        differ.append(f"{theirs:,.0f} {kind} tokens, and {ours:,.0f} were counted here")


def _steps(manifest: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """Compare the steps that were seen with those that the engine counts."""
    engine = part_of(Recorded(manifest).attribution, "engine")
    theirs, seen = number(told.get("steps")), number(engine.get("steps"))
    if theirs is None or seen is None:
        return []
    near = abs(theirs - seen) <= STEPS_NEAR * max(theirs, seen) + 2
    return [] if near else [f"{theirs:,.0f} steps, and {seen:,.0f} were seen"]
