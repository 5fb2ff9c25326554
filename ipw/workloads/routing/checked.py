"""Whether numbers are a routing: experts of each token, and where sequences begin and end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.compiled import compiled

Ints = npt.NDArray[np.integer[Any]]


def checked(experts: npt.ArrayLike, num_experts: int) -> Ints:
    """`experts` as [tokens, k] integers. Raises UsageError where they are no routing of `num_experts` experts."""
    try:
        array = np.asarray(experts)
    except ValueError:
        raise UsageError("every token must name the same number of experts", "cut or pad the trace to one k") from None
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"experts must be integers [tokens, k], not {array.dtype} {list(array.shape)}")
    tokens, k = array.shape
    if tokens == 0 or k == 0:
        raise UsageError("there is no token to look at")
    if k > num_experts:
        raise UsageError(f"{k} experts a token are more than the {num_experts} there are")
    array = np.ascontiguousarray(array, np.int32) if array.dtype != np.int32 else np.ascontiguousarray(array)
    bad = first_bad_token(array, num_experts)
    if bad >= 0:
        raise UsageError(
            f"token {bad} names experts {array[bad].tolist()}: ids must lie in 0…{num_experts - 1}, each once a token",
            "is the number of experts right?",
        )
    return array


def checked_bounds(bounds: npt.ArrayLike | None, tokens: int) -> Ints:
    """Where sequences begin and end, [sequences + 1]; all tokens are one sequence without `bounds`."""
    edges: Ints = np.asarray([0, tokens] if bounds is None else bounds, np.int64)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] != 0 or edges[-1] != tokens or (np.diff(edges) <= 0).any():
        raise UsageError(f"sequence bounds must rise from 0 to {tokens}, the number of tokens")
    return edges


@compiled
def first_bad_token(experts: Ints, num_experts: int) -> int:
    """Index of the first token that names an expert outside 0…E-1 or one expert twice; -1 where there is none."""
    named_by = np.full(num_experts, -1, np.int64)
    for t in range(experts.shape[0]):
        for expert in experts[t]:
            if expert < 0 or expert >= num_experts or named_by[expert] == t:
                return t
            named_by[expert] = t
    return -1
