"""What a cache of experts costs in time, energy and memory: misses are bytes over a link."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Machine(NamedTuple):
    """What one token and one byte cost; joules are `None` where none were measured."""

    token_s: float
    """Seconds of a token whose experts are all in fast memory."""
    byte_s: float
    """Seconds to bring one byte there: 1 / bandwidth."""
    token_j: float | None = None
    byte_j: float | None = None


class Cost(NamedTuple):
    """For caches of 1…E experts in every layer."""

    memory_bytes: Floats
    """Fast memory that the cached experts of all layers take."""
    loaded_bytes_per_token: Floats
    tokens_per_s: Floats
    energy_per_token_j: Floats | None


def expected_cost(hit_rates: npt.ArrayLike, k: int, layers: int, expert_bytes: int, machine: Machine) -> Cost:
    """Cost of decoding with caches that hit `hit_rates` [E] of accesses, cold misses charged.

    Loads wait for the router's choice and computing waits for the loads, so their times add.
    """
    rates = np.asarray(hit_rates, np.float64)
    loaded = (1 - rates) * k * layers * expert_bytes
    seconds = machine.token_s + loaded * machine.byte_s
    joules = None
    if machine.token_j is not None and machine.byte_j is not None:
        joules = machine.token_j + loaded * machine.byte_j
    memory = np.arange(1, len(rates) + 1, dtype=np.float64) * layers * expert_bytes
    return Cost(memory, loaded, 1 / seconds, joules)


def fit_line(loaded_bytes: npt.ArrayLike, cost: npt.ArrayLike) -> tuple[float, float]:
    """Cost of a token without loads, and of each byte, from measured runs: least squares, neither below 0."""
    x, y = np.asarray(loaded_bytes, np.float64), np.asarray(cost, np.float64)
    spread = ((x - x.mean()) ** 2).sum()
    slope = max(float(((x - x.mean()) * (y - y.mean())).sum() / spread), 0.0) if spread > 0 else 0.0
    return max(float(y.mean() - slope * x.mean()), 0.0), slope
