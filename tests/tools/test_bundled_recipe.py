"""What the bundled models are trained on and looked at with: never what they are asked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from bundled import long_questions, questions
from bundled.questions import QUESTIONS_EACH, QUESTIONS_SEED, TASKS, held_out, held_out_questions, validation_questions

ASKED = held_out_questions(QUESTIONS_EACH, QUESTIONS_SEED)


def test_what_is_looked_at_on_the_way_is_held_out_and_not_asked() -> None:
    looked_at = validation_questions(40, 11, ASKED)
    keys = {(one.subject, one.key) for one in looked_at}
    assert len(keys) == len(looked_at) >= 40 * (len(TASKS) - 2)
    assert not keys & {(one.subject, one.key) for one in ASKED}
    assert all(held_out(one) for one in looked_at)
    assert {one.subject for one in looked_at} == set(TASKS)


@pytest.mark.parametrize("shares", [None, {"mul": 1.0}, {"add3": 0.5, "rev": 0.5}])
def test_no_question_that_is_held_out_is_trained_on_whatever_the_shares(shares: dict[str, float] | None) -> None:
    drawn = list(islice(questions.training_stream(3, shares), 300))
    assert not any(held_out(one) for one in drawn)
    assert {one.subject for one in drawn} <= set(shares or TASKS)


def test_long_questions_are_held_out_by_the_same_rule_and_their_sums_are_right() -> None:
    asked = {one.key for one in long_questions.held_out_questions(30, QUESTIONS_SEED)}
    for one in islice(long_questions.training_stream(3), 300):
        assert not held_out(one)
        assert one.key not in asked
        if one.subject == "work":
            a, b = one.prompt.removeprefix("work ").split("+")
            assert one.answer.split()[-1] == str(int(a) + int(b))


def test_the_rate_does_not_know_the_end_before_it_falls_and_is_nothing_then() -> None:
    pytest.importorskip("torch")
    from bundled.masked import FALLING_SHARE, PEAK_RATE, rate_at

    level = int((1 - FALLING_SHARE) * 1000)
    assert [rate_at(step, 1000) for step in range(level)] == [rate_at(step, 5000) for step in range(level)]
    falling = [rate_at(step, 1000) for step in range(level, 1001)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0 < falling[0] <= PEAK_RATE


def test_a_batch_masks_answers_alone_and_nothing_that_is_not_there() -> None:
    pytest.importorskip("torch")
    from bundled.masked import LONG, SHORT, batch
    from bundled.tokenizer import prompt_ids

    for (count, window), stream in ((SHORT, questions.training_stream(5)), (LONG, long_questions.training_stream(5))):
        drawn = list(islice(stream, count))
        made = batch(drawn, window, 5)
        assert not (made["masked"] & ~made["there"]).any()
        for row, one in enumerate(drawn):
            prompt = len(prompt_ids(one.prompt))
            assert not made["masked"][row, :prompt].any()
            assert made["there"][row].sum() in (prompt + window, made["ids"].shape[1])
        assert made["masked"].any()


def test_a_training_that_stopped_on_the_way_ends_with_the_same_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from bundled.resumed import begun, goes_on, step_down

    def trained(folder: Path, stops_before: int) -> tuple[int, list[float]]:
        torch.manual_seed(0)
        training = begun(torch.nn.Linear(3, 1), folder, 0.1)
        for step in range(training.first, 6):
            if not goes_on(training, step, -1.0 if step == stops_before else 1e9):
                break
            seen = torch.rand(8, 3, generator=torch.Generator().manual_seed(step))
            step_down(training, (training.model(seen) - 1).square().mean(), 0.1 / (step + 1))
        return training.first, training.model.weight.flatten().tolist()

    whole = trained(tmp_path / "whole", -1)
    assert trained(tmp_path / "parts", 4) != whole
    assert trained(tmp_path / "parts", -1) == (4, whole[1])
