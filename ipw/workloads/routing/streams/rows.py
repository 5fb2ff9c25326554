"""Traces that have a row for each expert, or for each token and layer: into one file a layer, as they come.

llama.cpp's `moe-trace` writes `layer,expert`, or `phase,token,layer,rank,expert`; a fork writes `pos,layer,id0,id1,…`
without a header, with positions below 0 for the prompt. Loggers of vLLM write JSON lines `{"type": "route", "layer": 0,
"token_idx": 7, "topk_ids": [3, 9]}`. Rows of a batch come layer by layer, so tokens are found within each layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.checked import first_bad_token
from ipw.workloads.routing.streams.stream import ID, Spool, Stream, TokenRun, finished

Ints = npt.NDArray[np.integer[Any]]
SURE = 1 << 16
"""Tokens that are looked at to tell how many experts a token has."""


class Rows(NamedTuple):
    """Some rows of a trace."""

    where: str
    layer: Ints
    """[n]"""
    experts: Ints
    """[n, w]: one expert a row, or all k of a token and layer."""
    token: Ints | None = None
    """[n]"""
    text: Ints | None = None
    """[n] numbers of texts, in the order in which they first come."""
    generated: npt.NDArray[np.bool_] | None = None
    """[n]"""
    domain: Ints | None = None
    """[n] numbers of domains."""


@dataclass(slots=True)
class _Layer:
    """How far one layer has come."""

    key: tuple[int, int] | None = None
    """Token and text of the last row."""
    length: int = 0
    """Rows of that token so far."""
    parts: int = 0
    """How often positions began anew."""


@dataclass(slots=True)
class _State:
    source: Path
    spool: Spool
    k: int | None
    layers: dict[int, _Layer] = field(default_factory=dict)
    lead: int = -1
    """The layer that the runs are told from."""
    rows: int = 0
    """Of the leading layer."""
    changes: list[tuple[int, tuple[int, int], bool | None]] = field(default_factory=list)
    texts: dict[tuple[int, int], int] = field(default_factory=dict)
    domains: dict[tuple[int, int], int] = field(default_factory=dict)
    together: int = 0
    """Greatest common divisor of how many rows of one layer follow one another."""
    streak: tuple[int, int] = (-1, 0)
    width: int = 0


def stream_of_rows(
    batches: Iterable[Rows],
    source: Path,
    folder: Path,
    domain_names: list[str],
    num_experts: int | None = None,
    k: int | None = None,
) -> Stream:
    """Spool all rows into `folder`. `domain_names` may grow while the batches are read. Raises UsageError."""
    with closing(Spool(folder)) as spool:
        state = _State(source, spool, k)
        for batch in batches:
            _take(state, batch)
    if state.width == 0:
        raise UsageError(f"{source} holds no routing", "is the trace empty?")
    for number, layer in state.layers.items():
        if layer.key is not None:
            _check_length(state, number, layer.key[0], layer.length)
    state.together = math.gcd(state.together, state.streak[1])
    found = _experts_per_token(state)
    rows_a_token = found // state.width
    runs = [TokenRun(start // rows_a_token, state.texts[key], made) for start, key, made in state.changes]
    domains = [state.domains[key] for key in state.texts]
    return finished(state.spool, source, found, runs, domains, domain_names or ["all"], num_experts)


def _take(state: _State, batch: Rows) -> None:
    n, width = batch.experts.shape
    if not n:
        return
    if state.width not in (0, width):
        raise UsageError(f"{batch.where}: a row names {width} experts, the rows before it {state.width}")
    state.width = width
    if state.lead < 0:
        state.lead = int(batch.layer[0])
    if width == 1 and batch.token is None:
        _measure_streaks(state, batch.layer)
    order = np.argsort(batch.layer, kind="stable")
    ordered = batch.layer[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        rows, number = order[start:stop], int(ordered[start])
        state.spool.add(number, batch.experts[rows], batch.where)
        keys = _keys(state, number, batch, rows)
        if number == state.lead:
            _note_runs(state, batch, rows, keys)


def _measure_streaks(state: _State, layer: Ints) -> None:
    """In a row come the experts of one token, or of the tokens of one batch: their number is a multiple of k."""
    starts = np.flatnonzero(np.diff(layer, prepend=layer[0] - 1))
    lengths = np.diff(starts, append=len(layer))
    number, length = state.streak
    if number == layer[0]:
        lengths[0] += length
    elif length:
        state.together = math.gcd(state.together, length)
    state.together = math.gcd(state.together, *np.unique(lengths[:-1]).tolist())
    state.streak = int(layer[-1]), int(lengths[-1])


def _keys(state: _State, number: int, batch: Rows, rows: Ints) -> Ints:
    """Text of each row [n, 2]: its number, and how often positions began anew before it."""
    layer = state.layers.setdefault(number, _Layer())
    text = np.zeros(len(rows), np.int64) if batch.text is None else batch.text[rows].astype(np.int64)
    if batch.token is None:
        return np.stack([text, np.zeros_like(text)], axis=1)
    token = batch.token[rows].astype(np.int64)
    before = layer.key or (int(token[0]), int(text[0]))
    same_text = np.diff(text, prepend=before[1]) == 0
    steps = np.diff(token, prepend=before[0])
    parts = layer.parts + np.cumsum(same_text & (steps < 0))
    new = (steps != 0) | ~same_text
    starts = np.flatnonzero(new)
    layer.length += int(starts[0]) if starts.size else len(rows)
    if starts.size:
        _check_length(state, number, before[0], layer.length)
        lengths = np.diff(starts, append=len(rows))
        for at in np.flatnonzero(lengths[:-1] * state.width != state.k)[:1]:
            _check_length(state, number, int(token[starts[at]]), int(lengths[at]))
        layer.length = int(lengths[-1])
    layer.key, layer.parts = (int(token[-1]), int(text[-1])), int(parts[-1])
    return np.stack([text, parts], axis=1)


def _check_length(state: _State, number: int, token: int, rows: int) -> None:
    """Compare the experts of a token with those of the first."""
    has = rows * state.width
    state.k = state.k or has
    if has != state.k:
        raise UsageError(
            f"{state.source}: token {token} of layer {number} names {has} experts, not {state.k}",
            "was the file cut short? cut it behind the last whole token, or give --experts-per-token",
        )


def _note_runs(state: _State, batch: Rows, rows: Ints, keys: Ints) -> None:
    made = None if batch.generated is None else batch.generated[rows]
    columns = keys if made is None else np.column_stack([keys, made])
    for at in np.flatnonzero((np.diff(columns, axis=0, prepend=columns[:1] - 1) != 0).any(axis=1)).tolist():
        key = int(keys[at, 0]), int(keys[at, 1])
        flag = None if made is None else bool(made[at])
        if state.changes and state.changes[-1][1:] == (key, flag):
            continue
        state.texts.setdefault(key, len(state.texts))
        state.domains.setdefault(key, 0 if batch.domain is None else int(batch.domain[rows[at]]))
        state.changes.append((state.rows + at, key, flag))
    state.rows += len(rows)


def _experts_per_token(state: _State) -> int:
    if state.k is not None:
        if state.k % state.width:
            raise UsageError(f"--experts-per-token {state.k}: a row of {state.source} names {state.width} experts")
        return state.k
    if state.width > 1:
        return state.width
    hint = "give --experts-per-token"
    if len(state.spool.counts) == 1 or not state.together:
        raise UsageError(f"{state.source} does not say which experts are of one token", hint)
    sample = np.fromfile(state.spool.path(state.lead), ID, SURE).astype(np.int32)
    for k in range(min(state.together, len(sample)), 0, -1):
        tokens = sample[: len(sample) // k * k].reshape(-1, k)
        if state.together % k == 0 and first_bad_token(tokens, int(sample.max()) + 1) < 0:
            return k
    raise UsageError(f"{state.source} does not say which experts are of one token", hint)
