"""What one token costs a model at the least: operations, and bytes of weights read."""

from __future__ import annotations

from typing import Any


def token_costs(multiplied: int, bytes_each: float) -> dict[str, Any]:
    """Costs of a token that is multiplied with so many parameters, of so many bytes each on the average.

    Two FLOPs a parameter (Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1), attention over
    the context left out. The weights are read once a token with one request in flight; with more, once for all of them.
    """
    return {"flops_per_token": 2 * multiplied, "weight_bytes_per_token": round(multiplied * bytes_each)}
