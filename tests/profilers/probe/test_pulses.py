"""The pulses of a load: when each begins and ends, to the nanosecond."""

from __future__ import annotations

import numpy as np

from ipw.profilers.probe.loads import LONGEST_NS, SHORTEST_NS, irregular_pulses, phased_pulses


def test_pulses_of_a_quarter_come_later_by_an_eighth_from_group_to_group() -> None:
    pulses, groups = phased_pulses(1000, 800, 4, lead=2)
    assert len(pulses) == 2 + 8 * 4
    assert pulses[:3] == [(1000, 1200), (1800, 2000), (2600, 2800)]
    firsts = [pulses[2 + 4 * group][0] for group in range(8)]
    assert firsts == [2600 + group * (5 * 800 + 100) for group in range(8)]
    assert {(start - 1000) % 800 for start, _ in pulses[2:6]} == {0}
    assert {(start - 1000) % 800 for start, _ in pulses[6:10]} == {100}
    assert all(end - start == 200 for start, end in pulses)
    assert groups[0] == (2600 + 2 * 800, 2600 + 4 * 800)
    assert [start - firsts[k] for k, (start, _) in enumerate(groups)] == [1600] * 8


def test_irregular_pulses_have_lengths_over_magnitudes_and_end_behind_their_time() -> None:
    pulses = irregular_pulses(5, 20.0)
    edges = [edge for pulse in pulses for edge in pulse]
    lengths = np.diff(edges)
    assert edges[0] == 5
    assert edges == sorted(edges)
    assert SHORTEST_NS <= lengths.min() < 3 * SHORTEST_NS
    assert LONGEST_NS / 2 < lengths.max() <= LONGEST_NS
    assert edges[-1] >= 5 + 20e9 - LONGEST_NS
    assert np.unique(lengths).size == lengths.size
    assert irregular_pulses(5, 20.0) == pulses
