from __future__ import annotations

import numpy as np

from ipw.workloads.routing.measures.bootstrap import basic_interval, multiplicities


def test_every_replicate_keeps_the_size_of_every_domain() -> None:
    domains = np.array([0, 1, 0, 2, 1, 0])
    drawn = multiplicities(domains, seed=1)
    assert drawn.shape == (1000, 6)
    for domain, size in ((0, 3), (1, 2), (2, 1)):
        assert (drawn[:, domains == domain].sum(axis=1) == size).all()


def test_the_same_seed_draws_the_same() -> None:
    domains = np.zeros(5, int)
    assert (multiplicities(domains, 3) == multiplicities(domains, 3)).all()
    assert (multiplicities(domains, 3) != multiplicities(domains, 4)).any()


def test_sequences_that_are_all_alike_leave_no_doubt() -> None:
    drawn = multiplicities(np.zeros(8, int), 0)
    low, high = basic_interval(0.25, drawn @ np.full(8, 2.0) / (drawn @ np.full(8, 8.0)))
    assert low == high == 0.25


def test_the_interval_mirrors_the_replicates_of_rank_25_and_975() -> None:
    replicates = np.random.default_rng(0).permutation(np.arange(1000.0))
    low, high = basic_interval(500.0, replicates)
    assert (float(low), float(high)) == (1000.0 - 975, 1000.0 - 25)


def test_intervals_hold_the_truth_about_as_often_as_they_claim() -> None:
    random = np.random.default_rng(11)
    drawn = multiplicities(np.zeros(60, int), 5)
    truth, held = 0.4, 0
    for _ in range(300):
        hits = random.binomial(50, random.beta(8, 12, 60))
        low, high = basic_interval(hits.sum() / 3000, drawn @ hits / 3000)
        held += bool(low <= truth <= high)
    assert 0.90 <= held / 300 <= 0.98


def test_domains_that_differ_do_not_widen_the_interval_of_their_mean() -> None:
    """Domains were chosen, not drawn: only the spread within them is doubt."""
    domains = np.repeat([0, 1], 50)
    values = np.where(domains == 0, 0.1, 0.9)
    low, high = basic_interval(0.5, multiplicities(domains, 2) @ values / 100)
    assert high - low < 1e-12
