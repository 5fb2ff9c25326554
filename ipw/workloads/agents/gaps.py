"""What lies between the turns of a task: calls of tools, and pauses. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipw.workloads.agents.asked import Asked
from ipw.workloads.agents.conversations import Place, in_time

Interval = tuple[int, int]


class ToolCall(NamedTuple):
    """A call that an answer asked for. The tool's time is from the end of that answer to the next request."""

    request: int
    """Whose answer asks for it."""
    gap: int | None
    """Which stretch of time it ran in; `None` where no request followed."""
    name: str
    id: str
    repeated: bool
    """Whether an answer before it in this conversation had asked for the same with the same arguments."""
    failed: bool | None
    """Whether its result says so; `None` where no result was seen."""


class Gap(NamedTuple):
    """From an answer that asks for tools to the next request of its conversation."""

    request: int
    until: int
    """The request that follows first."""
    start_ns: int
    end_ns: int
    calls: int
    """How many ran in it, as far as is known at once: they share what was drawn equally."""


def tool_calls(asked: Sequence[Asked], found: Sequence[Place]) -> tuple[list[ToolCall], list[Gap]]:
    """List all calls of tools, and the stretches of time in which they ran."""
    followers: dict[int, list[int]] = defaultdict(list)
    for number in in_time(asked):
        parent = found[number].parent
        if parent is not None:
            followers[parent].append(number)
    calls: list[ToolCall] = []
    gaps: list[Gap] = []
    for number in in_time(asked):
        said = asked[number].said
        if said is None or not said.calls:
            continue
        after = followers.get(number, [])
        gap = None
        if after:
            gap = len(gaps)
            end_ns = asked[number].end_ns
            start_of_next = max(asked[after[0]].start_ns, end_ns)
            gaps.append(Gap(number, after[0], end_ns, start_of_next, len(said.calls)))
        before = _asked_before(asked, found, number)
        for call in said.calls:
            told = (call.name, call.given)
            failed = _failed([asked[each] for each in after], call.id)
            calls.append(ToolCall(number, gap, call.name, call.id, told in before, failed))
            before.add(told)
    return calls, gaps


def pauses(tasks: Sequence[str | None], asked: Sequence[Asked], gaps: Sequence[Gap]) -> dict[str, list[Interval]]:
    """By task, the stretches between its first and its last moment in which none of its turns and tools was on."""
    busy: dict[str, list[Interval]] = defaultdict(list)
    for name, one in zip(tasks, asked, strict=True):
        if name is not None:
            busy[name].append((one.start_ns, one.end_ns))
    for gap in gaps:
        name = tasks[gap.request]
        if name is not None:
            busy[name].append((gap.start_ns, gap.end_ns))
    return {name: between(intervals) for name, intervals in busy.items()}


def between(intervals: Iterable[Interval]) -> list[Interval]:
    """List the stretches from the first start to the last end that no interval covers."""
    found: list[Interval] = []
    reached: int | None = None
    for start, end in sorted(intervals):
        if reached is not None and start > reached:
            found.append((reached, start))
        reached = end if reached is None else max(reached, end)
    return found


def _asked_before(asked: Sequence[Asked], found: Sequence[Place], number: int) -> set[tuple[str, str]]:
    """What the answers that led to a request had asked for."""
    before: set[tuple[str, str]] = set()
    at = found[number].parent
    while at is not None:
        said = asked[at].said
        before.update((call.name, call.given) for call in (said.calls if said else ()))
        at = found[at].parent
    return before


def _failed(after: Sequence[Asked], call: str) -> bool | None:
    """Whether a result of the call that a later request brings says that it failed."""
    told = [call in message.failed for one in after for message in one.messages if call and call in message.answers]
    return any(told) if told else None
