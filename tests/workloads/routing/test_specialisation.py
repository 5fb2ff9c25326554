from __future__ import annotations

import math

import numpy as np
import pytest

from ipw.workloads.routing.metrics import domain_specialisation, load_balance, vocabulary_specialisation


def test_an_even_load_has_no_spread_and_a_lopsided_one_has() -> None:
    assert load_balance([[0, 1], [2, 3]], 4) == 0
    assert load_balance([[0, 1], [0, 1]], 4) == pytest.approx(np.std([1, 1, 0, 0], ddof=1))
    assert load_balance([[0]], 1) == 0


def test_an_expert_of_one_domain_is_more_specialised_than_one_of_both() -> None:
    experts = [[0, 2], [0, 2], [1, 2], [1, 2]]
    found = domain_specialisation(experts, 4, ["code", "code", "prose", "prose"])
    assert math.isnan(found[0]), "used in one domain only, there is nothing to compare"
    assert found[2] == 0
    assert math.isnan(found[3])


def test_domain_specialisation_is_the_coefficient_of_variation_of_use_rates() -> None:
    experts = [[0], [0], [0], [1], [0], [1], [1], [1]]
    found = domain_specialisation(experts, 2, [0, 0, 0, 0, 1, 1, 1, 1])
    assert found[0] == pytest.approx(np.std([0.75, 0.25], ddof=1) / 0.5)


def test_a_word_belongs_to_the_expert_that_most_of_its_occurrences_go_to() -> None:
    token_ids = [7] * 20 + [8] * 20 + [9] * 19
    top = [0] * 15 + [1] * 5 + [1] * 20 + [2] * 19
    found = vocabulary_specialisation([[e] for e in top], 3, token_ids)
    assert found[:2].tolist() == [0.75, 1.0]
    assert math.isnan(found[2]), "19 occurrences are too few"


def test_without_any_frequent_word_nothing_is_specialised() -> None:
    assert np.isnan(vocabulary_specialisation([[0], [1]], 2, [5, 6])).all()
