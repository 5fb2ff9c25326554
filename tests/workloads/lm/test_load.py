from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice, pairwise

import numpy as np
import pytest
from doubles.clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from ipw.clock import now_ns
from ipw.errors import UsageError
from ipw.workloads.lm import load
from ipw.workloads.lm.load import arrivals, closed_loop, open_loop
from ipw.workloads.lm.parameters import Parameters, latency_targets
from ipw.workloads.texts.datasets import Question

QUESTIONS = [Question(str(i), None, "?", "!") for i in range(20)]


class Sender:
    """Answers each question after a while, none before so many were asked, and keeps books."""

    def __init__(self, answer_s: float, answers_after: int = 0) -> None:
        self.answer_s, self.answers_after = answer_s, answers_after
        self.enough = asyncio.Event()
        self.sent: list[tuple[str, int, int | None]] = []
        self.in_flight = self.most = 0

    async def __call__(self, question: Question, due_ns: int | None) -> None:
        self.sent.append((question.id, now_ns(), due_ns))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        if len(self.sent) >= self.answers_after:
            self.enough.set()
        await self.enough.wait()
        await asyncio.sleep(self.answer_s)
        self.in_flight -= 1

    @property
    def ids(self) -> Sequence[str]:
        return [identity for identity, *_ in self.sent]


def due(rate: float) -> list[tuple[Question, float]]:
    return list(zip(QUESTIONS, arrivals(rate, "constant", 0), strict=False))


@given(rate=st.floats(0.01, 1e4), seed=st.integers(0, 99))
def test_constant_arrivals_are_equally_far_apart_and_poisson_ones_in_order(rate: float, seed: int) -> None:
    assert list(islice(arrivals(rate, "constant", seed), 3)) == [0, 1 / rate, 2 / rate]
    drawn = list(islice(arrivals(rate, "poisson", seed), 50))
    assert drawn == list(islice(arrivals(rate, "poisson", seed), 50))
    assert all(before <= after for before, after in pairwise(drawn))


def test_poisson_arrivals_keep_to_the_rate_and_vary_as_they_should() -> None:
    gaps = np.diff(list(islice(arrivals(50, "poisson", 1), 20_000)))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)
    assert list(islice(arrivals(50, "poisson", 2), 5)) != list(islice(arrivals(50, "poisson", 1), 5))


def test_a_closed_loop_asks_all_in_order_with_so_many_in_flight() -> None:
    sender = Sender(0.005)
    asyncio.run(closed_loop(QUESTIONS, sender, 3))
    assert sender.ids == [question.id for question in QUESTIONS]
    assert sender.most == 3


def test_an_open_loop_waits_for_no_answer() -> None:
    sender = Sender(0, answers_after=len(QUESTIONS))
    asyncio.run(open_loop(due(200), sender, 4096))
    assert sender.most == len(QUESTIONS)
    times = [due_ns for *_, due_ns in sender.sent if due_ns is not None]
    assert np.diff(times) == pytest.approx(5e6, abs=2)
    assert all(sent_ns >= due_ns for _, sent_ns, due_ns in sender.sent if due_ns is not None)


def test_an_open_loop_holds_back_what_would_be_too_many_and_shows_how_late_it_was() -> None:
    sender = Sender(0.02)
    asyncio.run(open_loop(due(1000), sender, 2))
    assert sender.most == 2
    assert sender.ids == [question.id for question in QUESTIONS]
    late = [sent_ns - due_ns for _, sent_ns, due_ns in sender.sent if due_ns is not None]
    assert late[-1] > 0.1e9


def test_the_first_question_of_what_is_left_is_due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(tick_ns=0).drives(load, monkeypatch)
    sender = Sender(0)
    asyncio.run(open_loop(due(10)[15:17], sender, 9))
    assert [due_ns for *_, due_ns in sender.sent] == [clock.t_ns, clock.t_ns + 10**8]


def test_latency_targets_are_read_in_seconds_and_milliseconds() -> None:
    assert latency_targets("ttft=500ms, itl=0.05,e2e=10s") == {"ttft": 0.5, "itl": 0.05, "e2e": 10.0}


@pytest.mark.parametrize("text", ["", "ttft", "ttft=", "ttft=-1", "tpot=1", "e2e=0", "e2e=1h", "e2e=nan"])
def test_other_latency_targets_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="is not a latency target"):
        latency_targets(text)


def test_only_sampling_gets_a_seed_and_a_repetition_another() -> None:
    assert Parameters(seed=3, repetition=2).limits().seed is None
    assert Parameters(seed=3, repetition=2, temperature=0.5).limits().seed == 5


def test_an_open_loop_has_room_for_many_in_flight() -> None:
    assert (Parameters().in_flight, Parameters(rate=1).in_flight, Parameters(rate=1, concurrency=7).in_flight) == (
        1,
        4096,
        7,
    )
