"""Which request continues which: turns, forks, conversations and tasks, from what requests held. No I/O.

A request is the next turn of the one whose messages it repeats, followed by the answer that this one got. What messages
cannot tell, because a program shortens its history or keeps it on the server, is told by the id of an answer that it
names, by the ids of the calls whose results it brings, or by a session that a header names. Two requests that continue
the same one are forks: both are the next turn. One that repeats a request that failed is the same turn, tried again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ipw.workloads.agents.asked import ASSISTANT, SYSTEM, Asked, Message

EXACT, ALIKE, ADDED, NONE = 3, 2, 1, 0
"""How surely a message is the answer that a request got: the same or with the same calls; one that begins alike; one
that only stands in its place; not at all."""


class Place(NamedTuple):
    """Where a request stands."""

    parent: int | None
    """The request that it continues, by its place in the list."""
    conversation: int | None
    """From 0, in the order in which they begin. All forks of one are in it. `None`: it is no turn of any."""
    turn: int | None
    """From 1: how many requests lead to it, itself included."""
    retries: int | None
    """The failed request that it repeats."""


def places(asked: Sequence[Asked]) -> list[Place]:
    """Place every request, in the order of the list; requests of one connection, trace or session go together first."""
    found: list[Place | None] = [None] * len(asked)
    seen = _Seen(asked)
    conversations = 0
    for number in in_time(asked):
        if not asked[number].tells:
            found[number] = Place(None, None, None, None)
            continue
        retried = seen.failed_like(number)
        parent = seen.before(number) if retried is None else None
        known = parent if retried is None else retried
        where = None if known is None else found[known]
        if where is None or where.turn is None:
            found[number] = Place(None, conversations, 1, None)
            conversations += 1
        elif retried is not None:
            found[number] = where._replace(retries=retried)
        else:
            found[number] = Place(parent, where.conversation, where.turn + 1, None)
        seen.add(number, parent)
    return [place for place in found if place is not None]


def in_time(asked: Sequence[Asked]) -> list[int]:
    """Give the order in which requests began."""
    return sorted(range(len(asked)), key=lambda i: (asked[i].start_ns, i))


def tasks(asked: Sequence[Asked], found: Sequence[Place]) -> list[str | None]:
    """Name the task of every request: as it was told, else that of what it continues, else one for each conversation.

    Conversations without a name that are of one trace are one task. What is no turn has only the task that was told, or
    that of its trace or its session.
    """
    names = _inherited(asked, found)
    groups = _Groups()
    keys = [_keys(one, place) for one, place in zip(asked, found, strict=True)]
    told: dict[Key, str] = {}
    for name, mine in zip(names, keys, strict=True):
        if name is None:
            groups.join(mine)
    for number in in_time(asked):
        if (name := names[number]) is not None:
            for key in keys[number]:
                told.setdefault(groups.root(key), name)
    free = _free_names({name for name in names if name is not None})
    turns_first = sorted(in_time(asked), key=lambda number: found[number].turn is None)
    for number in turns_first:
        if names[number] is None:
            roots = [groups.root(key) for key in keys[number]]
            name = next((told[root] for root in roots if root in told), None)
            if name is None and found[number].turn is not None:
                name = told.setdefault(roots[0], next(free))
            names[number] = name
    return names


def _inherited(asked: Sequence[Asked], found: Sequence[Place]) -> list[str | None]:
    """Give each request the name that was told of it, or else of one that it continues or repeats."""
    names = [one.task for one in asked]
    for number in in_time(asked):
        before = found[number].parent if found[number].retries is None else found[number].retries
        if names[number] is None and before is not None:
            names[number] = names[before]
    return names


def _keys(one: Asked, place: Place) -> list[Key]:
    """What a request has in common with others of its task; a session joins turns by what they continue alone."""
    session = None if one.tells else one.session
    keys: list[Key] = [("conversation", place.conversation), ("trace", one.trace), ("session", session)]
    return [key for key in keys if key[1] is not None]


Key = tuple[str, object]


class _Groups:
    """Sets of keys that belong together."""

    def __init__(self) -> None:
        self._above: dict[Key, Key] = {}

    def root(self, key: Key) -> Key:
        while (above := self._above.get(key, key)) != key:
            key = above
        return key

    def join(self, keys: Sequence[Key]) -> None:
        for key in keys[1:]:
            mine, other = self.root(keys[0]), self.root(key)
            if mine != other:
                self._above[other] = mine


def _free_names(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        if (name := f"task-{number}") not in taken:
            yield name


def agrees(answer: Message | None, message: Message) -> int:
    """Say how surely a message of a later request is the answer that an earlier one got."""
    if message.role != ASSISTANT:
        return NONE
    if answer is None:
        return ADDED
    mine = {call.id for call in answer.calls if call.id}
    theirs = {call.id for call in message.calls if call.id} | set(message.answers)
    if message.digest == answer.digest or mine & theirs:
        return NONE if mine and theirs and not mine & theirs else EXACT
    if {(call.name, call.given) for call in answer.calls} & {(call.name, call.given) for call in message.calls}:
        return ADDED if mine and theirs else ALIKE
    if answer.calls and not answer.head and not theirs:
        return ALIKE  # there is no text to compare: the program has made one of the calls
    return ALIKE if answer.head and message.head == answer.head else ADDED


def chains(messages: Sequence[Message], *, all_roles: bool = True) -> list[str]:
    """Digest every beginning of a list of messages; without `all_roles`, of those that are no instructions alone."""
    state, found = hashlib.sha256(), []
    for message in messages:
        if all_roles or message.role not in SYSTEM:
            state.update(f"{message.role}\0{message.digest}\0".encode())
        found.append(state.hexdigest()[:24])
    return found


@dataclass(slots=True)
class _Seen:
    """Requests that came before, by what later ones may know them by."""

    asked: Sequence[Asked]
    whole: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By the digest of all their messages."""
    loose: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The same without instructions."""
    by_id: dict[str, int] = field(default_factory=dict)
    by_call: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_session: dict[str, int] = field(default_factory=dict)
    continued: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """How many requests continue each."""

    def add(self, number: int, parent: int | None) -> None:
        one = self.asked[number]
        if parent is not None:
            self.continued[parent] += 1
        if one.messages:
            self.whole[chains(one.messages)[-1]].append(number)
            self.loose[chains(one.messages, all_roles=False)[-1]].append(number)
        if one.response_id:
            self.by_id[one.response_id] = number
        for call in one.said.calls if one.said else ():
            if call.id:
                self.by_call[call.id].append(number)
        if one.session:
            self.by_session[one.session] = number

    def failed_like(self, number: int) -> int | None:
        """The latest request that failed, held the same, and was not tried again."""
        one = self.asked[number]
        if not one.messages:
            return None
        alike = [p for p in self.whole.get(chains(one.messages)[-1], ()) if self._may(p, one)]
        for p in reversed(alike):
            other = self.asked[p]
            if not other.ok and not self.continued[p] and other.end_ns <= one.start_ns and other.api == one.api:
                self.continued[p] += 1
                return p
        return None

    def before(self, number: int) -> int | None:
        """The request that this one continues."""
        one = self.asked[number]
        if one.previous_id is not None:
            return self.by_id.get(one.previous_id)
        found = self._by_messages(one)
        if found is None:
            found = self._by_calls(one)
        if found is None and one.session is not None and one.tells:
            found = self.by_session.get(one.session)
        return found

    def _by_messages(self, one: Asked) -> int | None:
        """Look for the longest beginning that is all of an earlier request, with its answer behind it."""
        for all_roles, known, least in ((True, self.whole, ADDED), (False, self.loose, ALIKE)):
            digests = chains(one.messages, all_roles=all_roles)
            for last in range(len(digests) - 2, -1, -1):
                answer = one.messages[last + 1]
                if answer.role != ASSISTANT or not known.get(digests[last]):
                    continue
                ranked = [
                    (self._rank(p, one, sure), p)
                    for p in known[digests[last]]
                    if self._may(p, one)
                    and (sure := agrees(self.asked[p].said, answer)) >= least
                    and (sure > ADDED or self._told(p, one))
                ]
                if ranked:
                    return max(ranked)[1]
        return None

    def _by_calls(self, one: Asked) -> int | None:
        """Look for the request whose calls this one brings the results of, if their ids are nobody else's."""
        for message in reversed(one.messages):
            for call in message.answers:
                mine = [p for p in self.by_call.get(call, ()) if self._may(p, one)]
                if len(mine) == 1:
                    return mine[0]
        return None

    def _may(self, p: int, one: Asked) -> bool:
        """Whether both may be of one task, and the earlier one began before."""
        task = self.asked[p].task
        return (task is None or one.task is None or task == one.task) and self.asked[p].start_ns < one.start_ns

    def _told(self, p: int, one: Asked) -> bool:
        """Whether something else than messages says that both go together."""
        other = self.asked[p]
        pairs = ((one.trace, other.trace), (one.session, other.session), (one.task, other.task))
        calls = {call.id for call in other.said.calls if call.id} if other.said else set()
        brings = {call for message in one.messages for call in message.answers}
        return any(mine is not None and mine == theirs for mine, theirs in pairs) or bool(calls & brings)

    def _rank(self, p: int, one: Asked, sure: int) -> tuple[int, ...]:
        other = self.asked[p]
        return (
            sure,
            other.end_ns <= one.start_ns,
            other.ok,
            one.session is not None and one.session == other.session,
            one.trace is not None and one.trace == other.trace,
            -min(self.continued[p], 1),
            one.client is not None and one.client == other.client,
            other.end_ns,
        )
