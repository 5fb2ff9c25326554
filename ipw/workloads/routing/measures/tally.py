"""Sums over sequences, in the order in which they come, and the same sums in every bootstrap replicate."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]


class Tally:
    """Gathers counts by key; memory depends on the keys, not on how many sequences there are."""

    def __init__(self, drawn: Floats) -> None:
        """`drawn` is how often each replicate draws each sequence, [replicates, sequences]."""
        self._drawn = drawn
        self.sums: dict[Hashable, Ints] = {}
        self.replicates: dict[Hashable, Floats] = {}

    def add(self, key: Hashable, sequences: Ints, counts: Ints) -> None:
        """Add [n, X] counts of n sequences, given by number."""
        sums = counts.sum(axis=0)
        replicates = self._drawn[:, sequences] @ counts.astype(np.float64)
        if key in self.sums:
            self.sums[key] += sums
            self.replicates[key] += replicates
        else:
            self.sums[key], self.replicates[key] = sums, replicates
