"""Two arms measured in turns: pair by pair, in the same job, in fresh starts of both servers."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from ipw.errors import IpwError
from ipw.gate.comparable import observe
from ipw.gate.observed import ArmName, Observed
from ipw.studies.cells import Ready, ready
from ipw.studies.runfile import Cell
from ipw.workloads.base import NOBODY, Audience

ARMS: tuple[ArmName, ArmName] = ("base", "candidate")
Order = tuple[ArmName, ArmName]
Arms = Mapping[ArmName, Cell]


class Pair(NamedTuple):
    """One measurement of each arm, in this order."""

    number: int
    order: Order


class Start(NamedTuple):
    """Both servers started anew, and the pairs that they live for."""

    number: int
    pairs: Sequence[Pair]


def plan(pairs: int, starts: int, *, after: Sequence[Start] = (), seed: int | None = None) -> list[Start]:
    """Spread `pairs` over `starts` as evenly as can be, numbered on from those of `after`.

    Orders go A B, B A, A B, …, so that a drift hits both arms alike; with a `seed` they are drawn.
    """
    first_pair = sum(len(start.pairs) for start in after)
    first_start = len(after)
    starts = min(starts, pairs)
    draw = random.Random(f"{seed} {first_pair}")  # noqa: S311 - a reproducible order, no secret
    planned, at = [], first_pair
    for number in range(starts):
        size = pairs // starts + (number < pairs % starts)
        turned = [draw.random() < 0.5 if seed is not None else index % 2 == 1 for index in range(at, at + size)]
        orders = [(ARMS[1], ARMS[0]) if turn else ARMS for turn in turned]
        planned.append(Start(first_start + number, [Pair(at + i, order) for i, order in enumerate(orders)]))
        at += size
    return planned


def measure(
    arms: Arms, planned: Sequence[Start], out: Path, *, before_each: Callable[[], None], audience: Audience = NOBODY
) -> Generator[list[Observed]]:
    """Measure what is planned and give each pair as it is done; closing the iterator puts the servers away.

    The start that a pair is booked under is the pair itself where every measurement is a process of its own, and 0
    where a server is not ours to start. Raises IpwError where an arm fails.
    """
    for start in planned:
        with ExitStack() as stack:
            order = start.pairs[0].order
            up = {arm: stack.enter_context(ready(arms[arm], audience)) for arm in order}
            for pair in start.pairs:
                booked = _booked_start(list(up.values()), start.number, pair.number)
                observed = []
                for arm in pair.order:
                    before_each()
                    try:
                        observed.append(observe(up[arm].measure(out), arm, pair.number, booked))
                    except IpwError as error:
                        error.message = f"the {arm}, in pair {pair.number + 1}: {error.message}"
                        raise
                yield observed


def _booked_start(up: Sequence[Ready], start: int, pair: int) -> int:
    if not all(each.fresh for each in up):
        return 0
    return pair if all(each.each for each in up) else start
