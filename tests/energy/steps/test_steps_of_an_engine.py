"""Steps from bursts, work before first results, and who did what: each against a small case that is worked out."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.arrays import Bools, Floats
from ipw.energy.steps import pace, prompts, waiting
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import bursts
from ipw.energy.steps.engine import Engine, _in_batches, engine_of
from ipw.energy.steps.prompts import Prompts
from ipw.energy.steps.steps import Steps, present, steps_of
from ipw.energy.steps.work import work_of

MS = 1_000_000


def requests(*rows: tuple[float, float, float, int, int, int]) -> Requests:
    """(asked, first result, end in ms; work before, results, cached)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    times = [np.rint(table[:, k] * MS).astype(np.int64) for k in range(3)]
    counts = [table[:, k].astype(np.int64) for k in range(3, 6)]
    return Requests(times[0], times[1], times[2], counts[0], counts[1], counts[2])


def arrivals(*rows: tuple[float, int, int]) -> Arrivals:
    """(ms, unit, tokens)."""
    t = np.array([round(at * MS) for at, *_ in rows], np.int64)
    return Arrivals(t, np.array([n for *_, n in rows]), np.array([unit for _, unit, _ in rows], np.int32))


ASKED = requests((5, 20, 41, 30, 3, 10), (15, 30, 40, 50, 4, 0), (100, 120, 130, 7, 2, 0), (33, 0, 0, 9, 0, 0))
CAME = arrivals((20, 0, 1), (30, 1, 1), (30.1, 0, 1), (40, 1, 1), (40.2, 1, 1), (41, 0, 1), (120, 2, 1), (130, 2, 1))
"""Two units beside each other, one long after, and one that was never answered."""


def seen() -> Steps:
    return steps_of(ASKED, CAME, bursts(CAME, 5 * MS))


def test_a_step_ends_as_its_first_result_comes_and_begins_as_the_one_before_ended() -> None:
    steps = seen()
    assert (steps.end_ns / MS).tolist() == [20, 30, 40, 120, 130]
    # the first begins when its unit was asked for; the fourth likewise, since nothing was in flight
    assert (steps.start_ns / MS).tolist() == [5, 20, 30, 100, 120]
    assert steps.entry_step.tolist() == [0, 1, 1, 2, 2, 3, 4]
    assert steps.entry_unit.tolist() == [0, 0, 1, 0, 1, 2, 2]
    assert (steps.first_step.tolist(), steps.last_step.tolist()) == ([0, 1, 3, -1], [2, 2, 4, -1])
    assert present(steps).tolist() == [False, True, False, True, True, False, True]


def test_results_that_were_not_seen_are_in_those_that_were() -> None:
    # unit 1 had four results, of which three chunks came
    np.testing.assert_allclose(seen().entry_tokens, [1, 1, 4 / 3, 1, 8 / 3, 1, 1])


def test_results_of_a_unit_that_does_not_tell_how_many_it_had_are_those_that_came() -> None:
    unknown = ASKED._replace(produced=np.array([-1, 0, 2, 0]))
    np.testing.assert_allclose(steps_of(unknown, CAME, bursts(CAME, 5 * MS)).entry_tokens, [1, 1, 1, 1, 2, 1, 1])


# --- work before first results ---------------------------------------------------------------------------------------


def test_work_waits_in_the_order_of_first_results() -> None:
    steps = seen()
    queue = waiting.queue_of(ASKED, steps, np.ones(5))
    assert queue.unit.tolist() == [0, 1, 2]
    assert queue.first.tolist() == [0, 1, 3]
    assert queue.work.tolist() == [30, 50, 7]
    assert queue.next_work.tolist() == [50, 7, 7, 0, 0]
    # unit 1 was asked for at 15, after the first step began at 5; unit 2 at 100, long after the second and third began
    assert queue.asked.tolist() == [False, False, False, False, False]
    earlier = ASKED._replace(start_ns=np.array([5, 4, 25, 33]) * MS)
    assert waiting.queue_of(earlier, steps, np.ones(5)).asked.tolist() == [True, False, True, False, False]


def test_a_unit_without_work_has_a_token_of_it() -> None:
    nothing = ASKED._replace(before=np.array([0, -1, 7, 9]))
    assert waiting.queue_of(nothing, seen(), np.ones(5)).work.tolist() == [1, 1, 7]


def test_of_steps_that_ended_unseen_the_last_one_began_no_longer_ago_than_steps_last() -> None:
    n = pace.FEW
    length = np.array([10] * n + [100, 4]) * MS
    end = np.cumsum(length)
    small, none = np.zeros(n + 2, np.int32), np.zeros(n + 2, np.int64)
    steps = Steps(end - length, end, small, small, np.zeros(n + 2), none, none)
    decoding = np.array([1.0] * n + [0, 0])
    start = waiting._last_start(steps, decoding, np.arange(n))
    assert ((end - start) / MS).tolist() == [10] * n + [10, 4]
    fewer = np.array([1.0] * (n - 1) + [0, 0, 0])
    np.testing.assert_array_equal(waiting._last_start(steps, fewer, np.arange(n)), steps.start_ns)


