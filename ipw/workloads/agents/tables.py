"""Tables of a run of agents: `tasks.parquet`, `tools.parquet`, and columns of `queries.parquet`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.runs.agent_tables import OF_QUERIES
from ipw.workloads.agents.asked import Asked, Message
from ipw.workloads.agents.conversations import chains
from ipw.workloads.agents.joules import Drew, summed
from ipw.workloads.agents.structure import Structure

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
BEGINS = "begins:"
"""How the key of a score begins that knows its task by what the task began with."""
COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens")


class After(NamedTuple):
    """What requests drew after their answers were complete, as columns."""

    shows: npt.NDArray[np.bool_]
    """Whether the answer shows where it was complete."""
    babbling_j: Floats
    """Of those: NaN where it is not known."""


def columns_of_queries(found: Structure, query_id: Sequence[str]) -> dict[str, pa.Array]:
    """Say where each request stands, in their order."""
    import pyarrow as pa

    named: dict[str, list[Any]] = defaultdict(list)
    for one, place, task in zip(found.asked, found.places, found.tasks, strict=True):
        row = {
            "task": task,
            "conversation": None if place.conversation is None else place.conversation + 1,
            "turn": place.turn,
            "tool": tools_of(one),
            "role": one.role,
            "model": one.model,
            "api": one.api,
            "continues": None if place.parent is None else query_id[place.parent],
            "retries": None if place.retries is None else query_id[place.retries],
        }
        for name, value in row.items():
            named[name].append(value)
    return {name: pa.array(named[name], pa.type_for_alias(kind)) for name, kind in OF_QUERIES.items()}


def tries(found: Structure) -> pa.Array:
    """Say of requests that they are not what became of a question: 0, else null.

    That is one that failed and was tried again, and one that got vectors, which are no answer in words.
    """
    import pyarrow as pa

    gone = found.retried() | {number for number, one in enumerate(found.asked) if one.ok and not one.tells}
    return pa.array([0.0 if number in gone else None for number in range(len(found.asked))], pa.float64())


def tools_of(one: Asked) -> str | None:
    """Name the tools that an answer asks for, each once."""
    names = dict.fromkeys(call.name for call in one.said.calls) if one.said else {}
    return ", ".join(names) or None


def task_rows(
    found: Structure,
    of_queries: Drew,
    of_gaps: Drew,
    of_pauses: Drew,
    tokens: Mapping[str, Floats],
    scores: Mapping[str, float],
    after: After | None = None,
) -> list[dict[str, Any]]:
    """Make a row a task, in the order in which they begin. Σ turns + tools + pauses of a task is its `energy_j`.

    `tokens` are `COUNTS` of the requests; NaN where unknown.
    """
    tokens = dict(tokens) | {"completion_tokens": _completion(found, tokens)}
    members: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(found.tasks):
        if name is not None:
            members[name].append(number)
    gaps: dict[str, list[int]] = defaultdict(list)
    for number, gap in enumerate(found.gaps):
        gaps[found.tasks[gap.request] or ""].append(number)
    waits: dict[str, list[int]] = defaultdict(list)
    for number, pause in enumerate(found.pauses):
        waits[pause.task].append(number)
    calls: dict[str, list[int]] = defaultdict(list)
    for number, call in enumerate(found.calls):
        calls[found.tasks[call.request] or ""].append(number)
    retried, once_more = found.retried(), repeated_share(found)
    rows = []
    for name, mine in sorted(members.items(), key=lambda item: min(found.asked[i].start_ns for i in item[1])):
        turns, tools, rest = rows_of(of_queries, mine), rows_of(of_gaps, gaps[name]), rows_of(of_pauses, waits[name])
        whole = summed([turns, tools, rest])
        bad = [i for i in mine if not found.asked[i].ok]
        at = [found.places[i] for i in mine]
        ends = [found.asked[i].end_ns for i in mine] + [found.gaps[i].end_ns for i in gaps[name]]
        prompts = [tokens["prompt_tokens"][i] for i in mine if found.places[i].turn]
        first = min(mine, key=lambda i: found.asked[i].start_ns)
        begins = beginning_of(found.asked[first].messages)
        rows.append(
            {
                "task": name,
                "conversations": len({place.conversation for place in at} - {None}),
                "turns": sum(1 for i in mine if found.places[i].turn and i not in retried),
                "forks": _forks(found, mine, retried),
                "requests": len(mine),
                "failed": len(bad),
                "tool_calls": len(calls[name]),
                "calls_measured": sum(1 for i in calls[name] if found.calls[i].gap is not None),
                "start_ns": found.asked[first].start_ns,
                "end_ns": max(ends),
                **{column: known(values[0]) for column, values in whole._asdict().items()},
                "turn_energy_j": known(turns.energy_j.sum()),
                "tool_energy_j": known(tools.energy_j.sum()) if gaps[name] or not calls[name] else None,
                "pause_energy_j": known(rest.energy_j.sum()),
                "failed_energy_j": known(of_queries.energy_j[bad].sum()),
                "repeated_tool_energy_j": known((of_gaps.energy_j * once_more)[gaps[name]].sum()),
                **_babbled(mine, of_queries, after),
                "tool_s": sum(found.gaps[i].end_ns - found.gaps[i].start_ns for i in gaps[name]) / 1e9,
                **{column: sum_of(tokens[column][mine]) for column in COUNTS},
                "tokens": _tokens(found, mine, tokens),
                "resent_tokens": _resent(found, mine, tokens),
                "first_prompt_tokens": _whole(prompts[0] if prompts else np.nan),
                "most_prompt_tokens": _whole(np.nanmax(prompts) if np.isfinite(prompts).any() else np.nan),
                "named": any(found.asked[i].task is not None for i in mine),
                "alike": begins,
                "opens": beginning_of(found.asked[first].messages, instructions=False),
                "score": score_of(name, begins, scores),
            }
        )
    return rows


def tool_rows(found: Structure, of_calls: Drew, query_id: Sequence[str]) -> list[dict[str, Any]]:
    """Make a row for every call of a tool, in order of the answers that ask for them."""
    rows = []
    for number, call in enumerate(found.calls):
        place = found.places[call.request]
        gap = None if call.gap is None else found.gaps[call.gap]
        rows.append(
            {
                "task": found.tasks[call.request],
                "conversation": None if place.conversation is None else place.conversation + 1,
                "turn": place.turn,
                "query_id": query_id[call.request],
                "tool": call.name,
                "call_id": call.id or None,
                "start_ns": gap and gap.start_ns,
                "end_ns": gap and gap.end_ns,
                "at_once": gap and gap.calls,
                "repeated": call.repeated,
                "failed": call.failed,
                **{name: known(column[number]) for name, column in of_calls._asdict().items()},
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str]) -> pa.Table:
    """Make a table of these columns."""
    import pyarrow as pa

    kinds = {name: pa.type_for_alias(kind) for name, kind in schema.items()}
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})


def beginning_of(messages: Sequence[Message], *, instructions: bool = True) -> str | None:
    """Digest what a task begins with, so that repeats of one task are known as such; or without its instructions."""
    return chains(messages, all_roles=instructions)[-1] if messages else None


def score_of(name: str, begins: str | None, scores: Mapping[str, float]) -> float | None:
    """Give a task's score: by its name, or else by what it began with."""
    return scores.get(name, scores.get(f"{BEGINS}{begins}"))


