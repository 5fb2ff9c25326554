"""When a comparison ends for want of time, and what it says of a pair."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from ipw.gate.calibration import Calibrated
from ipw.gate.observed import Observed
from ipw.gate.policy import Policy
from ipw.gate.session import Session


def session(pairs: int, spent_s: float, budget_s: float | None) -> Session:
    made = Session(
        arms=cast("Any", {}),
        policy=Policy(0.05, (), frozenset(), frozenset()),
        out=Path(),
        known=Calibrated({}, None, None, ()),
        budget_s=budget_s,
        say=lambda _: None,
        began=time.monotonic() - spent_s,
    )
    made.observed = [cast("Observed", None)] * (2 * pairs)
    return made


@pytest.mark.parametrize(
    ("pairs", "spent_s", "budget_s", "out"),
    [
        (4, 800.0, 1050.0, False),  # one more takes 200 s
        (4, 800.0, 950.0, True),
        (4, 800.0, None, False),
        (2, 800.0, 950.0, True),
        (1, 800.0, 1.0, False),  # two are always measured
        (0, 800.0, 1.0, False),
    ],
)
def test_time_is_out_once_one_more_pair_of_the_usual_length_would_go_beyond_it(
    pairs: int, spent_s: float, budget_s: float | None, *, out: bool
) -> None:
    made = session(pairs, spent_s, budget_s)
    assert made.pairs == pairs
    assert made.out_of_time() == out