def usual(seconds: Floats, decoding: Floats, plain: Bools) -> list[float]:
    found: list[float] = pace.usual_length(seconds, decoding, plain).tolist()
    return found


def test_how_long_a_step_usually_lasts_is_a_line_through_those_that_only_go_on() -> None:
    n = pace.FEW
    decoding = np.arange(n + 2, dtype=np.float64)
    seconds = 0.01 + 0.001 * decoding
    plain = np.ones(n + 2, bool)
    plain[-1], seconds[-1] = False, 9.0  # one with a prompt in it
    assert usual(seconds, decoding, plain) == pytest.approx((0.01 + 0.001 * decoding).tolist())
    assert usual(seconds, decoding, plain & (decoding < n - 1)) == [0.0] * (n + 2)  # too few tell nothing


def test_steps_of_one_size_usually_last_as_the_middle_one_and_a_long_one_is_no_usual() -> None:
    n = pace.FEW + 5
    seconds = np.full(n, 0.02)
    seconds[3] = 0.5
    assert usual(seconds, np.full(n, 4.0), np.ones(n, bool)) == pytest.approx([0.02] * n)
    nearly = np.full(n, 4.0)
    nearly[0] = 5.9  # less than two apart is no line
    assert usual(seconds, nearly, np.ones(n, bool)) == pytest.approx([0.02] * n)
    decoding = np.arange(n, dtype=np.float64)
    assert usual(seconds, decoding, np.ones(n, bool)) == pytest.approx([0.02] * n)


def test_a_step_never_usually_lasts_less_than_half_of_the_middle_one_nor_less_the_more_it_holds() -> None:
    n = pace.FEW + 1
    decoding = np.arange(n, dtype=np.float64)
    falling = 0.03 - 0.0004 * decoding
    base = np.polyfit(decoding, falling, 1)[1]
    assert usual(falling, decoding, np.ones(n, bool)) == pytest.approx([base] * n)
    steep = 0.001 * decoding
    middle = float(np.median(steep))
    assert usual(steep, decoding, steep > -1)[:3] == pytest.approx([middle / 2] * 3)


def test_the_line_of_all_work_is_cut_at_the_ends_of_units_and_of_steps() -> None:
    steps = seen()
    made = waiting.queue_of(ASKED, steps, np.ones(5))
    done = np.array([40.0, 80.0, 80.0, 87.0, 87.0])
    step, unit, tokens, turn = prompts._pieces(made, done, np.ones(5, np.int64), np.inf)
    assert step.tolist() == [0, 0, 1, 3]
    assert unit.tolist() == [0, 1, 1, 2]
    assert tokens.tolist() == [30, 10, 40, 7]
    assert turn.tolist() == [0, 0, 0, 0]


def test_what_several_steps_that_are_seen_as_one_did_is_cut_where_each_was_full() -> None:
    steps = seen()
    made = waiting.queue_of(ASKED, steps, np.ones(5))
    done = np.array([40.0, 80.0, 80.0, 87.0, 87.0])
    step, unit, tokens, turn = prompts._pieces(made, done, np.array([2, 3, 1, 1, 1]), 16.0)
    assert step.tolist() == [0, 0, 0, 1, 1, 1, 3]
    assert unit.tolist() == [0, 0, 1, 1, 1, 1, 2]
    assert tokens.tolist() == [16, 14, 10, 16, 16, 8, 7]
    assert turn.tolist() == [0, 1, 1, 0, 1, 2, 0]


def test_a_long_unseen_step_is_as_many_as_full_ones_fit_into_it() -> None:
    taken = np.array([100.0, 114.4, 114.5, 250.0, 211.0, 500.0])
    decoding = np.array([4.0, 0.0, 0.0, 0.0, 0.0, 7.0])
    # a full one takes 104: up to a tenth more that is one, and a tenth more than two is not yet a third
    assert prompts._passes(taken, decoding, 104.0).tolist() == [1, 1, 2, 3, 2, 1]


# --- who did what ----------------------------------------------------------------------------------------------------


