"""Whatever a curve lacks, what is divided adds up to what was measured, and nothing is divided by nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from energy.simulator import Sampler, World, closed_loop, one_at_a_time

from ipw.energy.attribution import Attribution, Spans, attribute
from ipw.energy.curve import Curve, counter_curve, power_curve

MS = 1_000_000
SPANS = 40


def spans(length_ms: float = 400.0) -> Spans:
    """Queries one after the other, each a prefill and a decode, from 2 to 18 s."""
    starts = (2_000 + np.arange(SPANS) * length_ms) * MS
    edges = np.stack([starts, starts + 0.25 * length_ms * MS, starts + length_ms * MS]).astype(np.int64)
    return Spans(
        start_ns=np.concatenate([edges[0], edges[1]]),
        end_ns=np.concatenate([edges[1], edges[2]]),
        phase=np.repeat([0, 1], SPANS),
        phases=("prefill", "decode"),
        owner=np.tile(np.arange(SPANS), 2),
        work=np.ones(2 * SPANS),
    )


T = np.arange(0, 20_000, 20) * MS
JOULES = np.cumsum(np.where((T > 2_000 * MS) & (T < 18_000 * MS), 90.0, 20.0) * 0.02)
LATCHED = JOULES[(np.arange(T.size) // 5) * 5]


def counted(values: Any, status: Any = 0) -> Curve:
    codes = np.broadcast_to(np.asarray(status), T.shape)
    return counter_curve(T, values, codes, np.zeros(T.size), ticks=True, max_power_w=700.0)


def between(start_s: float, end_s: float) -> Any:
    return np.where((start_s * 1e9 <= T) & (end_s * 1e9 > T), 4, 0)


WITHOUT = {
    "nothing is lost": counted(LATCHED),
    "it never moved": counted(np.full(T.size, 5.0)),
    "it froze halfway": counted(np.minimum(LATCHED, LATCHED[500])),
    "it started anew": counted(np.where(T < 9_000 * MS, LATCHED, LATCHED - LATCHED[450])),
    "it was not read for a while": counted(LATCHED, between(7, 11)),
    "nor at the beginning": counted(LATCHED, between(0, 6)),
    "nor at the end": counted(LATCHED, between(12, 20)),
    "nor but at the edges": counted(LATCHED, between(0.5, 19.5)),
    "a power that was not read": power_curve(T, np.full(T.size, 60.0), between(5, 9), np.zeros(T.size)),
    "a power that was never read": power_curve(T, np.full(T.size, 60.0), between(0, 20), np.zeros(T.size)),
}


def holds(found: Attribution) -> None:
    parts = float(found.owners.energy_j.sum()) + found.idle_j + found.unattributed_j
    assert parts == pytest.approx(found.measured_j, rel=1e-9, abs=1e-9)
    for share in (found.spans, found.owners):
        assert np.all(np.isfinite(share.energy_j))
        assert np.all((share.low_j <= share.energy_j) & (share.energy_j <= share.high_j))


@pytest.mark.parametrize("curve", WITHOUT.values(), ids=WITHOUT)
@pytest.mark.parametrize("idle_ns", [[], [[100 * MS, 1_900 * MS], [18_100 * MS, 19_900 * MS]]], ids=["", "idle"])
def test_what_is_divided_adds_up_whatever_is_lost(curve: Curve, idle_ns: Any) -> None:
    window = 2_000 * MS, 18_000 * MS
    holds(attribute(curve, spans(), window_ns=window, idle_ns=idle_ns))
    holds(attribute(curve, spans(), window_ns=window, idle_ns=None))


def test_a_query_beside_an_outage_has_its_own_joules() -> None:
    found = attribute(counted(LATCHED, between(7, 11)), spans(), window_ns=(2_000 * MS, 18_000 * MS))
    alone = np.r_[1:11, 25:39]
    assert found.owners.energy_j[alone] == pytest.approx(np.full(alone.size, 36.0), rel=0.05)
    assert found.unattributed_j == pytest.approx(90.0 * 4.1, rel=0.05)


@pytest.mark.parametrize("world_of", [one_at_a_time, closed_loop])
def test_an_outage_changes_no_joule_of_the_window(world_of: Callable[..., World]) -> None:
    rng = np.random.default_rng(1)
    world = world_of(rng, 12)
    curve = Sampler().curve(world, rng)
    knots = np.stack([curve.t_ns[:-1], curve.t_ns[1:]], axis=1)
    middle = int(curve.t_ns[curve.t_ns.size // 2])
    gaps = knots[(knots[:, 0] < middle + 10**9) & (knots[:, 1] > middle)]
    blurred = replace(curve, gaps_ns=gaps, gap_reasons=("lost",) * len(gaps), gap_lost=np.zeros(len(gaps), bool))
    window = int(curve.t_ns[2]), int(curve.t_ns[-2])
    found, whole = (attribute(each, world.spans, window_ns=window) for each in (blurred, curve))
    holds(found)
    assert found.measured_j == pytest.approx(whole.measured_j, rel=1e-3)
    assert found.unattributed_j > 0
