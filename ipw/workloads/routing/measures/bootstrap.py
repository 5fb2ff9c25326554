"""Intervals by drawing whole sequences again: the tokens of one sequence depend on one another, sequences do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REPLICATES = 1000
CONFIDENCE = 0.95


def multiplicities(domains: npt.NDArray[np.integer[Any]], seed: int, replicates: int = REPLICATES) -> Floats:
    """How often each replicate draws each sequence, [replicates, sequences].

    Sequences are drawn with replacement within their domain, so that every replicate has the domains in the original
    sizes: domains were chosen, not drawn. One such matrix serves all layers and metrics, which keeps them paired.
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros((replicates, len(domains)))
    for domain in np.unique(domains):
        members = np.flatnonzero(domains == domain)
        drawn[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), replicates)
    return drawn


def basic_interval(estimate: npt.ArrayLike, replicates: Floats) -> tuple[Floats, Floats]:
    """Basic (reverse-percentile) 95 % interval of `estimate` [...] from `replicates` [replicates, ...].

    Ends at the replicates of rank 25 and 975 of 1000, counted from 0, as in the reference implementation.
    """
    count = len(replicates)
    low_rank = round(count * (1 - CONFIDENCE) / 2)
    ranked = np.sort(replicates, axis=0)
    low, high = ranked[low_rank], ranked[count - low_rank]
    value = np.asarray(estimate)
    return 2 * value - high, 2 * value - low
