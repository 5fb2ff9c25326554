"""In which steps the work before a unit's first result was done.

An engine takes what waits in the order in which it came, and in one step as much of it as fits. So the work of all
units, in the order of their first results, is a line of which each step takes a piece; a first result tells where the
line was at the end of its step. Between those, a step takes as much as it lasts longer than one without such work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Bools, Floats, Ints, sums
from ipw.energy.steps.arrivals import Requests
from ipw.energy.steps.budget import roundest, roundness, told_by_counts
from ipw.energy.steps.steps import Steps, present

LONGER = 1.15
"""A step that lasts so many times longer than usual did more than it usually does."""
TOLD = 5.0
"""Work that would take less than so many times what steps are uneven by is not told from none."""
FULL, SURELY_FULL, FULL_IF_TOLD, AGREED = 0.85, 0.98, 0.7, 0.05
"""A step that seems to take so much of the most that one takes may have been full, and surely was, but for what steps
are uneven by; and was, where counts tell the most; how close together full steps seem to be."""
IN_TURN = 0.9
"""Of the units that waited, those that began when nothing else went on, if a batch waits for its last one."""
SEVERAL, MOST_A_TURN = 1.05, 9
"""Results of a turn on average, from which on several tokens may be computed in it, and how many at most."""
AS_WELL = 0.005
"""Of the steps that tell: numbers on which so few more agree are as good."""
NEAR = 0.01
"""So near to what full steps took by their lengths, the most that one takes is the roundest number."""
FULL_SEEN, FULL_LONGER, ELSE_LONGER = 8, 0.1, 0.5
"""Steps with all that ever goes on at once, while something waits, that tell of a limit; of those few last longer, and
of others many."""
SHORTEST_S = 1e-9
"""A step of no length may lie on the line exactly; clocks tell nothing shorter than this."""
LINE_ROUNDS = 12
"""Of reweighting."""
HELD_UP = 0.5, 4.0
"""A step does not last so few or so many times as long as others with as much to do."""
MIXED = 0.2
"""Of the first results, so many come with later ones of others where both share steps."""
LATE_ONES = 0.8
"""Of the steps during which a unit was asked for so early, those that last longer, where it is in them."""
LATE = 0.2
"""Of a short step: so long after the one before has ended a step may begin."""
SHORT = 0.1
"""Of all that go on, so many are shorter than what is taken for the shortest."""
ROUNDS = 6
"""So often speed and places are found, each from the other."""
FEW, FEW_SURE = 20, 8
"""Steps, below which they do not tell how long one lasts; those whose work is known for sure may be fewer."""
SURE = 0.05
"""Of how long a token takes, the most that its standard error may be. With 0.1, prompts of 790 to 900 tokens in steps
uneven by 2 % told a line that began 0.7 of a short step too high."""


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


def located(requests: Requests, steps: Steps) -> Prompts:
    """Place the work before first results."""
    decoding = sums(steps.entry_step, present(steps), steps.end_ns.size)
    queue = _queue(requests, steps, decoding)
    seconds = (steps.end_ns - steps.start_ns) / 1e9
    finishing = sums(queue.first, queue.work, seconds.size)
    plain = _plain(seconds, decoding, finishing, queue.waiting)
    usual = _usual(seconds, decoding, plain)
    longer = seconds > LONGER * usual
    queue, told, each = _limited(steps, _settled(queue, finishing, longer), finishing, decoding, longer)
    decoding = each * decoding
    before = np.concatenate([[False], (queue.waiting & longer)[:-1]])
    surely = (finishing > 0) & longer & ~queue.asked & ~before
    taken: Floats = finishing
    carried = np.zeros(seconds.size)
    base_s, token_s, most = 0.0, 0.0, told
    shaky = float(np.median(np.abs(seconds / usual - 1)[plain])) if plain.sum() >= FEW else 0.0
    for _ in range(ROUNDS):
        base_s, token_s = _speed(seconds, taken + decoding, surely, longer)
        if not (token_s or np.isfinite(told)):
            break
        total = (seconds - base_s) / token_s if token_s else np.zeros(seconds.size)
        room = np.where(longer, total - decoding, 0.0)
        noise = TOLD * shaky * seconds / token_s if token_s else np.zeros(seconds.size)
        if not np.isfinite(told):
            most = _most(room + decoding, longer & (carried > 0) & (decoding > 0) & (taken > 0))
        hides = np.isfinite(told) & (base_s + token_s * most < LONGER * usual)
        total = np.where(hides, most, total)
        least_full = np.maximum(FULL * most, SURELY_FULL * most - noise) if np.isinf(told) else FULL_IF_TOLD * most
        full = room + decoding > least_full
        filled = queue.asked & (decoding > 0) & (full | hides)
        room = np.where(filled, most - decoding, np.where(decoding > 0, np.minimum(room, most - decoding), room))
        room = _whole_passes(room, most, queue.asked & longer & (decoding == 0), noise + 1)
        least = np.where(filled, 1.0, np.maximum(noise, 1.0))
        carried = _carried(finishing, queue, room, least)
        fits = np.where(filled, most, total) - decoding
        carried = _done_before(finishing, queue, np.minimum(fits, most - decoding) + least, carried)
        taken = np.diff(np.cumsum(finishing) + carried, prepend=0.0)
    done = np.cumsum(finishing) + carried
    step_tokens = np.maximum(np.diff(done, prepend=0.0), 0.0)
    passes = _passes(step_tokens, decoding, most)
    step, unit, tokens, turn = _pieces(queue, done, passes, most)
    step_tokens = sums(step, tokens, seconds.size)
    due_s = np.where(step_tokens > 0, np.maximum(usual, base_s + token_s * (step_tokens + decoding)), usual)
    times = np.divide(seconds, due_s, out=np.ones(seconds.size), where=due_s > 0)
    odd = np.clip(times, *HELD_UP)
    held_up = np.where(step_tokens > 0, np.maximum(odd, 1.0), odd)
    alone = longer & (step_tokens == 0)
    unseen = np.maximum((seconds - base_s) / token_s - decoding, 0.0) * alone if token_s else np.zeros(seconds.size)
    return Prompts(step, unit, tokens, turn, step_tokens, passes, token_s, held_up, odd, unseen)


class _Queue(NamedTuple):
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


def _queue(requests: Requests, steps: Steps, decoding: Floats) -> _Queue:
    told = np.flatnonzero(steps.first_step >= 0)
    order = told[np.lexsort((requests.start_ns[told], steps.first_step[told]))]
    first, work = steps.first_step[order], np.maximum(requests.before[order], 1).astype(np.float64)
    ahead = np.searchsorted(first, np.arange(steps.end_ns.size), "right")
    some = ahead < order.size
    following = np.minimum(ahead, order.size - 1)
    start_ns, began_ns = requests.start_ns[order][following], _last_start(steps, decoding, first)
    late_ns = np.where(decoding > 0, LATE * float(np.quantile(steps.end_ns - steps.start_ns, 0.1)), 0.0)
    waiting, asked = some & (start_ns < began_ns + late_ns), some & (start_ns < began_ns)
    before = np.maximum(first - 1, 0)
    waited = (decoding[before] > 0) & (requests.start_ns[order] < steps.start_ns[before])
    if waited.sum() >= FEW_SURE and (decoding[first[waited]] == 0).mean() >= IN_TURN:
        waiting, asked = waiting & (decoding == 0), asked & (decoding == 0)
    return _Queue(order, first, work, waiting, asked, np.where(some, work[following], 0.0))


def _settled(queue: _Queue, finishing: Floats, longer: Bools) -> _Queue:
    """Whether units that came late for a step are in it: not so where such steps last no longer than others."""
    late = queue.waiting & ~queue.asked & (finishing == 0)
    if not late.any() or longer[late].mean() < LATE_ONES:
        return queue._replace(waiting=queue.asked)
    return queue


def _limited(
    steps: Steps, queue: _Queue, finishing: Floats, decoding: Floats, longer: Bools
) -> tuple[_Queue, float, int]:
    """What waits where something more can be taken on, the most that a step takes, if counts tell it, and of each turn.

    A turn is more than one token where results of several are accepted in it: drafts are computed too.

    An engine may run only so many units at once. It does if what waits makes steps longer, but not while all that ever
    goes on at once does; or if counts agree on the most that a step takes, where that is so.
    """
    results = np.bincount(steps.entry_step, minlength=decoding.size)
    everywhere, below = np.ones(decoding.size, bool), results < results.max()
    some, all_go_on = queue.asked & below, queue.asked & (decoding == results.max())
    limited = all_go_on.sum() >= FULL_SEEN and some.sum() >= FULL_SEEN
    seen = limited and longer[all_go_on].mean() < FULL_LONGER < ELSE_LONGER < longer[some].mean()
    frees = (below, everywhere) if seen else (everywhere, below)[: 1 + limited]
    tried = [
        (told_by_counts(finishing, each * decoding, queue.next_work, queue.asked & free & (decoding > 0)), free, each)
        for each in _of_a_turn(steps)
        for free in frees
    ]
    agree = max(told.agree for told, _, _ in tried)
    as_well = [one for one in tried if one[0].agree >= agree - AS_WELL and one[0].agree > 0] or tried[:1]
    told, free, each = max(as_well, key=lambda one: roundness(one[0].most))
    return queue._replace(waiting=queue.waiting & free, asked=queue.asked & free), told.most, each


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


def _plain(seconds: Floats, decoding: Floats, finishing: Floats, waiting: Bools) -> Bools:
    """Steps that only go on with what has begun; where something always waits, the shortest ones are taken for them."""
    sure: Bools = (finishing == 0) & ~waiting
    going_on: Bools = (finishing == 0) & (decoding > 0)
    if sure.sum() >= FEW or not going_on.any():
        return sure
    short = LONGER * float(np.quantile(seconds[going_on], SHORT))
    brief: Bools = going_on & (seconds < short)
    return brief


def _usual(seconds: Floats, decoding: Floats, plain: Bools) -> Floats:
    """How long a step lasts that only goes on with what has begun."""
    if plain.sum() < FEW:
        return np.zeros(seconds.size)
    middle = float(np.median(seconds[plain]))
    near = plain & (seconds < 2 * middle)
    x = decoding[near]
    if np.ptp(x) < 2:
        return np.full(seconds.size, middle)
    base, slope = _line(x, seconds[near])
    usual: Floats = np.maximum(base + max(slope, 0.0) * decoding, middle / 2)
    return usual


def _speed(seconds: Floats, tokens: Floats, surely: Bools, longer: Bools) -> tuple[float, float]:
    """Seconds of a step without work, and of a token: a line through those steps whose work is known for sure.

    Where those are few, or tell no such line (work is much the same in all of them, and steps are uneven), all that
    lasted longer tell how long a token takes on average.
    """
    if surely.sum() >= FEW_SURE and np.ptp(tokens[surely]) > 0:
        x, y = tokens[surely], seconds[surely]
        base, slope = _line(x, y)
        uneven = MEDIAN_SD * float(np.median(np.abs(y - base - slope * x)))
        if slope > 0 and base >= 0 and uneven <= SURE * slope * float(np.std(x)) * np.sqrt(x.size):
            return base, slope
    total = float(tokens[longer].sum())
    return 0.0, float(seconds[longer].sum()) / total if total else 0.0


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Height and slope of the straight line of least absolute deviations: some steps are held up."""
    slope, height = np.polyfit(x, y, 1)
    for _ in range(LINE_ROUNDS):
        away = np.abs(y - height - slope * x)
        slope, height = np.polyfit(x, y, 1, w=1 / np.sqrt(np.maximum(away, np.maximum(1e-3 * y, SHORTEST_S))))
    return float(height), float(slope)


