"""What single experts are used for: how evenly, for which domains, for which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

RARE_DOMAIN_RATE = 1e-5
"""Domains that use an expert less often than this leave its specialisation alone, as in the reference."""
FREQUENT_TOKEN = 20
"""Token ids that occur less often say too little about an expert."""


def use_rates(experts: Ints, num_experts: int) -> Floats:
    """Share of the tokens that use each expert, [E]; these sum to k."""
    rates: Floats = np.bincount(experts.ravel(), minlength=num_experts) / len(experts)
    return rates


def coefficient_of_variation(rates: Floats) -> Floats:
    """Domain specialisation of each expert from its use rates [domains, E]: their standard deviation over their mean.

    Only domains that use the expert at all count; NaN where fewer than two do.
    """
    used = rates > RARE_DOMAIN_RATE
    count = used.sum(axis=0)
    enough = count > 1
    mean = np.where(used, rates, 0).sum(axis=0) / np.maximum(count, 1)
    variance = (np.where(used, rates - mean, 0) ** 2).sum(axis=0) / np.maximum(count - 1, 1)
    spread: Floats = np.divide(np.sqrt(variance), mean, out=np.full(len(mean), np.nan), where=enough)
    return spread


def vocabulary_uses(top_expert: Ints, token_ids: Ints, frequent: Ints, num_experts: int) -> Ints:
    """Occurrences of the sorted `frequent` token ids by the expert that is ranked first there, [ids, E]."""
    place = np.searchsorted(frequent, token_ids)
    known = place < len(frequent)
    known[known] = frequent[place[known]] == token_ids[known]
    bins = place[known].astype(np.int64) * num_experts + top_expert[known]
    return np.bincount(bins, minlength=len(frequent) * num_experts).reshape(-1, num_experts)


def vocabulary_shares(uses: Ints) -> Floats:
    """Vocabulary specialisation of each expert from `vocabulary_uses` [ids, E].

    Each token id belongs to the expert that most of its occurrences go to; an expert's value is the mean of those
    shares over its token ids, NaN where it has none.
    """
    ids, num_experts = uses.shape
    owner = uses.argmax(axis=1) if ids else np.zeros(0, np.intp)
    share = uses.max(axis=1, initial=0) / np.maximum(uses.sum(axis=1), 1)
    owned = np.bincount(owner, minlength=num_experts)
    total = np.bincount(owner, weights=share, minlength=num_experts)
    shares: Floats = np.divide(total, owned, out=np.full(num_experts, np.nan), where=owned > 0)
    return shares
