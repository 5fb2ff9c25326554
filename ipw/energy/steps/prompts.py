"""In which steps the work before a unit's first result was done.

An engine takes what waits in the order in which it came, and in one step as much of it as fits. So the work of all
units, in the order of their first results, is a line of which each step takes a piece; a first result tells where the
line was at the end of its step. Between those, a step takes as much as it lasts longer than one without such work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints, sums
from ipw.energy.steps.arrivals import Requests
from ipw.energy.steps.filling import by_counts, carried_on, done_before, whole_passes
from ipw.energy.steps.pace import (
    FEW,
    FEW_SURE,
    LONGER,
    Pace,
    height_sd,
    most_by_lengths,
    plain_steps,
    speed,
    usual_length,
)
from ipw.energy.steps.steps import Steps, present
from ipw.energy.steps.waiting import Queue, limited, queue_of, settled

TOLD = 5.0
"""Work that would take less than so many times what steps are uneven by is not told from none."""
FULL, SURELY_FULL = 0.85, 0.98
"""A step that seems to take so much of the most that one takes may have been full, and surely was, but for what steps
are uneven by."""
MOST_OVERHEAD = 0.3
"""Of a step without work before first results: more than this is no delay, but what a step takes beside its tokens."""
SURELY = 0.05
"""Of that, how well it must be known."""
HIDDEN = 0.5
"""Of the steps with work before first results, fewer last longer where it hides."""
HELD_UP = 0.5, 4.0
"""A step does not last so few or so many times as long as others with as much to do."""
ROUNDS = 6
"""So often speed and places are found, each from the other."""


class Prompts(NamedTuple):
    """Pieces of work before first results: which step did how much of whose."""

    step: Ints
    unit: Ints
    tokens: Floats
    turn: Ints
    """In which of the `passes` of its step."""
    step_tokens: Floats
    """`[steps]`."""
    passes: Ints
    """`[steps]`: how many steps of the engine each is: those at whose end nothing came are seen as one."""
    token_s: float
    """How much longer a step lasts for each; 0 where that is not told."""
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
    of_a_turn: int
    """Tokens that are computed in a turn, be they accepted or not."""


def located(requests: Requests, steps: Steps) -> Prompts:
    """Place the work before first results."""
    decoding = sums(steps.entry_step, present(steps), steps.end_ns.size)
    queue = queue_of(requests, steps, decoding)
    seconds = (steps.end_ns - steps.start_ns) / 1e9
    finishing = sums(queue.first, queue.work, seconds.size)
    plain = plain_steps(seconds, decoding, finishing, queue.waiting)
    usual = usual_length(seconds, decoding, plain)
    longer = seconds > LONGER * usual
    queue, told, each = limited(steps, settled(queue, finishing, longer), finishing, decoding, longer)
    pace = Pace(seconds, usual, longer, _shaky(seconds, usual, plain))
    placed = _placed(queue, pace, finishing, each * decoding, told)
    step, unit, tokens, turn = _pieces(queue, placed.done, placed.passes, placed.most)
    return _prompts(step, unit, tokens, turn, pace, placed, each * decoding, each)


def _shaky(seconds: Floats, usual: Floats, plain: Bools) -> float:
    """By what fraction steps last longer or shorter than others with as much to do."""
    return float(np.median(np.abs(seconds / usual - 1)[plain])) if plain.sum() >= FEW else 0.0


class _Placed(NamedTuple):
    done: Floats
    """`[steps]`: where the line of all work was at the end of each."""
    passes: Ints
    most: float
    """Tokens that one step takes at most; infinite where that is not told."""
    base_s: float
    token_s: float
    """A step lasts this long, and this much longer for each token, where its tokens make it last longer."""
    surely: Bools
    """`[steps]`: those that tell so."""


def _placed(queue: Queue, pace: Pace, finishing: Floats, decoding: Floats, told: float) -> _Placed:
    """Place the line of all work, by the most that a step takes, where it is `told`, and by how long steps last."""
    seconds, usual, longer, shaky = pace
    before = np.concatenate([[False], (queue.waiting & longer)[:-1]])
    surely = (finishing > 0) & longer & ~queue.asked & ~before
    counted, most = np.isfinite(told), told
    filled, begun = by_counts(queue, seconds, finishing, decoding, told)
    taken: Floats = finishing
    if counted:
        taken, surely = np.where(filled, told - decoding, finishing), surely | (filled & longer)
    carried, base_s, token_s = np.zeros(seconds.size), 0.0, 0.0
    hides = _hides(queue, finishing, decoding, longer)
    for _ in range(ROUNDS):
        base_s, token_s = (0.0, 0.0) if hides else speed(seconds, taken + decoding, surely, longer)
        if not (token_s or counted):
            break
        total = (seconds - base_s) / token_s if token_s else np.zeros(seconds.size)
        noise = TOLD * shaky * seconds / token_s if token_s else np.zeros(seconds.size)
        room = np.where(longer, total - decoding, 0.0)
        if counted:
            total = begun * told
        else:
            most = most_by_lengths(room + decoding, longer & (carried > 0) & (decoding > 0) & (taken > 0))
            full = room + decoding > np.maximum(FULL * most, SURELY_FULL * most - noise)
            filled = queue.asked & (decoding > 0) & full
        room = np.where(decoding > 0, np.minimum(room, most - decoding), room)
        room = whole_passes(room, most, queue.asked & longer & (decoding == 0), noise + 1)
        room = np.where(filled, most - decoding, room)
        sure = filled
        if counted:
            in_passes = queue.asked & (decoding == 0)
            room, sure = np.where(in_passes, begun * told, room), filled | in_passes
        least = np.where(sure, 1.0, np.maximum(noise, 1.0))
        carried = carried_on(finishing, queue, room, least)
        fits = np.minimum(np.where(filled, most, total), begun * most) - decoding
        carried = done_before(finishing, queue, fits + least, carried)
        taken = np.diff(np.cumsum(finishing) + carried, prepend=0.0)
        if counted:  # all of it is placed by counts; not those that were only held up
            surely = (taken > 0) & (decoding > 0) & (base_s + token_s * (taken + decoding) > LONGER * usual)
    done = np.cumsum(finishing) + carried
    passes = _passes(np.maximum(np.diff(done, prepend=0.0), 0.0), decoding, most)
    return _Placed(done, passes, most, base_s, token_s, surely)


def _prompts(
    step: Ints, unit: Ints, tokens: Floats, turn: Ints, pace: Pace, placed: _Placed, decoding: Floats, of_a_turn: int
) -> Prompts:
    """What was placed, and how long steps should have lasted for it."""
    seconds, usual, longer, _ = pace
    step_tokens = sums(step, tokens, seconds.size)
    base_s, token_s = placed.base_s, placed.token_s
    last_s = base_s + (token_s or _token_of_full_s(seconds, step_tokens, decoding, placed)) * (step_tokens + decoding)
    due_s = np.where(step_tokens > 0, np.maximum(usual, last_s), usual)
    due_s = np.where(due_s > 0, due_s, seconds)  # where that is not told, none is taken to be held up
    times = np.divide(seconds, due_s, out=np.ones(seconds.size), where=due_s > 0)
    odd = np.clip(times, *HELD_UP)
    alone = longer & (step_tokens == 0)
    middle_s = float(np.median(usual))
    sure = height_sd(seconds, step_tokens + decoding, placed.surely) <= SURELY * middle_s
    told = sure and base_s <= MOST_OVERHEAD * middle_s
    nothing = np.zeros(seconds.size)
    return Prompts(
        step=step,
        unit=unit,
        tokens=tokens,
        turn=turn,
        step_tokens=step_tokens,
        passes=placed.passes,
        token_s=token_s,
        longer=np.where(step_tokens > 0, np.maximum(odd, 1.0), odd),
        odd=odd,
        unseen=np.maximum((seconds - base_s) / token_s - decoding, 0.0) * alone if token_s else nothing,
        overhead=np.divide(base_s, due_s, out=nothing.copy(), where=due_s > 0) if told else nothing,
        due_s=due_s,
        of_a_turn=of_a_turn,
    )


def _token_of_full_s(seconds: Floats, step_tokens: Floats, decoding: Floats, placed: _Placed) -> float:
    """Of full steps, how long each token takes, where work hides in others: full ones may last a little longer."""
    full = (step_tokens > 0) & (decoding > 0) & (step_tokens + decoding >= placed.most - 1)
    return float(np.median(seconds[full])) / placed.most if full.sum() >= FEW_SURE else 0.0


def _hides(queue: Queue, finishing: Floats, decoding: Floats, longer: Bools) -> bool:
    """Whether work before first results hides under what a step takes anyway: most steps with some last no longer."""
    some = (queue.asked | (finishing > 0)) & (decoding > 0)
    return bool(some.sum() >= FEW_SURE and longer[some].mean() < HIDDEN)


def _pieces(queue: Queue, done: Floats, passes: Ints, most: float) -> tuple[Ints, Ints, Floats, Ints]:
    """Cut the line of all work at the ends of units, of steps, and of the passes of a step, all but the last full."""
    ends = np.cumsum(queue.work)
    several = np.repeat(np.flatnonzero(passes > 1), passes[passes > 1] - 1)
    begun = np.append(0.0, done[:-1])
    turns = np.arange(several.size) - np.searchsorted(several, several) + 1
    of_passes = begun[several] + turns * most if several.size else np.zeros(0)
    cuts = np.unique(np.concatenate([ends, done, of_passes]))
    tokens = np.diff(cuts, prepend=0.0)
    middle = cuts - tokens / 2
    some = tokens > 1e-6
    step = np.minimum(np.searchsorted(done, middle[some]), done.size - 1)
    unit = queue.unit[np.minimum(np.searchsorted(ends, middle[some]), ends.size - 1)]
    turn = np.searchsorted(of_passes, middle[some]) - np.searchsorted(of_passes, begun[step], "right")
    return step, unit, tokens[some], turn


def _passes(taken: Floats, decoding: Floats, most: float) -> Ints:
    """How many steps are seen as one, since no unit had begun, by the `most` that one takes."""
    passes = np.ones(taken.size, np.int64)
    hidden = (decoding == 0) & (taken > 1.1 * most)
    passes[hidden] = np.ceil(taken[hidden] / most - 0.1).astype(np.int64)
    return passes
