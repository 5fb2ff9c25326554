from __future__ import annotations

import numpy as np

from ipw.attribution.queries.phases import MISSING, PHASES, Timing, query_spans


def timing(*rows: tuple[int, int, int, int, int, int]) -> Timing:
    """Rows of start, first token, end, prompt tokens, cached tokens, completion tokens."""
    return Timing(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_a_query_is_a_prefill_up_to_its_first_token_and_a_decode_behind_it() -> None:
    spans = query_spans(timing((10, 30, 70, 8, 0, 5), (70, 75, 90, 6, 2, 1)))
    assert [PHASES[phase] for phase in spans.phase] == ["prefill", "decode", "prefill", "decode"]
    assert spans.start_ns.tolist() == [10, 30, 70, 75]
    assert spans.end_ns.tolist() == [30, 70, 75, 90]
    assert spans.owner.tolist() == [0, 0, 1, 1]


def test_the_first_token_belongs_to_the_prefill_and_cached_tokens_are_no_work() -> None:
    assert query_spans(timing((10, 30, 70, 8, 3, 5))).work.tolist() == [5, 4]


def test_a_query_without_a_first_token_is_one_span() -> None:
    spans = query_spans(timing((10, 30, 70, 8, 0, 5), (70, MISSING, 90, 6, MISSING, 4), (90, 95, 99, 1, 0, 1)))
    assert [PHASES[phase] for phase in spans.phase] == ["prefill", "decode", "query", "prefill", "decode"]
    assert spans.owner.tolist() == [0, 0, 1, 2, 2]
    assert spans.work[2] == 10


def test_a_query_of_which_nothing_is_known_still_did_some_work() -> None:
    assert query_spans(timing((10, MISSING, 70, MISSING, MISSING, MISSING))).work.tolist() == [1]


def test_no_queries_are_no_spans() -> None:
    none = np.zeros(0, np.int64)
    spans = query_spans(Timing(none, none, none, none, none, none))
    assert spans.start_ns.size == 0
    assert spans.owners == 0
