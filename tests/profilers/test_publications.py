"""When a counter that is published in batches was true: read by read, as macOS has it."""

from __future__ import annotations

import pytest

from ipw.profilers import publications
from ipw.profilers.publications import Publications

MS = 1_000_000
Read = tuple[int, float]
"""The moment in ms, and the value."""


@pytest.fixture(autouse=True)
def zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every counter is watched from moment 0 on."""
    monkeypatch.setattr(publications, "now_ns", lambda: 0)


def seen(counter: Publications, reads: list[Read]) -> list[tuple[float, float] | None]:
    """In ms, each read being sure to 1 ms."""
    told = [counter.see(t * MS, MS, value) for t, value in reads]
    assert all(isinstance(number, int) for each in told if each for number in each)
    return [None if each is None else (each[0] / MS, each[1] / MS) for each in told]


def every(ms: int, count: int) -> list[Read]:
    return [(k * ms, float(k)) for k in range(count)]


@pytest.mark.parametrize(
    ("live", "reads", "told"),
    [
        (False, [(0, 5.0), (100, 5.0), (200, 7.0), (300, 7.0)], [None, None, (150, 51), None]),
        (False, [(0, 5.0), (700, 9.0)], [None, (350, 351)]),
        (False, every(150, 6), [None, (75, 76), (225, 76), (375, 76), (600, 1), (750, 1)]),
        (False, every(152, 6), [None, (76, 77), (228, 77), (380, 77), (532, 77), (684, 77)]),
        (
            False,
            [*every(100, 4), (900, 4.0), (1000, 5.0), (1100, 6.0), (1200, 7.0), (1300, 8.0)],
            [None, (50, 51), (150, 51), (250, 51), (600, 301), (950, 51), (1050, 51), (1150, 51), (1300, 1)],
        ),
        (True, [(0, 1.0), (900, 2.0)], [(0, 1), (900, 1)]),
        (True, [(0, 1.0), (100, 1.0), (200, 2.0)], [(0, 1), None, (150, 51)]),
        (
            True,
            [(0, 1.0), (100, 1.0), (200, 2.0), (300, 3.0), (400, 4.0), (500, 5.0), (600, 6.0)],
            [(0, 1), None, (150, 51), (250, 51), (350, 51), (500, 1), (600, 1)],
        ),
        (False, [(0, 3.0), (100, 1.0)], [None, (50, 51)]),
    ],
    ids=[
        "between two reads it was new at some moment", "the first read may be of any age",
        "four in a row that differ are renewed as they are read", "unless they are further apart than a batch's tail",
        "a pause begins the row anew", "what is known to be live is, however seldom it is read",
        "one read that is no news ends that", "until four in a row differ again", "a counter that falls has news too",
    ],
)  # fmt: skip
def test_a_value_was_new_when_it_was_read_or_between_that_and_the_read_before(
    live: bool, reads: list[Read], told: list[tuple[float, float] | None]
) -> None:
    assert seen(Publications(live=live), reads) == told


@pytest.mark.parametrize(
    ("reads", "most_s"),
    [
        ([], 3.0),
        ([(100, 1.0)], 3.0),
        ([(100, 1.0), (500, 1.0)], 3.0),
        ([(100, 1.0), (500, 2.0)], 3.5),
        ([(100, 1.0), (500, 2.0), (2500, 3.0), (2600, 4.0)], 5.0),
    ],
)
def test_a_counter_stands_still_after_three_seconds_more_than_it_ever_did(reads: list[Read], most_s: float) -> None:
    counter = Publications()
    seen(counter, reads)
    moved_ns = reads[-1][0] * MS if len(reads) > 1 and reads[-1][1] > 1.0 else 0
    assert counter.still_s(moved_ns + round(most_s * 1e9)) is None
    assert counter.still_s(moved_ns + round(most_s * 1e9) + MS) == pytest.approx(most_s + 0.001, abs=1e-9)
