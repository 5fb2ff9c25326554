"""The policy and the number of slots to take, and whether it is told apart from what else there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.advice.candidates import Priced, Row

Floats = npt.NDArray[np.float64]
SIMPLEST = ("static", "layers", "lru", "lfu", "lfru", "slru", "lru-bounded")
"""Of policies that are not told apart the first is advised: what needs no traffic and no book-keeping comes first."""
LEVEL = 0.05


class Pick(NamedTuple):
    """One row of one curve."""

    priced: Priced
    at: int

    @property
    def row(self) -> Row:
        """What is told of it."""
        return self.priced.rows[self.at]

    @property
    def policy(self) -> str:
        """Its policy, in whatever variant."""
        return self.priced.curve.policy


def advise(found: Sequence[Priced], metric: str) -> dict[str, Any]:
    """Choose among all that fits, by `metric`: `tokens_per_s`, or `hit_rate` where no speeds are known.

    A policy is told apart where it beats every other one, each in its best form, by the replicates of 95 % intervals
    that hold for all of them together (Bonferroni).
    """
    picks = sorted(_best_by_policy(found, metric), key=lambda pick: _cost(pick, metric)[0])
    if not picks:
        return {"policy": None, "told_apart": False}
    best, rivals = picks[0], picks[1:]
    level = LEVEL / max(len(rivals), 1)
    equal = [rival for rival in rivals if not _told_apart(best, rival, metric, level)]
    chosen = min([best, *equal], key=lambda pick: SIMPLEST.index(pick.policy))
    told = not equal
    if rivals:
        following = next(pick for pick in picks if pick is not chosen)
        beats = _margin(chosen, following, metric)
    else:
        beats = None
    names = " and ".join(dict.fromkeys(pick.policy for pick in [best, *equal]))
    if told and rivals:
        reason = f"{chosen.policy} is told apart from every other policy"
    elif told:
        reason = f"{chosen.policy} is all that there is to choose from"
    else:
        reason = f"{names} are not told apart; {chosen.policy} is the simplest of them"
    return {**chosen.row, "told_apart": told, "reason": reason, "beats": beats, "by": metric}


def _cost(pick: Pick, metric: str) -> Floats:
    """What is to be small, [1 + replicates]: seconds a token, or misses."""
    if metric == "tokens_per_s":
        assert pick.priced.seconds is not None
        return pick.priced.seconds[:, pick.at]
    return 1 - pick.priced.hit_rate[:, pick.at]


def _best_by_policy(found: Sequence[Priced], metric: str) -> list[Pick]:
    best: dict[str, Pick] = {}
    for priced in found:
        if priced.oracle or not priced.fits.any() or not _comparable(priced, metric):
            continue
        costs = priced.seconds if metric == "tokens_per_s" else 1 - priced.hit_rate
        assert costs is not None
        at = int(np.argmin(np.where(priced.fits, costs[0], np.inf)))  # the fewest slots of those that are as good
        pick = Pick(priced, at)
        other = best.get(pick.policy)
        if other is None or _cost(pick, metric)[0] < _cost(other, metric)[0]:
            best[pick.policy] = pick
    return list(best.values())


def _comparable(priced: Priced, metric: str) -> bool:
    """Hit rates compare only where a miss costs the same: what is loaded, and not fetched ahead."""
    if metric == "tokens_per_s":
        return priced.seconds is not None
    return priced.curve.miss == "load" and priced.curve.prefetch is None


def _told_apart(best: Pick, rival: Pick, metric: str, level: float) -> bool:
    gain = _cost(rival, metric) - _cost(best, metric)
    if gain[0] <= 0 or len(gain) < 2:
        return False
    worst = 2 * gain[0] - np.quantile(gain[1:], 1 - level / 2)  # the low end of the basic interval
    return bool(worst > 0)


def _margin(chosen: Pick, following: Pick, metric: str) -> dict[str, Any]:
    """By how much the chosen one beats the next: tokens/s as a share, hit rates as a difference."""
    ours, theirs = _cost(chosen, metric), _cost(following, metric)
    gain = theirs / ours - 1 if metric == "tokens_per_s" and (ours > 0).all() else theirs - ours
    low, high = np.quantile(gain[1:], [LEVEL / 2, 1 - LEVEL / 2]) if len(gain) > 1 else (gain[0], gain[0])
    kind = "share of tokens/s" if metric == "tokens_per_s" else "hit rate"
    return {
        "policy": following.policy,
        "per": following.row["per"],
        "slots": following.row["slots"],
        "miss": following.row["miss"],
        "prefetch": following.row["prefetch"],
        "gain": {
            "value": float(gain[0]),
            "low": float(min(2 * gain[0] - high, gain[0])),
            "high": float(max(2 * gain[0] - low, gain[0])),
            "of": kind,
        },
    }