def repeated_share(found: Structure) -> Floats:
    """Of each gap, the share of its calls that repeat one before."""
    count = np.zeros(len(found.gaps))
    for call in found.calls:
        if call.gap is not None and call.repeated:
            count[call.gap] += 1
    share: Floats = count / np.array([gap.calls for gap in found.gaps], np.float64)
    return share


def known(value: float) -> float | None:
    """Give what is not known as `None`."""
    return float(value) if np.isfinite(value) else None


def rows_of(drew: Drew, numbers: Sequence[int]) -> Drew:
    """Take some owners."""
    return Drew(*(column[np.array(numbers, np.int64)] for column in drew))


def sum_of(values: Floats) -> int | None:
    """Sum what is known; `None` where nothing is."""
    return int(np.nansum(values)) if np.isfinite(values).any() else None


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def _forks(found: Structure, mine: Sequence[int], retried: set[int]) -> int:
    """How many requests continue one that another had continued before."""
    parents = [found.places[i].parent for i in mine if i not in retried and found.places[i].parent is not None]
    return len(parents) - len(set(parents))


def _babbled(mine: Sequence[int], of_queries: Drew, after: After | None) -> dict[str, float | None]:
    """Sum up over the answers that show where they were complete; unknown where none does."""
    ended = [] if after is None else [i for i in mine if after.shows[i]]
    if after is None or not ended:
        return {"babbling_energy_j": None, "ended_energy_j": None}
    babbling = float(after.babbling_j[ended].sum())
    return {"babbling_energy_j": known(babbling), "ended_energy_j": known(of_queries.energy_j[ended].sum())}


def _completion(found: Structure, tokens: Mapping[str, Floats]) -> Floats:
    """Tokens of each answer; none where no answer in words was asked for."""
    told = tokens["completion_tokens"]
    wordless = np.array([not one.tells for one in found.asked], np.bool_)
    return np.where(wordless & np.isnan(told), 0.0, told)


def _tokens(found: Structure, mine: Sequence[int], tokens: Mapping[str, Floats]) -> int | None:
    """Tokens of prompts and answers; unknown where one that was answered does not tell."""
    told = np.isfinite(tokens["prompt_tokens"][mine]).any()
    return _whole(sum(_both(found, i, tokens) for i in mine)) if told else None


def _both(found: Structure, number: int, tokens: Mapping[str, Floats]) -> float:
    """Tokens of a request's prompt and answer; of one that failed, what is known."""
    both = np.array([tokens["prompt_tokens"][number], tokens["completion_tokens"][number]])
    return float(both.sum() if found.asked[number].ok else np.nansum(both))


def _resent(found: Structure, mine: Sequence[int], tokens: Mapping[str, Floats]) -> int | None:
    """Tokens that were in the prompt or the answer before, and were sent again; unknown where one of these is."""
    sent = 0.0
    prompts = tokens["prompt_tokens"]
    asked = [i for i in mine if np.isfinite(prompts[i])]
    for i in asked:
        parent = found.places[i].parent
        sent += 0.0 if parent is None else float(np.minimum(prompts[i], _both(found, parent, tokens)))
    return _whole(sent) if asked else None
