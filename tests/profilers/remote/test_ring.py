from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.remote.ring import Ring
from ipw.runs.readings import RECORD


def values(block: bytes) -> list[float]:
    return [value for _, value, *_ in RECORD.iter_unpack(block)]


@given(st.integers(1, 20), st.lists(st.integers(1, 45), max_size=8), st.integers(0, 60))
def test_a_reader_gets_what_is_kept_from_its_number_on_in_order(most: int, blocks: list[int], number: int) -> None:
    ring, came = Ring(most), 0
    for count in blocks:
        for _ in range(count):
            ring.add(came, float(came), 0, 0, 0)
            came += 1
        ring.flush()
    oldest, following = ring.bounds()
    assert (oldest, following) == (max(0, came - most), came)
    told: list[float] = []
    at = min(number, came)
    while at < came:
        first, block = ring.since(at, 0)
        assert block
        told += values(block)
        at = first + len(block) // RECORD.size
    assert told == [float(each) for each in range(max(oldest, min(number, came)), came)]


def test_what_is_not_flushed_is_not_seen_yet() -> None:
    ring = Ring(8)
    ring.add(1, 1.0, 0, 0, 0)
    assert ring.since(0, 0) == (0, b"")
    ring.flush()
    assert values(ring.since(0, 0)[1]) == [1.0]


def test_a_reader_that_waits_is_woken_by_news() -> None:
    ring, found = Ring(8), []
    reader = threading.Thread(target=lambda: found.append(ring.since(0, 20)))
    reader.start()
    ring.add(1, 7.0, 0, 0, 0)
    ring.flush()
    reader.join(120)
    assert values(found[0][1]) == [7.0]


def test_without_a_word_on_its_size_it_keeps_the_last_half_hour_of_eight_gpus() -> None:
    ring = Ring()
    for second in range(31 * 60):
        for number in range(130):
            ring.add(second, float(number), 0, 0, 0)
        ring.flush()
    oldest, following = ring.bounds()
    assert following == ring.records == 31 * 60 * 130
    assert 30 * 60 * 130 <= following - oldest < 40 * 60 * 130
