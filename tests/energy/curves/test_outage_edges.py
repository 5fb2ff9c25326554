"""Which failed reads are an outage: for how long they are forgiven, where they stand, and what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.knots import ONE_FAILED, OUTAGE_S, Outages, sorted_out, usable

SECOND = 1_000_000_000


def outages(seconds: list[float], status: list[int], outage_s: float = OUTAGE_S) -> list[tuple[float, float, str]]:
    t = (np.array(seconds) * SECOND).astype(np.int64)
    found: Outages = usable(t, np.ones(t.size), status, np.zeros(t.size), outage_s=outage_s)[3]
    return [(round(start / SECOND, 6), round(end / SECOND, 6), name) for start, end, name in found]


STEADY = [0.1 * k for k in range(20)]


@pytest.mark.parametrize(("until", "told"), [(OUTAGE_S, False), (OUTAGE_S + 0.01, True)])
def test_a_counter_is_forgiven_a_second(until: float, *, told: bool) -> None:
    seconds = [*STEADY, 2.0, STEADY[-1] + until]
    status = [0] * 20 + [4, 0]
    found = outages(seconds, status)
    assert found == ([(1.9, round(1.9 + until, 6), "lost")] if told else [])


def test_a_failure_after_the_first_good_reading_is_an_outage_and_before_it_or_behind_the_last_none() -> None:
    assert outages([0, 1, 5, 5.1, 5.2, 5.3], [0, 1, 0, 0, 0, 0]) == [(0, 5, "permission")]
    assert outages([0, 5, 5.1, 5.2, 5.3, 9], [4, 0, 0, 0, 0, 4]) == []


def test_where_reads_are_further_apart_one_that_failed_is_forgiven() -> None:
    slow = [2.0 * k for k in range(10)]
    assert ONE_FAILED == 2.5
    assert outages([*slow, 20, 22], [0] * 10 + [4, 0]) == []
    assert outages([*slow, 20, 22, 24], [0] * 10 + [4, 4, 0]) == [(18, 24, "lost")]
    assert outages([*slow, 20, 23], [0] * 10 + [4, 0]) == []  # two and a half times the usual distance
    assert outages([*slow, 20, 23.1], [0] * 10 + [4, 0]) == [(18, 23.1, "lost")]


def test_the_usual_distance_is_that_of_three_in_four_reads() -> None:
    # around a tick reads are close together; the pauses between are what is usual
    seconds, t = [], 0.0
    for _ in range(6):
        seconds += [t, t + 0.001]
        t += 1.0
    assert outages([*seconds, 5.5, 7.4], [0] * 12 + [4, 0]) == []
    assert outages([*seconds, 5.5, 7.6], [0] * 12 + [4, 0]) == [(5.001, 7.6, "lost")]


def test_an_outage_has_the_name_of_its_first_failure_and_an_unknown_one_is_lost() -> None:
    seconds = [0, 0.1, 0.2, 1, 2, 3, 3.1, 3.2, 4, 6]
    assert outages(seconds, [0, 0, 0, 2, 1, 0, 0, 0, 99, 0]) == [(0.2, 3, "unsupported"), (3.2, 6, "lost")]


def test_of_a_power_less_is_forgiven() -> None:
    seconds = [*STEADY, 2.0, 2.4]
    assert outages(seconds, [0] * 20 + [4, 0]) == []
    assert outages(seconds, [0] * 20 + [4, 0], outage_s=0.3) == [(1.9, 2.4, "lost")]


@pytest.mark.parametrize("wrong", range(4))
def test_readings_are_four_columns_of_one_length(wrong: int) -> None:
    columns = [np.zeros(3) for _ in range(4)]
    columns[wrong] = np.zeros(2)
    with pytest.raises(ValueError, match="four arrays of one length"):
        sorted_out(columns[0], columns[1], columns[2], columns[3])
    table = np.zeros((2, 2))
    with pytest.raises(ValueError, match="four arrays of one length"):
        sorted_out(table, table, table, table)