def _most(totals: Floats, full: Bools) -> float:
    """The most that one step takes, where those after which work was left agree on it; infinite where not."""
    if full.sum() < FEW // 4:
        return np.inf
    middle = float(np.median(totals[full]))
    away = float(np.median(np.abs(totals[full] - middle)))
    return roundest(middle * (1 - NEAR), middle * (1 + NEAR)) if away < AGREED * middle else np.inf


def _whole_passes(room: Floats, most: float, hidden: Bools, off: Floats) -> Floats:
    """Of steps seen as one before any unit began, while something waits, all are full."""
    if not np.isfinite(most):
        return room
    passes = np.rint(room / most)
    whole: Floats = np.where(hidden & (passes >= 1) & (np.abs(room - passes * most) < off), passes * most, room)
    return whole


def _carried(finishing: Floats, queue: _Queue, room: Floats, least: Floats) -> Floats:
    """What of the next unit's work was done by the end of each step: `least` or more at once, or none."""
    carried = np.zeros(finishing.size)
    carry = 0.0
    busy = np.flatnonzero((finishing > 0) | queue.waiting)
    rows = zip(
        busy.tolist(),
        finishing[busy].tolist(),
        queue.waiting[busy].tolist(),
        queue.next_work[busy].tolist(),
        room[busy].tolist(),
        least[busy].tolist(),
        strict=True,
    )
    for k, ends, waiting, following, fits, told in rows:
        before = carry
        if ends:
            rest = max(ends - before, 0.0)
            carry = min(fits - rest, following - 1) if waiting and fits - rest >= told else 0.0
        else:
            carry = max(before, min(before + fits, following - 1)) if fits >= told else before
        carried[k] = carry
    return carried


def _done_before(finishing: Floats, queue: _Queue, fits: Floats, carried: Floats) -> Floats:
    """Move to the step before what does not fit into a step, as far as it can have been done there."""
    more = carried.copy()
    for k in np.flatnonzero(finishing + carried - np.append(0.0, carried[:-1]) > fits)[::-1].tolist():
        while k and queue.waiting[k - 1]:
            needed = float(finishing[k] + more[k] - fits[k])
            if needed <= more[k - 1]:
                break
            more[k - 1] = min(needed, float(queue.next_work[k - 1]) - 1)
            k -= 1  # noqa: PLW2901
    return more


def _pieces(queue: _Queue, done: Floats, passes: Ints, most: float) -> tuple[Ints, Ints, Floats, Ints]:
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
