"""Who did what in which step: a share of the step itself, tokens, and context that was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints, sums
from ipw.energy.steps.arrivals import Requests
from ipw.energy.steps.pace import FEW, line
from ipw.energy.steps.prompts import HELD_UP, Prompts
from ipw.energy.steps.steps import Steps, present

COSTS = ("step", "token", "prompt token", "context token")
STEP, TOKEN, PROMPT, CONTEXT = range(4)


TOLD = 0.8
"""Context takes time where it leaves so much of what lengths of steps differ by, or less."""


class Work(NamedTuple):
    """What each entry and each step did, in units of the costs."""

    entry_unit: Ints
    entry_step: Ints
    entry: Floats
    """`[4, entries]`: share of a step, tokens after the first result, tokens before it, tokens of context. All tokens
    that are computed in a turn are counted, be they accepted or not."""
    before: Bools
    """Whether the entry is work before the first result."""
    step: Floats
    """`[4, steps]`: sums."""
    longer: Floats
    """`[steps]`: how many times longer each lasted than steps with as much to do."""
    odd: Floats
    """`[steps]`: the same, where it may be less than 1: some of the work that seems to be in it was done elsewhere."""

    unseen: Floats
    """`[steps]`: tokens by which each lasted longer though none that was asked for can have been in it."""
    overhead: Floats
    """`[steps]`: of how long each lasts as a rule, the part that is the same in all that last by their tokens; 0 where
    it is not told."""
    due_s: Floats
    """`[steps]`: how long each lasts as a rule."""

    def less(self, part: Floats) -> Floats:
        """`[steps]`: by how much less it is of each than of the usual one without work before first results."""
        plain = self.step[PROMPT] == 0
        less: Floats = float(np.median(part[plain] if plain.any() else part)) - part
        return less

    def stretched(self, part: float) -> Work:
        """With what steps cost growing, in `part`, as they are held up."""
        return self.scaled(1 + part * (self.longer - 1))

    def scaled(self, times: Floats) -> Work:
        """With so many times as much of everything in each step."""
        return self._replace(entry=self.entry * times[self.entry_step], step=self.step * times)


def work_of(requests: Requests, steps: Steps, prompts: Prompts) -> Work:
    """Who did what in which step: all in a step share it alike, and each has its own tokens.

    The entries of a unit are in order of time.
    """
    later = present(steps)
    n = steps.end_ns.size
    step, unit = steps.entry_step[later].astype(np.int64), steps.entry_unit[later].astype(np.int64)
    last = np.cumsum(prompts.passes) - 1  # of the passes of each step
    turn = (last - prompts.passes + 1)[prompts.step] + prompts.turn
    sharing = np.bincount(last[step], minlength=last[-1] + 1) + np.bincount(turn, minlength=last[-1] + 1)
    each = 1 / np.maximum(sharing, 1)
    cached = np.maximum(requests.cached, 0.0)
    context = (np.maximum(requests.before, 0.0) + cached)[unit] + _until(steps.entry_unit, steps.entry_tokens)[later]
    of_prompt = cached[prompts.unit] + _until(prompts.unit, prompts.tokens) + prompts.tokens
    once, none, nought = np.ones(step.size), np.zeros(step.size), np.zeros(prompts.step.size)
    entry = np.concatenate(
        [
            np.stack([each[turn], nought, prompts.tokens, of_prompt]),
            np.stack([each[last[step]], prompts.of_a_turn * once, none, context]),
        ],
        axis=1,
    )
    entry_step = np.concatenate([prompts.step, step])
    before = np.repeat([True, False], [prompts.step.size, step.size])
    step_sums = np.stack([sums(entry_step, row, n) for row in entry])
    units = np.concatenate([prompts.unit, unit])
    odd, due_s = _with_context(prompts, step_sums[CONTEXT])
    longer = np.where(prompts.step_tokens > 0, np.maximum(odd, 1.0), odd)
    return Work(units, entry_step, entry, before, step_sums, longer, odd, prompts.unseen, prompts.overhead, due_s)


def _with_context(prompts: Prompts, context: Floats) -> tuple[Floats, Floats]:
    """How much longer each step lasted than it should, and how long it should, where reading context takes time too."""
    plain = prompts.step_tokens == 0
    if plain.sum() < FEW or np.ptp(context[plain]) < 1:
        return prompts.odd, prompts.due_s
    extra_s = (prompts.odd - 1) * prompts.due_s
    height, slope = line(context[plain], extra_s[plain])
    rest = extra_s[plain] - height - slope * context[plain]
    if slope <= 0 or np.abs(rest).sum() > TOLD * np.abs(extra_s[plain] - np.median(extra_s[plain])).sum():
        return prompts.odd, prompts.due_s
    due_s = np.maximum(prompts.due_s + slope * (context - float(np.median(context[plain]))), prompts.due_s / 2)
    return np.clip(prompts.odd * prompts.due_s / due_s, *HELD_UP), due_s


def together(parts: Sequence[Work]) -> Work:
    """Put what was done in the steps of several engines one behind the other."""
    begin = np.cumsum([0, *(part.longer.size for part in parts)])
    shifted = [part.entry_step + at for part, at in zip(parts, begin.tolist(), strict=False)]
    found = Work(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))
    return found._replace(entry_step=np.concatenate(shifted))


def _until(unit: npt.NDArray[np.integer], tokens: Floats) -> Floats:
    """Tokens of the same unit before each row; the rows of a unit are in order of time."""
    order = np.argsort(unit, kind="stable")
    running = np.cumsum(tokens[order]) - tokens[order]
    new = np.flatnonzero(np.concatenate([[True], np.diff(unit[order]) != 0])[: order.size])
    found = np.empty(order.size)
    found[order] = running - np.repeat(running[new], np.diff(np.append(new, order.size)))
    return found
