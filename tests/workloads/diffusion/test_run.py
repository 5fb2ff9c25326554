from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from workloads.diffusion import tiny

from ipw.workloads.base import Counters
from ipw.workloads.diffusion import run as running
from ipw.workloads.diffusion.decoding import decode_batch
from ipw.workloads.diffusion.methods import methods_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import Arm, Asked, asked_of, batches, run_diffusion, turn_length
from ipw.workloads.diffusion.subject import Subject
from ipw.workloads.texts.questions import Question

LENGTH = 4


@dataclass
class Notes:
    """Keeps spans and records as a meter and a journal do, with what happened when across all methods."""

    name: str
    log: list[tuple[str, str, str]]
    spans: list[tuple[str, str]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        self.log.append((self.name, name, phase))
        yield
        self.spans.append((name, phase))

    def append(self, kind: str, record: Any) -> None:
        assert kind == "query"
        self.records.append(dict(record))


def questions(count: int) -> list[Question]:
    return [Question(f"q{k}", None, " ".join(["3"] * (1 + k % 2) + [str(4 + k % 9)]), "7 7 7 7") for k in range(count)]


def arms_of(text: str, log: list[tuple[str, str, str]], **options: Any) -> list[Arm]:
    parameters = Parameters(answer_length=LENGTH, **options)
    found = []
    for method in methods_of(text):
        notes = Notes(method.name, log)
        found.append(Arm(method, parameters.settings(method, one_block=True), notes, notes))
    return found


def measured(
    subject: Subject, text: str, count: int = 8, *, progress: Any = lambda _: None, batch_size: int = 1, **options: Any
) -> tuple[list[Arm], list[tuple[str, str, str]]]:
    log: list[tuple[str, str, str]] = []
    arms = arms_of(text, log, **options)
    asked = asked_of(questions(count), subject, 0)
    run_diffusion(arms, subject, asked, "exact", progress, batch_size=batch_size, warmup=1, period_s=1e-9)
    return arms, log


@pytest.fixture
def worded(llada: Subject) -> Subject:
    return replace(llada, tokenizer=tiny.Words())


def _records(arm: Arm) -> list[dict[str, Any]]:
    assert isinstance(arm.book, Notes)
    return arm.book.records


def test_methods_take_turns_in_an_order_that_moves_on(worded: Subject) -> None:
    _, log = measured(worded, "greedy,threshold,dkv-decode", 4)
    turns = [arm for arm, _, phase in log if phase == "measure"]
    a, b, c = "greedy", "threshold", "dkv-decode"
    assert turns == [a, b, c, b, c, a, c, a, b, a, b, c]


def test_the_turns_of_others_are_marked_as_theirs(worded: Subject) -> None:
    arms, _ = measured(worded, "greedy,threshold", 3)
    for arm, other in zip(arms, reversed(arms), strict=True):
        assert isinstance(arm.book, Notes)
        assert arm.book.spans.count(("measure", "measure")) == 3
        assert arm.book.spans.count((other.method.name, "other")) == 3


def test_every_question_is_answered_once_by_every_method(worded: Subject) -> None:
    arms, _ = measured(worded, "greedy,local-leap+dkv-prefill,dkv-greedy", 7)
    for arm in arms:
        assert [record["query_id"] for record in _records(arm)] == [f"q{k}" for k in range(7)]
        for record in _records(arm):
            assert record["status"] == "ok"
            assert sum(record["committed"]) == LENGTH
            assert record["forwards"] == len(record["committed"]) == len(record["computed"])
            assert record["positions"] == record["prompt_tokens"] + LENGTH
            assert record["first_token_ns"] is None
            assert record["end_ns"] >= record["start_ns"]


def test_answers_are_held_against_the_method_without_the_cache(worded: Subject) -> None:
    greedy, decode, leap, prefill = measured(
        worded, "greedy,dkv-decode,local-leap,threshold+dkv-prefill", 6, refresh=1
    )[0]
    assert {record["agrees"] for record in _records(greedy)} == {None}
    assert {record["agrees"] for record in _records(decode)} == {True}
    told = [
        record["response"] == other["response"] for record, other in zip(_records(leap), _records(greedy), strict=True)
    ]
    assert [record["agrees"] for record in _records(leap)] == told
    assert {record["agrees"] for record in _records(prefill)} == {None}, "threshold did not run"


def test_an_interrupt_keeps_what_was_answered(worded: Subject) -> None:
    def progress(counters: Counters) -> None:
        if counters.done == 3:
            raise KeyboardInterrupt

    log: list[tuple[str, str, str]] = []
    arms = arms_of("greedy,threshold", log)
    asked = asked_of(questions(8), worded, 0)
    with pytest.raises(KeyboardInterrupt):
        run_diffusion(arms, worded, asked[:2] * 4, "exact", progress, warmup=1, period_s=1e-9)
    assert sum(len(_records(arm)) for arm in arms) >= 3


def test_a_method_without_memory_ends_and_the_others_go_on(worded: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def short(subject: Any, prompts: Any, settings: Any, seeds: Any) -> Any:
        nonlocal asked
        if settings.sampler == "threshold":
            asked += 1
            if asked > 3:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore lines")
        return decode_batch(subject, prompts, settings, seeds)

    monkeypatch.setattr(running, "decode_batch", short)
    greedy, threshold = measured(worded, "greedy,threshold", 6)[0]
    assert len(_records(greedy)) == 6
    assert len(_records(threshold)) == 2, "the warm-up took one"
    assert threshold.failed == "out of memory: CUDA out of memory. Tried to allocate 2 GiB"


def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory(
    worded: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("expected scalar type")

    monkeypatch.setattr(running, "decode_batch", broken)
    with pytest.raises(RuntimeError, match="scalar"):
        measured(worded, "greedy", 2)


def test_a_question_that_does_not_fit_is_a_failed_answer_and_the_others_stand(worded: Subject) -> None:
    log: list[tuple[str, str, str]] = []
    arms = arms_of("greedy,threshold", log)
    long = Question("long", None, " ".join(["3"] * 70), "7")
    masked = Question("masked", None, f"3 {tiny.MASK}", "7")
    asked = asked_of([*questions(2), long, masked], worded, 0)
    run_diffusion(arms, worded, asked, "exact", lambda _: None, warmup=1)
    for arm in arms:
        found = {record["query_id"]: record for record in _records(arm)}
        assert (found["q0"]["status"], found["long"]["status"], found["masked"]["status"]) == ("ok", "error", "error")
        assert found["long"]["error"] == "the prompt and its answer have 74 tokens, the model takes up to 64"
        assert found["masked"]["error"] == "the prompt holds the mask token"
        assert (found["long"]["score"], found["long"]["forwards"]) == (0.0, 0)


def test_an_answer_ends_at_its_first_end_token(worded: Subject) -> None:
    greedy = measured(replace(worded, ends=frozenset(range(20))), "greedy", 2)[0][0]
    assert {(r["completion_tokens"], r["response"], r["finish_reason"]) for r in _records(greedy)} == {(0, "", "stop")}
    never = measured(replace(worded, ends=frozenset()), "greedy", 2)[0][0]
    assert {(r["completion_tokens"], r["finish_reason"]) for r in _records(never)} == {(LENGTH, "length")}


def test_a_batch_holds_prompts_of_one_length_and_loses_none() -> None:
    asked = [Asked(Question(str(k), None, "", ""), [3] * (1 + k % 3), k) for k in range(11)]
    found = list(batches(asked, 2))
    assert all(len({len(each.prompt) for each in batch}) == 1 and len(batch) <= 2 for batch in found)
    assert sorted(int(each.question.id) for batch in found for each in batch) == list(range(11))


def test_in_batches_methods_answer_what_they_answer_alone(worded: Subject) -> None:
    alone = measured(worded, "local-leap,random+dkv-decode", 9)[0]
    together = measured(worded, "local-leap,random+dkv-decode", 9, batch_size=4)[0]
    for one, other in zip(alone, together, strict=True):
        told = [{r["query_id"]: (r["response"], r["committed"]) for r in _records(arm)} for arm in (one, other)]
        assert told[0] == told[1]
        assert max(record["concurrency"] for record in _records(other)) > 1


def _lasting(*seconds: float) -> Sequence[Arm]:
    arms = arms_of("greedy,threshold", [])
    for arm, each in zip(arms, seconds, strict=True):
        arm.seconds.append(each)
    return arms


def test_a_turn_lasts_ten_periods_of_the_sensor_unless_there_would_be_few_turns() -> None:
    assert turn_length(_lasting(10.0, 2.0), 1000, 1, 0.1) == 1
    assert turn_length(_lasting(0.1, 0.02), 1000, 1, 0.1) == 50
    assert turn_length(_lasting(0.1, 0.02), 1000, 16, 0.1) == 64
    assert turn_length(_lasting(0.01, 0.001), 1000, 1, 0.1) == 250
    assert turn_length(_lasting(0.01, 0.001), 3, 1, None) == 1
