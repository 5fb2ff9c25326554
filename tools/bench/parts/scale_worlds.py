"""Runs of any length for `scale.py`: when each query ran, when its tokens came, and what the counter said."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.runs.readings import RECORD_FIELDS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SECOND = 1_000_000_000
IDLE_S, IDLE_W = 10, 60.0
PREFILL_W, DECODE_W = 45.0, 30.0
"""Above idle, of one query."""
TICK_S = 0.1
STEP_S, STEP_J = 0.014, 2.07
"""The least that a step takes, and what it draws above idle whoever is in it."""
TOKEN_S, TOKEN_J = 0.00012, 0.0418
SOCKET_S = 20e-6
"""Between the arrivals of a step, which a client reads one after the other."""


class World(NamedTuple):
    """Queries in the order in which they ended."""

    times_ns: Ints
    """`[3, queries]`: start, first token, end."""
    prompt: Ints
    tokens: Ints
    stamps_ns: Ints
    """When the tokens came, query by query; none where no arrivals are kept."""
    until_ns: int
    readings: bytes


def phased(queries: int, concurrency: int, latency_s: float) -> World:
    """A server whose power follows the phases of its queries, of which so many are always in flight; no arrivals."""
    rng = np.random.default_rng(5)
    length = np.maximum(rng.gamma(4, latency_s / 4, queries), 0.01)
    per_slot = -(-queries // concurrency)
    slots = np.concatenate([length, np.zeros(per_slot * concurrency - queries)]).reshape(concurrency, per_slot)
    end = np.cumsum(slots, axis=1).ravel()[:queries] + IDLE_S
    start = end - length
    first = start + 0.1 * length
    order = np.argsort(end)
    start, first, end = start[order], first[order], end[order]
    tick = np.arange(0.05, end[-1] + IDLE_S - 1, TICK_S)
    power = PREFILL_W * (passed(tick, start) - passed(tick, np.sort(first)))
    power += DECODE_W * (passed(tick, np.sort(first)) - passed(tick, end))
    tokens = np.maximum((end - first) / 0.006, 2).astype(np.int64)
    prompt = 80 + np.arange(queries) % 50
    times = (np.stack([start, first, end]) * SECOND).astype(np.int64)
    return World(times, prompt, tokens, np.zeros(0, np.int64), int(end[-1] * SECOND), counted(tick, power, rng))


def stepped(queries: int, concurrency: int, tokens_each: int) -> World:
    """An engine that computes in steps over all queries in flight; a prompt is computed in the step of its first token.

    Answers have from half to one and a half times `tokens_each` tokens.
    """
    rng = np.random.default_rng(5)
    tokens = rng.integers(tokens_each // 2, tokens_each + tokens_each // 2 + 1, queries)
    prompt = rng.integers(40, 400, queries)
    per_slot = -(-queries // concurrency)
    slot = np.arange(queries) // per_slot
    total = np.cumsum(tokens)
    begun = total - tokens
    first_step = begun - begun[slot * per_slot] + slot  # slots begin one after the other
    work = np.bincount(first_step, prompt, int((first_step + tokens).max()))
    step = first_step.repeat(tokens) + np.arange(total[-1]) - begun.repeat(tokens)
    work += np.bincount(step, minlength=work.size)
    seconds = np.maximum(STEP_S, TOKEN_S * work)
    over = IDLE_S + np.cumsum(seconds)
    stamps = over[step] + SOCKET_S * slot.repeat(tokens) + rng.exponential(SOCKET_S, step.size)
    first, end = stamps[begun], stamps[total - 1] + 1e-4
    start = over[first_step] - seconds[first_step] + 1e-4
    edges = np.concatenate([[IDLE_S], over])
    joules = np.concatenate([[0.0], np.cumsum(STEP_J + TOKEN_J * work)])
    tick = np.arange(0.05, over[-1] + IDLE_S - 1, TICK_S)
    order = np.argsort(end)
    rows = np.argsort(np.argsort(order)[np.arange(queries).repeat(tokens)], kind="stable")
    times = (np.stack([start, first, end])[:, order] * SECOND).astype(np.int64)
    stamps_ns = (stamps[rows] * SECOND).astype(np.int64)
    power = np.interp(tick, edges, joules)
    return World(times, prompt[order], tokens[order], stamps_ns, int(end.max() * SECOND), counted(tick, power, rng))


def counted(tick: Floats, above_j: Floats, rng: np.random.Generator) -> bytes:
    """Read the counter 2 ms before and 1 ms after each of its ticks, at which so much above idle was drawn."""
    energy = IDLE_W * tick + above_j + np.cumsum(rng.normal(0, 0.2, tick.size)).clip(0)
    value = np.maximum.accumulate(np.round(energy, 3))
    rows = np.zeros(2 * tick.size, RECORD_FIELDS)
    rows["t_ns"][0::2], rows["t_ns"][1::2] = (tick - 0.002) * SECOND, (tick + 0.001) * SECOND
    rows["value"][1::2], rows["value"][2::2] = value, value[:-1]
    rows["value"][0] = value[0] - IDLE_W * TICK_S
    rows["uncertainty_ns"] = 20_000
    return rows.tobytes()


def passed(at: Floats, moments: Floats) -> Floats:
    """Seconds gone by at each time since each moment before it, added up; moments in rising order."""
    count = np.searchsorted(moments, at, "right")
    total: Floats = count * at - np.concatenate([[0.0], np.cumsum(moments)])[count]
    return total