def test_all_in_a_step_share_it_alike_and_each_has_its_own_tokens_and_context() -> None:
    steps = seen()
    passes = np.array([1, 1, 1, 2, 1])
    placed = Prompts(
        np.array([0, 1, 3, 3]),
        np.array([0, 1, 2, 2]),
        np.array([30.0, 50.0, 4.0, 3.0]),
        np.array([0, 0, 0, 1]),
        np.zeros(5),
        passes,
        0.0,
        np.ones(5),
        np.ones(5),
        np.zeros(5),
        np.zeros(5),
        np.ones(5),
        of_a_turn=1,
    )
    work = work_of(ASKED, steps, placed)
    assert work.before.tolist() == [True] * 4 + [False] * 4
    assert work.entry_step.tolist() == [0, 1, 3, 3, 1, 2, 2, 4]
    assert work.entry_unit.tolist() == [0, 1, 2, 2, 0, 0, 1, 2]
    share, tokens, prompt, context = work.entry
    np.testing.assert_allclose(share, [1, 1 / 2, 1, 1, 1 / 2, 1 / 2, 1 / 2, 1])
    np.testing.assert_allclose(tokens, [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(prompt, [30, 50, 4, 3, 0, 0, 0, 0])
    # what is read: of the prompt what is done by then, later all of it and the results before
    np.testing.assert_allclose(context, [40, 50, 4, 7, 40 + 1, 40 + 2, 50 + 4 / 3, 7 + 1])
    np.testing.assert_allclose(work.step[0], [1, 1, 1, 2, 1])
    np.testing.assert_allclose(work.step[1], [0, 1, 2, 0, 1])
    # of drafts, all that is computed in a turn is work, and what is accepted is read
    drafted = work_of(ASKED, steps, placed._replace(of_a_turn=4))
    np.testing.assert_allclose(drafted.entry[1], [0, 0, 0, 0, 4, 4, 4, 4])
    np.testing.assert_allclose(drafted.step[1], [0, 4, 8, 0, 4])
    np.testing.assert_allclose(drafted.entry[[0, 2, 3]], work.entry[[0, 2, 3]])


# --- what kind of engine ---------------------------------------------------------------------------------------------


def test_batches_are_units_that_begin_when_nothing_else_goes_on() -> None:
    def kept(first: list[int], last: list[int]) -> bool:
        small, times = np.zeros(1, np.int32), np.zeros(1, np.int64)
        return _in_batches(Steps(times, times, small, small, np.zeros(1), np.array(first), np.array(last)))

    assert kept([0, 0, 5, 5, -1], [4, 3, 9, 8, -1])
    assert not kept([0, 2, 5, 5], [4, 3, 9, 8])
    assert kept([0] * 9 + [2], [4] * 10)  # one in ten may slip in
    assert not kept([0] * 8 + [2] * 2, [4] * 10)


def stream(units: int, chunks: int, *, beside: int = 4) -> tuple[Requests, Arrivals]:
    """Units that come in rounds of `beside`, half a second apart, with a chunk each every 20 ms."""
    rows, asked = [], []
    for unit in range(units):
        begin = (unit // beside) * (chunks * 20.0 + 500) + 10
        asked.append((begin - 5, begin, begin + 20 * chunks - 20, 9, chunks, 0))
        rows += [(begin + 20 * k + 0.2 * (unit % beside), unit, 1) for k in range(chunks)]
    return requests(*asked), arrivals(*sorted(rows))


def test_too_little_is_no_engine_that_is_known() -> None:
    none = engine_of(requests((0, 1, 2, 1, 1, 0)), arrivals((1, 0, 1)))
    assert (none.kind, none.sure, none.why, none.steps) == ("unknown", 0.0, "no arrivals are known", None)
    assert (none.count, none.step_ms) == (None, None)
    asked = requests(*((0, 1, 2, 1, 5, 0) for _ in range(20)))
    whole = engine_of(asked, arrivals(*((k, k, 5) for k in range(20)), (20.5, 0, 1)))
    assert (whole.kind, whole.why) == ("unknown", "only 5 % of the answers came in several chunks")


def test_units_one_after_the_other_tell_no_steps() -> None:
    found = engine_of(*stream(10, 30, beside=1))
    assert (found.kind, found.sure) == ("one at a time", 1.0)
    assert found.why == "100% of the chunks came while one was in flight"
    assert found.evidence["beside_others"] == 0
    few = engine_of(*stream(8, 24))  # 192 beside others are less than 200
    assert few.kind == "one at a time"


def test_units_in_rounds_are_static_batches_with_steps_of_their_length() -> None:
    found = engine_of(*stream(16, 20))
    assert (found.kind, found.sure) == ("static batches", 1.0)
    assert found.count == 80
    assert found.step_ms is not None
    assert found.step_ms[1] == pytest.approx(20.0)
    parts = {name: found.evidence[name] for name in ("attended", "once", "spread")}
    assert parts == pytest.approx({"attended": 1, "once": 1, "spread": 0.03})
    assert found.evidence["beside_others"] > 0.9
    assert found.work is not None
    assert found.facts()["steps"] == 80
    assert found.facts()["step_ms"] == list(found.step_ms)
    assert Engine("unknown", 0.0, "").facts()["step_ms"] is None
