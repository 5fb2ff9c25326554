"""One answer as it is decoded: block by block and step by step, apart from the model that predicts."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.diffusion.recompute import Moment, positions
from ipw.workloads.diffusion.selection import Floats, Ints, dream_counts, even_counts, sure, surest
from ipw.workloads.diffusion.settings import DREAM, SCHEDULED, Settings


class Wanted(NamedTuple):
    """What a step needs of the model."""

    computed: Ints | None
    """Positions to compute, ascending; `None` for all."""
    predicted: Ints
    """Positions whose token is to be predicted, ascending or, where the order is known, in that order."""


class Predicted(NamedTuple):
    """The model's word on each position that a step wanted."""

    tokens: Ints
    scores: Floats
    """What positions are ordered by: the token's probability, or the negative entropy."""
    confidence: Floats
    """The token's probability."""


class Committed(NamedTuple):
    """What one step did."""

    positions: Ints
    """Ascending."""
    confidence: Floats


Steps = Generator[Wanted, Predicted, None]


class DecodedAnswer:
    """The tokens of one question and its answer, and what each step committed."""

    def __init__(self, prompt: Sequence[int], mask: int, settings: Settings) -> None:
        self.settings, self.prompt = settings, len(prompt)
        self.tokens: npt.NDArray[np.int64] = np.array([*prompt, *[mask] * settings.length], np.int64)
        self.masked = np.arange(self.tokens.size) >= self.prompt
        self.steps: list[Committed] = []
        self.computed: list[int] = []
        """Positions that each step computed."""

    def decoding(self, orders: Sequence[Ints], ends: Collection[int], *, shift: bool) -> Steps:
        """Yield what each step wants; the predictions are sent in. `orders` holds one of each block, for `random`."""
        s = self.settings
        for block in range(s.length // s.block_length):
            start = self.prompt + block * s.block_length
            yield from self._block(slice(start, start + s.block_length), orders[block] if orders else None, shift=shift)
            if s.early_stop and (end := _first_end(self.tokens[start : start + s.block_length], ends)) is not None:
                self.tokens[self.masked] = end
                self.masked[:] = False
                return

    def _block(self, block: slice, order: Ints | None, *, shift: bool) -> Steps:
        s, before, committed = self.settings, self.masked.copy(), np.empty(0, np.int64)
        counts = (dream_counts if s.sampler in DREAM else even_counts)(
            s.block_length, s.steps * s.block_length // s.length
        )
        step = 0
        while self.masked[block].any():
            eligible = block.start + np.flatnonzero(self.masked[block])
            planned = np.empty(0, np.int64) if order is None else order[: counts[step]]
            moment = Moment(step, not self.steps, self.prompt, self.masked, before, planned, committed)
            wanted = eligible if order is None else planned
            predicted = yield Wanted(positions(s, moment, shift=shift), wanted)
            if order is not None:
                chosen, order = np.argsort(planned), order[planned.size :]
            elif s.sampler in SCHEDULED:
                chosen = surest(predicted.scores, counts[step])
            else:
                relaxed = s.relaxed if s.sampler == "local-leap" else s.threshold
                chosen = sure(eligible, predicted.confidence, s.threshold, relaxed, s.radius)
            before, committed = self.masked.copy(), wanted[chosen]
            self.tokens[committed] = predicted.tokens[chosen]
            self.masked[committed] = False
            self.steps.append(Committed(committed, predicted.confidence[chosen]))
            step += 1


def _first_end(tokens: npt.NDArray[np.int64], ends: Collection[int]) -> int | None:
    return next((token for token in tokens.tolist() if token in ends), None)
