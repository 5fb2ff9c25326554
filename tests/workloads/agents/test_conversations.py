"""Turns, forks, conversations and tasks are told from what requests held."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.agents.asked import Asked, Call, Message
from ipw.workloads.agents.structure import Structure, structure

MS = 1_000_000


def say(role: str, text: str, *calls: str, answers: tuple[str, ...] = ()) -> Message:
    found = tuple(Call(f"id-{name}", name.partition(":")[0], name) for name in calls)
    return Message(role, f"{role}/{text}/{calls}", text[:6], found, answers)


class Script:
    """A program that speaks to a model, one request after the other."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.now = 0

    def ask(self, messages: list[Message], said: Message | None, **known: Any) -> list[Message]:
        """Ask, and give the history with the answer."""
        self.now += 100 * MS
        known = {"ok": said is not None} | known
        self.asked.append(
            Asked(start_ns=self.now, end_ns=self.now + 50 * MS, messages=tuple(messages), said=said, **known)
        )
        return [*messages, said] if said else messages

    def told(self) -> Structure:
        return structure(self.asked)


SYSTEM, HELLO = say("system", "be brief"), say("user", "hello")


def turns(found: Structure) -> list[tuple[Any, Any]]:
    return [(place.conversation, place.turn) for place in found.places]


def test_a_request_that_repeats_another_and_its_answer_is_its_next_turn() -> None:
    script = Script()
    history = script.ask([SYSTEM, HELLO], say("assistant", "hi"))
    history = script.ask([*history, say("user", "more")], say("assistant", "well"))
    script.ask([*history, say("user", "and more")], say("assistant", "no"))
    assert turns(script.told()) == [(0, 1), (0, 2), (0, 3)]
    assert script.told().tasks == ["task-1"] * 3


def test_two_requests_that_continue_one_are_forks_of_one_conversation() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "hi"))
    script.ask([*history, say("user", "left")], say("assistant", "l"))
    script.ask([*history, say("user", "right")], say("assistant", "r"))
    found = script.told()
    assert turns(found) == [(0, 1), (0, 2), (0, 2)]
    assert [place.parent for place in found.places] == [None, 0, 0]


def test_two_conversations_with_one_beginning_are_told_apart_by_their_answers() -> None:
    script = Script()
    one = script.ask([HELLO], say("assistant", "first"))
    two = script.ask([HELLO], say("assistant", "second"))
    script.ask([*two, say("user", "go")], say("assistant", "x"))
    script.ask([*one, say("user", "go")], say("assistant", "y"))
    assert turns(script.told()) == [(0, 1), (1, 1), (1, 2), (0, 2)]


def test_with_equal_answers_too_each_continues_one_that_nobody_has_continued() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "same"))
    script.ask([HELLO], say("assistant", "same"))
    script.ask([*history, say("user", "go")], say("assistant", "x"))
    script.ask([*history, say("user", "go")], say("assistant", "y"))
    assert sorted(turns(script.told())) == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_examples_before_a_question_are_no_earlier_turns() -> None:
    script = Script()
    script.ask([say("user", "1+1")], say("assistant", "It is two"))
    script.ask([say("user", "1+1"), say("assistant", "2"), say("user", "2+2")], say("assistant", "4"))
    assert turns(script.told()) == [(0, 1), (1, 1)]


def test_an_answer_that_a_program_has_cut_still_leads_to_its_next_turn() -> None:
    script = Script()
    script.ask([HELLO], Message("assistant", "whole", "begins"))
    script.ask([HELLO, Message("assistant", "cut", "begins"), say("user", "go")], say("assistant", "x"))
    assert turns(script.told()) == [(0, 1), (0, 2)]


def test_instructions_that_change_with_every_turn_do_not_part_turns() -> None:
    script = Script()
    history = script.ask([say("system", "it is noon"), HELLO], say("assistant", "hi"))
    script.ask([say("system", "it is one"), *history[1:], say("user", "go")], say("assistant", "x"))
    assert turns(script.told()) == [(0, 1), (0, 2)]


def test_a_history_that_was_cut_is_joined_by_the_call_whose_result_it_brings() -> None:
    script = Script()
    script.ask([SYSTEM, HELLO], say("assistant", "", "search:a"))
    script.ask([say("user", "summary so far"), say("tool", "found", answers=("id-search:a",))], say("assistant", "x"))
    assert turns(script.told()) == [(0, 1), (0, 2)]


def test_calls_that_a_program_writes_as_text_lead_to_their_next_turn() -> None:
    script = Script()
    script.ask([HELLO], say("assistant", "", "search:a"))
    written = Message("assistant", "as text", "Calling", answers=("id-search:a",))
    script.ask([HELLO, written, say("user", "Observation")], say("assistant", "", "search:b"))
    plain = Message("assistant", "without an id", "I search")
    script.ask([HELLO, written, say("user", "Observation"), plain, say("user", "2")], say("assistant", "x"))
    assert turns(script.told()) == [(0, 1), (0, 2), (0, 3)]


def test_a_call_id_that_several_answers_have_joins_nothing() -> None:
    script = Script()
    for text in ("one", "two"):
        script.ask([say("user", text)], say("assistant", "", "search:a"))
    script.ask([say("user", "summary"), say("tool", "found", answers=("id-search:a",))], say("assistant", "x"))
    assert turns(script.told()) == [(0, 1), (1, 1), (2, 1)]


def test_an_answer_that_is_named_is_continued_without_its_messages() -> None:
    script = Script()
    script.ask([HELLO], say("assistant", "hi"), response_id="resp-1")
    script.ask([say("user", "go")], say("assistant", "x"), previous_id="resp-1", response_id="resp-2")
    script.ask([say("user", "go")], say("assistant", "x"), previous_id="resp-1")
    assert turns(script.told()) == [(0, 1), (0, 2), (0, 2)]


