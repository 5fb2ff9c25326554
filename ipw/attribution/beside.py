"""What goes on beside the requests and draws power too, such as the tools of agents: spans behind those of requests.

A GPU serves requests. While one is in flight there, what it draws is theirs, as in a run without tools; what it draws
while none is belongs to whoever is between two requests then, in equal shares. The rest of the machine serves tools as
well: there they are spans like others, which share the idle floor with requests and have levels of power of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ipw.attribution.outside import outside
from ipw.energy.arrays import Ints
from ipw.energy.steps.engine import Engine
from ipw.energy.timeline import Spans

SERVES_REQUESTS = frozenset({"gpu", "memory"})
"""Scopes of channels that computing answers is what draws."""

BETWEEN = "between requests"
"""The phase of them all on such a channel."""


class Beside(NamedTuple):
    """Activities as columns of one length, in order of their owners."""

    start_ns: Ints
    end_ns: Ints
    phase: Ints
    """Index into `phases`."""
    phases: tuple[str, ...]
    owner: Ints
    """0, 1, …: numbered apart from the requests."""
    owners: int


class Joined(NamedTuple):
    """What is in flight on one channel."""

    spans: Spans
    engine: Engine | None


def joined(spans: Spans, engine: Engine | None, beside: Beside, scope: object) -> Joined:
    """Put behind the requests' spans what goes on beside them, as far as it counts on a channel of this `scope`."""
    if scope in SERVES_REQUESTS:  # one level for all of them: each more would ask for more readings
        pieces = _outside(beside, spans)
        alike = pieces._replace(phase=np.zeros_like(pieces.phase), phases=(BETWEEN,))
        return Joined(_behind(spans, alike), engine and _with_more_units(engine, beside.owners))
    if engine is None or _overlap(beside, spans):  # steps cannot tell what else draws meanwhile
        return Joined(_behind(spans, beside), None)
    return Joined(_behind(spans, beside), _with_more_units(engine, beside.owners))


def _overlap(beside: Beside, spans: Spans) -> bool:
    """Whether any activity goes on while a request is in flight."""
    lasting = spans.end_ns > spans.start_ns
    starts, ends = np.sort(spans.start_ns[lasting]), np.sort(spans.end_ns[lasting])
    begun = np.searchsorted(starts, beside.end_ns, "left")
    over = np.searchsorted(ends, beside.start_ns, "right")
    return bool(((begun > over) & (beside.end_ns > beside.start_ns)).any())


def _behind(spans: Spans, beside: Beside) -> Spans:
    owners = spans.owners or 0
    return Spans(
        start_ns=np.concatenate([spans.start_ns, beside.start_ns]),
        end_ns=np.concatenate([spans.end_ns, beside.end_ns]),
        phase=np.concatenate([spans.phase, len(spans.phases) + beside.phase]),
        phases=(*spans.phases, *beside.phases),
        owner=np.concatenate([spans.owner, owners + beside.owner]),
        work=np.concatenate([spans.work, (beside.end_ns - beside.start_ns) / 1e9]),
        owners=owners + beside.owners,
    )


def _outside(beside: Beside, spans: Spans) -> Beside:
    """Keep of the activities what lies outside every request."""
    rows, starts, ends = outside(beside.start_ns, beside.end_ns, spans.start_ns, spans.end_ns)
    return replace_columns(beside, starts, ends, rows)


def replace_columns(beside: Beside, start_ns: Ints, end_ns: Ints, rows: Ints) -> Beside:
    """Take pieces of activities, each of the activity whose row is given."""
    return beside._replace(start_ns=start_ns, end_ns=end_ns, phase=beside.phase[rows], owner=beside.owner[rows])


def _with_more_units(engine: Engine, count: int) -> Engine:
    """Let an engine know of so many more units, which it does nothing for."""
    none = np.full(count, -1, np.int64)
    steps, whole = engine.steps, engine.whole
    if steps is not None:
        steps = replace(
            steps,
            first_step=np.concatenate([steps.first_step, none]),
            last_step=np.concatenate([steps.last_step, none]),
        )
    if whole is not None:
        padded = (np.concatenate([column, none]) for column in whole.requests)
        whole = whole._replace(requests=type(whole.requests)(*padded))
    return replace(engine, steps=steps, whole=whole)
