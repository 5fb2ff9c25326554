"""One answer from many verdicts: Holm over what gates, Benjamini and Hochberg over what is only shown, two looks."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ipw.gate.verdict import Answer, Verdict, further_pairs
from ipw.metrics.distributions import t_quantile

Key = TypeVar("Key", bound=Hashable)

STAGE_SHARES = (0.2, 0.8)
"""Of alpha, spent at the first and at the second look: fixed before, so that looking twice costs nothing."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[Key]):
    """What a gate says."""

    verdict: Answer
    """`regressed` if one gating verdict is; else `inconclusive` if one is; else `ok`."""
    verdicts: Mapping[Key, Verdict]
    """Every verdict, after the family was taken into account."""
    adjusted: Mapping[Key, float]
    """`p_regressed` adjusted for the family: compare with alpha."""
    family: int
    """How many verdicts gate."""

    @property
    def undecided(self) -> list[Key]:
        """What a second stage would have to measure on."""
        return [key for key, verdict in self.verdicts.items() if verdict.verdict == "inconclusive"]


def stage_alpha(alpha: float, stage: int) -> float:
    """Give the part of `alpha` that the first (0) or the second (1) of two looks may spend."""
    return alpha * STAGE_SHARES[stage]


def decide(
    verdicts: Mapping[Key, Verdict],
    *,
    gating: Collection[Key],
    alpha: float = 0.05,
    before: Decision[Key] | None = None,
) -> Decision[Key]:
    """Combine verdicts that were judged at the same `alpha`.

    `regressed` stands where it also holds in its family: for what is `gating` under Holm's step-down (no more than
    `alpha` for one false alarm among all of them), for what is only shown under Benjamini and Hochberg's step-up (of
    the alarms shown, `alpha` are false). Else it turns `inconclusive`. `ok` needs no correction: the gate passes only
    if all do. `before` is the decision of the first look: what it decided stays.

    A gate with two looks judges and decides the first pairs at `stage_alpha(alpha, 0)`, measures on what is
    `undecided`, and judges and decides all pairs of that at `stage_alpha(alpha, 1)`.
    """
    shown = [key for key in verdicts if key not in gating]
    held = [key for key in verdicts if key in gating]
    adjusted = dict(zip(held, holm([verdicts[key].p_regressed for key in held]), strict=True))
    adjusted |= dict(zip(shown, benjamini_hochberg([verdicts[key].p_regressed for key in shown]), strict=True))
    settled = {}
    for key, verdict in verdicts.items():
        earlier = before.verdicts.get(key) if before else None
        if earlier is not None and earlier.verdict != "inconclusive":
            settled[key] = earlier
        else:
            settled[key] = _in_family(verdict, adjusted[key], len(held if key in gating else shown), alpha)
    return Decision(_together([settled[key].verdict for key in held]), settled, adjusted, len(held))


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values so that those below alpha hold one false alarm among all of them to alpha (Holm 1979)."""
    adjusted, most = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        most = max(most, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = most
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjust p values so that among those below alpha a share of alpha is false (Benjamini and Hochberg 1995)."""
    adjusted, least = [1.0] * len(p), 1.0
    for rank, index in reversed(list(enumerate(sorted(range(len(p)), key=p.__getitem__), start=1))):
        least = min(least, p[index] * (len(p) / rank))
        adjusted[index] = least
    return adjusted


def _in_family(verdict: Verdict, adjusted: float, family: int, alpha: float) -> Verdict:
    if verdict.verdict != "regressed" or adjusted < alpha:
        return verdict
    df = float("inf") if verdict.df is None else verdict.df
    further = further_pairs(t_quantile(verdict.p_regressed, df), t_quantile(alpha / family, df), verdict.n)
    reason = f"worse by itself (p = {verdict.p_regressed:.2g}), which is not enough as one of {family}"
    return replace(verdict, verdict="inconclusive", pairs_needed=further, reason=reason)


def _together(answers: Sequence[Answer]) -> Answer:
    return "regressed" if "regressed" in answers else "inconclusive" if "inconclusive" in answers else "ok"
