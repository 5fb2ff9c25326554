"""What waits for its first result in which step, and how much the engine takes on at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Requests
from ipw.energy.steps.budget import Told, roundness, told_by_counts
from ipw.energy.steps.pace import FEW, FEW_SURE, short
from ipw.energy.steps.steps import Steps, present

IN_TURN = 0.9
"""Of the units that waited, those that began when nothing else went on, if a batch waits for its last one."""
SEVERAL, MOST_A_TURN = 1.05, 9
"""Results of a turn on average, from which on several tokens may be computed in it, and how many at most."""
LATE_NS, SURELY_AGREE = (0, 500_000, 1_500_000, 3_000_000), 0.99
"""How long before a step what is asked for must be on its way, to be in it: what is tried until so many steps agree."""
AS_WELL = 0.005
"""Of the steps that tell: numbers on which so few more agree are as good."""
FULL_SEEN, FULL_LONGER, ELSE_LONGER = 8, 0.25, 0.5
"""Steps with all that ever goes on at once, while something waits, that tell of a limit; of those few last longer, and
of others many."""
MIXED = 0.2
"""Of the first results, so many come with later ones of others where both share steps."""
LATE_ONES = 0.8
"""Of the steps during which a unit was asked for so early, those that last longer, where it is in them."""
LATE = 0.2
"""Of a short step: so long after the one before has ended a step may begin."""


class Queue(NamedTuple):
    """What waits: units in the order of their first results, and what waits of them in each step."""

    unit: Ints
    """In the order of first results."""
    first: Ints
    """The step of each's first result."""
    work: Floats
    waiting: Bools
    """`[steps]`: whether the unit whose first result comes next may have been there when the step began: some begin a
    while after the one before has ended."""
    asked: Bools
    """`[steps]`: whether it had been asked for when the one before had ended."""
    next_work: Floats
    """`[steps]`: of that unit."""
    waited_ns: Ints
    """`[steps]`: how long before the step began it had been asked for."""


def queue_of(requests: Requests, steps: Steps, decoding: Floats) -> Queue:
    """Put the units in order; `decoding` `[steps]` is how many that have begun go on in each."""
    told = np.flatnonzero(steps.first_step >= 0)
    order = told[np.lexsort((requests.start_ns[told], steps.first_step[told]))]
    first, work = steps.first_step[order], np.maximum(requests.before[order], 1).astype(np.float64)
    if not order.size:  # all had begun before these steps
        none, zeros = np.zeros(steps.end_ns.size, bool), np.zeros(steps.end_ns.size)
        return Queue(order, first, work, none, none, zeros, zeros.astype(np.int64))
    ahead = np.searchsorted(first, np.arange(steps.end_ns.size), "right")
    some = ahead < order.size
    following = np.minimum(ahead, order.size - 1)
    start_ns, began_ns = requests.start_ns[order][following], _last_start(steps, decoding, first)
    late_ns = np.where(decoding > 0, LATE * short(steps.end_ns - steps.start_ns), 0.0)
    waited_ns = began_ns - start_ns
    waiting, asked = some & (waited_ns > -late_ns), some & (waited_ns > 0)
    before = np.maximum(first - 1, 0)
    waited = (decoding[before] > 0) & (requests.start_ns[order] < steps.start_ns[before])
    if waited.sum() >= FEW_SURE and (decoding[first[waited]] == 0).mean() >= IN_TURN:
        waiting, asked = waiting & (decoding == 0), asked & (decoding == 0)
    return Queue(order, first, work, waiting, asked, np.where(some, work[following], 0.0), waited_ns)


def settled(queue: Queue, finishing: Floats, longer: Bools) -> Queue:
    """Whether units that came late for a step are in it: not so where such steps last no longer than others."""
    late = queue.waiting & ~queue.asked & (finishing == 0)
    if not late.any() or longer[late].mean() < LATE_ONES:
        return queue._replace(waiting=queue.asked)
    return queue


def limited(steps: Steps, queue: Queue, finishing: Floats, decoding: Floats, longer: Bools) -> tuple[Queue, float, int]:
    """What waits where something more can be taken on, the most that a step takes, if counts tell it, and of each turn.

    A turn is more than one token where results of several are accepted in it: drafts are computed too.

    An engine may run only so many units at once. It does if what waits makes steps longer, but not while all that ever
    goes on at once does; or if counts agree on the most that a step takes, where that is so.
    """
    results = np.bincount(steps.entry_step, minlength=decoding.size)
    everywhere, below = np.ones(decoding.size, bool), results < results.max()
    some, all_go_on = (queue.asked & below) | (finishing > 0), queue.asked & (decoding == results.max())
    limited = all_go_on.sum() >= FULL_SEEN and some.sum() >= FULL_SEEN
    seen = limited and longer[all_go_on].mean() < FULL_LONGER < ELSE_LONGER < longer[some].mean()
    frees = (below, everywhere) if seen else (everywhere, below)[: 1 + limited]
    tried: list[tuple[Told, Bools, Bools, int]] = []
    asked = queue.asked & (decoding > 0)
    for late_ns in LATE_NS:
        in_time = queue.waited_ns > late_ns
        tried += [
            (told_by_counts(finishing, each * decoding, queue.next_work, asked & free & in_time), free, in_time, each)
            for each in _of_a_turn(steps)
            for free in frees
        ]
        if max(told.agree for told, *_ in tried) > SURELY_AGREE:
            break
    agree = max(told.agree for told, *_ in tried)
    as_well = [one for one in tried if one[0].agree >= agree - AS_WELL and one[0].agree > 0] or tried[:1]
    told, free, in_time, each = max(as_well, key=lambda one: roundness(one[0].most))
    return queue._replace(waiting=queue.waiting & free, asked=queue.asked & free & in_time), told.most, each


def _of_a_turn(steps: Steps) -> range:
    """How many tokens may be computed in a turn: as many as ever come of one, or more, where it is not always one."""
    tokens = steps.entry_tokens[present(steps)]
    if not tokens.size or float(tokens.mean()) < SEVERAL:
        return range(1, 2)
    return range(max(1, round(float(np.quantile(tokens, 0.99)))), MOST_A_TURN + 1)


def _last_start(steps: Steps, decoding: Floats, first: Ints) -> Ints:
    """When what ended with each step began: of steps that ended unseen, since no unit had begun, the last one.

    That is so where work before first results shares steps with later results, and is cut to fit into them.
    """
    length = steps.end_ns - steps.start_ns
    seen = decoding > 0
    if seen.sum() < FEW or seen[first].mean() < MIXED:
        return steps.start_ns
    longest = int(np.quantile(length[seen], 0.99))
    return np.where(seen, steps.start_ns, np.maximum(steps.start_ns, steps.end_ns - longest))
