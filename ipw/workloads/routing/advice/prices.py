"""What a token and a byte cost, told or measured, and what a policy then costs a token.

Loading waits for the router's choice and computing waits for the loads, so their times add. What is fetched ahead goes
on beside the computing: a token takes the longer of the two. Misses that are computed where they lie add their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.measures.curves import PolicyCurve

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prices:
    """Seconds and joules; what is not known is `None`."""

    token_s: float | None = None
    """Of a token whose experts are all in fast memory."""
    link_byte_s: float | None = None
    """To bring one byte of an expert there."""
    cpu_byte_s: float | None = None
    """To compute with one byte of an expert where it lies."""
    token_j: float | None = None
    link_byte_j: float | None = None
    power_w: float | None = None
    """Mean power while decoding, where joules of tokens and bytes are not known."""
    how: tuple[str, ...] = ()
    """Where these are from, for people."""


def absent(curve: PolicyCurve, prices: Prices) -> str | None:
    """Say why a policy has no time; `None` where it has one."""
    if curve.miss == "load" and prices.link_byte_s is None:
        return "the speed of the link is not known: give --link"
    if curve.miss == "cpu" and prices.cpu_byte_s is None:
        return "how fast the CPU computes with experts is not known: give --cpu"
    if curve.fetched_bytes is not None and prices.link_byte_s is None:
        return "experts are brought in meanwhile, and the speed of the link is not known: give --link"
    return None


def seconds(curve: PolicyCurve, prices: Prices, missed: Floats, fetched: Floats | None) -> Floats:
    """Seconds a token from bytes a token [..., s]; the prices must be there."""
    token_s = prices.token_s or 0.0
    brought = 0.0 if fetched is None else fetched * (prices.link_byte_s or 0.0)
    if curve.miss == "load":
        assert prices.link_byte_s is not None
        found: Floats = np.maximum(token_s, brought) + missed * prices.link_byte_s
        return found
    assert prices.cpu_byte_s is not None
    return np.maximum(token_s + missed * prices.cpu_byte_s, brought)


def joules(
    curve: PolicyCurve, prices: Prices, missed: Floats, fetched: Floats | None, times: Floats | None
) -> Floats | None:
    """Joules a token, from what was measured of tokens and bytes, or else from the power and the time."""
    if prices.token_j is not None and prices.link_byte_j is not None and curve.miss == "load":
        moved = missed if fetched is None else missed + fetched
        return prices.token_j + moved * prices.link_byte_j
    if prices.power_w is not None and times is not None:
        return prices.power_w * times
    return None


def told(prices: Prices) -> dict[str, Any]:
    """For the machine's answer."""
    return {
        "token_s": prices.token_s,
        "link_bytes_per_s": None if not prices.link_byte_s else 1 / prices.link_byte_s,
        "cpu_bytes_per_s": None if not prices.cpu_byte_s else 1 / prices.cpu_byte_s,
        "token_j": prices.token_j,
        "link_byte_j": prices.link_byte_j,
        "power_w": prices.power_w,
        "how": list(prices.how),
    }
