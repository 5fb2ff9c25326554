"""Arrays as the modules of this package pass them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MEDIAN_SD = 1.4826
"""Times the median distance from the middle: a normal distribution's standard deviation."""


def checked(values: npt.ArrayLike, name: str) -> Ints:
    """Times as int64; ValueError for NaN, infinity and what is no number."""
    array = np.asarray(values)
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity")
    if array.size and array.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds what is not a number")
    return array.astype(np.int64, copy=False)


def sums(of: npt.NDArray[np.integer], values: npt.NDArray[np.float64] | Bools, size: int) -> Floats:
    """Sum of the `values` that go with each of `size` numbers."""
    return np.bincount(of, values, size).astype(np.float64, copy=False)