def test_a_session_joins_what_messages_do_not() -> None:
    script = Script()
    script.ask([HELLO], say("assistant", "hi"), session="s")
    script.ask([say("user", "other words")], say("assistant", "x"), session="s")
    assert turns(script.told()) == [(0, 1), (0, 2)]


def test_conversations_of_one_trace_are_one_task() -> None:
    script = Script()
    script.ask([HELLO], say("assistant", "hi"), trace="t")
    script.ask([say("user", "sub-agent")], say("assistant", "x"), trace="t")
    script.ask([say("user", "stranger")], say("assistant", "x"), trace="u")
    assert script.told().tasks == ["task-1", "task-1", "task-2"]


def test_a_name_that_was_given_holds_for_all_later_turns_and_no_number_takes_it() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "hi"), task="task-1")
    script.ask([*history, say("user", "go")], say("assistant", "x"))
    script.ask([say("user", "another")], say("assistant", "y"))
    assert script.told().tasks == ["task-1", "task-1", "task-2"]


def test_requests_of_two_named_tasks_never_continue_each_other() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "hi"), task="a")
    script.ask([HELLO], say("assistant", "hi"), task="b")
    script.ask([*history, say("user", "go")], say("assistant", "x"), task="b")
    assert turns(script.told()) == [(0, 1), (1, 1), (1, 2)]


def test_what_failed_and_is_asked_again_is_the_same_turn() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "hi"))
    again = [*history, say("user", "go")]
    script.ask(again, None)
    script.ask(again, None)
    script.ask(again, say("assistant", "x"))
    found = script.told()
    assert turns(found) == [(0, 1), (0, 2), (0, 2), (0, 2)]
    assert found.retried() == {1, 2}


def test_an_embedding_is_no_turn_and_belongs_to_the_task_of_its_trace() -> None:
    script = Script()
    script.ask([], None, tells=False, trace="t", ok=True)
    script.ask([], None, tells=False, ok=True)
    script.ask([HELLO], say("assistant", "hi"), trace="t")
    found = script.told()
    assert found.tasks == ["task-1", None, "task-1"]
    assert turns(found) == [(None, None), (None, None), (0, 1)]


def test_a_tool_runs_from_the_answer_that_asks_for_it_to_the_first_next_request() -> None:
    script = Script()
    asks = say("assistant", "", "search:a", "run:b")
    history = script.ask([HELLO], asks)
    results = [say("tool", "1", answers=("id-search:a",)), replace_failed(say("tool", "2", answers=("id-run:b",)))]
    script.ask([*history, *results], say("assistant", "", "search:a"))
    found = script.told()
    (gap,) = found.gaps
    assert (gap.start_ns, gap.end_ns, gap.calls) == (150 * MS, 200 * MS, 2)
    assert [(c.name, c.gap, c.repeated, c.failed) for c in found.calls] == [
        ("search", 0, False, False), ("run", 0, False, True), ("search", None, True, None),
    ]  # fmt: skip


def replace_failed(message: Message) -> Message:
    return message._replace(failed=message.answers)


def test_a_pause_is_nobodys_while_another_task_is_busy() -> None:
    script = Script()
    history = script.ask([HELLO], say("assistant", "hi"))
    script.now += 300 * MS
    script.ask([*history, say("user", "go")], say("assistant", "x"))
    other = Asked(start_ns=200 * MS, end_ns=300 * MS, messages=(say("user", "o"),), said=say("assistant", "o"))
    found = structure([*script.asked, other])
    assert [(p.task, p.start_ns // MS, p.end_ns // MS) for p in found.pauses] == [
        ("task-1", 150, 200), ("task-1", 300, 500),
    ]  # fmt: skip


def test_a_record_of_the_journal_says_the_same_again() -> None:
    one = Asked(
        start_ns=5, end_ns=9, messages=(SYSTEM, say("tool", "x", answers=("a", "b"))), task="t",
        said=say("assistant", "hi", "search:a"), client=3, model="m", trace="00",
    )  # fmt: skip
    record = {"start_ns": 5, "end_ns": 9, "status": "ok", "agent": one.as_record()}
    assert Asked.from_record(record) == one


@pytest.mark.parametrize("agent", [None, 3, {"messages": 3}, {"messages": [["user"]]}, {"task": 7}, {"said": []}])
def test_what_a_record_holds_that_cannot_be_is_not_known(agent: object) -> None:
    found = Asked.from_record({"start_ns": 5, "end_ns": 9, "status": "ok", "agent": agent})
    assert (found.task, found.messages, found.said) == (None, (), None)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 2)), max_size=40))
def test_every_scripted_tree_of_turns_is_found_again(steps: list[tuple[int, bool, int]]) -> None:
    script, histories = Script(), list[list[Message]]()
    wanted: list[int | None] = []
    for number, (pick, fresh, calls) in enumerate(steps):
        said = say("assistant", f"answer {number}", *(f"tool:{number}:{i}" for i in range(calls)))
        if fresh or not histories:
            parent, messages = None, [SYSTEM, say("user", f"task {pick}")]
        else:
            parent = pick % len(histories)
            messages = [*histories[parent], say("user", f"then {number}")]
        histories.append(script.ask(messages, said))
        wanted.append(parent)
    found = script.told()
    assert [place.parent for place in found.places] == wanted
    shuffled = structure([replace(one) for one in reversed(script.asked)])
    assert [place.turn for place in reversed(shuffled.places)] == [place.turn for place in found.places]
