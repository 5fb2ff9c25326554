"""Engines that compute in steps over all sequences in flight, with books of every step, as a client sees them.

One loop (the shape of vLLM's and SGLang's): each step takes every sequence that decodes and, up to a budget of tokens,
chunks of the prompts that wait. It lasts as long as the slower of reading the weights and computing its tokens. What it
draws above idle is shared in the books by who is in it, whose tokens and whose context it is. Nothing of this is told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from energy.simulator import REST_S, World

from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.timeline import Spans

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rules:
    """One engine: its speeds, its costs, and what it allows."""

    weights_s: float = 0.014
    token_s: float = 0.00012
    kv_s: float = 0.0
    """A step lasts this much longer for each token of context that it reads."""
    step_j: float = 2.07
    token_j: float = 0.0418
    prompt_j: float = 0.0418
    kv_j: float = 0.0
    budget: int = 512
    most: int = 64
    """Sequences that run at once."""
    chunked: bool = True
    """Prompts share steps with decodes; else a step holds whole prompts alone, as older engines have it."""
    static: bool = False
    """A batch starts when the one before has ended."""
    accepted: Floats = field(default_factory=lambda: np.array([1.0]))
    """Probability of 1, 2, … tokens a step (speculative decoding)."""
    drafted: int = 0
    """Tokens computed a step and sequence beside the first."""
    cached: float = 0.0
    """Fraction of prompts whose beginning (three quarters) is cached."""
    saturates_w: float = 0.0
    """Power above idle follows 1 - exp(-x) towards this."""
    cap_w: float = 0.0
    """More power than this stretches the step."""
    uneven: float = 0.0
    """Standard deviation of a step's own energy, as a fraction."""
    shaky: float = 0.0
    """Standard deviation of how long a step lasts, as a fraction."""
    held_s: float = 0.0
    """A step is held up by so much on average, by a timer or a lock: uniform between half and one and a half of it."""
    held_draws: float = 1.0
    """Of its power, what it draws in that time."""
    idle_w: float = 70.0


@dataclass(frozen=True)
class Client:
    """Load, and how what the engine sends is seen."""

    requests: int = 240
    in_flight: int = 8
    rate: float = 0.0
    """Poisson arrivals a second, instead of a closed loop."""
    prompt: tuple[int, int] = (40, 960)
    answer: tuple[int, int] = (12, 120)
    late_s: float = 0.0003
    """Usual delay of every chunk."""
    jitter_s: float = 0.0001
    """Mean of the exponential delay of each chunk beside that."""
    spread_s: float = 0.00003
    """Between one stream's chunk and the next of one step."""
    gather: int = 1
    """Tokens that come as one chunk."""
    buffer_s: float = 0.0
    """A proxy passes on what it has only so often."""
    foreign: float = 0.0
    """Fraction of the requests that are another client's."""


@dataclass
class _Sequence:
    number: int
    prompt: int
    cached: int
    answer: int
    sent_s: float
    left: int
    produced: int = 0
    ends: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Batched:
    """What came of it: the world, what the client saw, and the engine's own counts."""

    world: World
    requests: Requests
    arrivals: Arrivals
    prefill_j: Floats
    steps: int


def run(
    rng: np.random.Generator, rules: Rules | None = None, client: Client | None = None, engines: int = 1
) -> Batched:
    """Serve all requests, by one engine or by several behind one URL that take turns."""
    rules, client = rules or Rules(), client or Client()
    sequences = _sequences(rng, rules, client)
    if client.rate:
        logs = [_serve(rng, rules, sequences[k::engines], None) for k in range(engines)]
    else:
        each = -(-client.in_flight // engines)
        logs = [_serve(rng, rules, sequences[k::engines], each) for k in range(engines)]
    return _seen(rng, rules, client, sequences, logs)


def _sequences(rng: np.random.Generator, rules: Rules, client: Client) -> list[_Sequence]:
    prompts = rng.integers(*client.prompt, client.requests, endpoint=True)
    answers = rng.integers(*client.answer, client.requests, endpoint=True)
    cached = np.where(rng.random(client.requests) < rules.cached, prompts * 3 // 4 // 16 * 16, 0)
    if client.rate:
        sent = REST_S + np.cumsum(rng.exponential(1 / client.rate, client.requests))
    else:
        sent = np.full(client.requests, REST_S)
    rows = zip(prompts.tolist(), cached.tolist(), answers.tolist(), sent.tolist(), strict=True)
    return [_Sequence(k, p, c, a, s, p - c) for k, (p, c, a, s) in enumerate(rows)]


@dataclass
class _Step:
    start_s: float
    end_s: float
    joules: float
    share_j: dict[int, tuple[float, float]]
    """By sequence: of prompt work and of decode work."""


def _serve(rng: np.random.Generator, rules: Rules, sequences: list[_Sequence], clients: int | None) -> list[_Step]:
    """The loop. `clients` ask again as soon as they are answered; `None`: sequences come when they were sent."""
    coming = deque(sequences)
    ready: deque[_Sequence] = deque()
    running: list[_Sequence] = []
    arriving: list[tuple[float, _Sequence]] = []
    now, steps = REST_S, []
    if clients is not None:
        for _ in range(min(clients, len(coming))):
            sequence = coming.popleft()
            sequence.sent_s = REST_S + float(rng.uniform(0, 0.02))
            arriving.append((sequence.sent_s + 0.0004, sequence))
    else:
        arriving = [(s.sent_s + 0.0004, s) for s in coming]
        coming.clear()
    arriving.sort(key=lambda pair: pair[0])
    while arriving or ready or running:
        if not ready and not running:
            now = max(now, arriving[0][0])
        while arriving and arriving[0][0] <= now:
            ready.append(arriving.pop(0)[1])
        chunks, decoding = _planned(rules, ready, running)
        steps.append(_computed(rng, rules, chunks, decoding, now))
        now = steps[-1].end_s
        for sequence in [*decoding, *[s for s, _ in chunks if s.left == 0]]:
            taken = 1 if not sequence.produced else 1 + int(rng.choice(rules.accepted.size, p=rules.accepted))
            taken = min(taken, sequence.answer - sequence.produced)
            sequence.produced += taken
            sequence.ends.append((now, taken))
            if sequence.produced == sequence.answer:
                running.remove(sequence)
                if coming:
                    follower = coming.popleft()
                    follower.sent_s = now + 0.0005 + float(rng.exponential(0.0005))
                    arriving.append((follower.sent_s + 0.0004, follower))
                    arriving.sort(key=lambda pair: pair[0])
        now += 0.0001
    return steps


def _planned(
    rules: Rules, ready: deque[_Sequence], running: list[_Sequence]
) -> tuple[list[tuple[_Sequence, int]], list[_Sequence]]:
    """Who is in the next step: prompts' chunks, and who decodes."""
    if not (rules.static and running):
        while ready and len(running) < rules.most:
            running.append(ready.popleft())
    decoding = [s for s in running if s.left == 0]
    waiting = [s for s in running if s.left > 0]
    if not rules.chunked and waiting:
        decoding = []
    room = rules.budget - len(decoding) * (1 + rules.drafted)
    chunks: list[tuple[_Sequence, int]] = []
    for sequence in waiting:
        taken = min(room, sequence.left) if rules.chunked else sequence.left
        if taken <= 0 or (not rules.chunked and chunks and taken > room):
            break
        chunks.append((sequence, taken))
        sequence.left -= taken
        room -= taken
    return chunks, decoding


def _computed(
    rng: np.random.Generator,
    rules: Rules,
    chunks: list[tuple[_Sequence, int]],
    decoding: list[_Sequence],
    now: float,
) -> _Step:
    """How long a step lasts, what it draws, and whose that is."""
    each = 1 + rules.drafted
    tokens = sum(n for _, n in chunks) + each * len(decoding)
    context = sum(s.prompt + s.produced for s in decoding) + sum(s.prompt - s.left for s, _ in chunks)
    seconds = max(rules.weights_s, tokens * rules.token_s) + rules.kv_s * context
    if rules.shaky:
        seconds *= max(1 + rules.shaky * float(rng.standard_normal()), 0.5)
    fixed = rules.step_j / (len(chunks) + len(decoding))
    own = {s.number: (fixed + n * rules.prompt_j + rules.kv_j * (s.prompt - s.left), 0.0) for s, n in chunks}
    own |= {s.number: (0.0, fixed + each * rules.token_j + rules.kv_j * (s.prompt + s.produced)) for s in decoding}
    joules = wanted = sum(a + b for a, b in own.values())
    joules *= max(1 + rules.uneven * float(rng.standard_normal()), 0.2)
    if rules.saturates_w:
        joules = seconds * rules.saturates_w * -float(np.expm1(-joules / seconds / rules.saturates_w))
    if rules.cap_w and joules / seconds + rules.idle_w > rules.cap_w:
        seconds = joules / (rules.cap_w - rules.idle_w)
    if rules.held_s:
        held = rules.held_s * float(rng.uniform(0.5, 1.5))
        joules *= 1 + rules.held_draws * held / seconds
        seconds += held
    share = {k: (a * joules / wanted, b * joules / wanted) for k, (a, b) in own.items()}
    return _Step(now, now + seconds, joules, share)


def _seen(
    rng: np.random.Generator, rules: Rules, client: Client, sequences: list[_Sequence], logs: list[list[_Step]]
) -> Batched:
    """What the client keeps of it, and the course of power."""
    net, prefill = np.zeros(client.requests), np.zeros(client.requests)
    for step in (step for log in logs for step in log):
        for k, (a, b) in step.share_j.items():
            net[k] += a + b
            prefill[k] += a
    t, whose, tokens = _arrivals(rng, client, sequences)
    mine = rng.random(client.requests) >= client.foreign
    number = np.cumsum(mine) - 1
    keep = mine[whose]
    order = np.argsort(t[keep], kind="stable")
    t, unit = t[keep][order], number[whose][keep][order].astype(np.int32)
    arrivals = Arrivals((t * 1e9).astype(np.int64), tokens[keep][order], unit)
    start = np.array([s.sent_s for s in sequences])[mine]
    first, last = np.full(start.size, np.inf), np.zeros(start.size)
    np.minimum.at(first, unit, t)
    np.maximum.at(last, unit, t)
    prompt, cached, answer = np.array([(s.prompt, s.cached, s.answer) for s in sequences])[mine].T
    moments = [(x * 1e9).astype(np.int64) for x in (start, first, last + 0.0001)]
    requests = Requests(moments[0], moments[1], moments[2], prompt - cached, answer, cached)
    return Batched(_world(rules, logs, requests, net[mine]), requests, arrivals, prefill[mine], sum(map(len, logs)))


def _arrivals(rng: np.random.Generator, client: Client, sequences: list[_Sequence]) -> tuple[Floats, Ints, Ints]:
    """Moments, whose, tokens: after the network, a server that gathers tokens, and a proxy."""
    rows = [(end, s.number, n) for s in sequences for end, n in _gathered(s.ends, client.gather)]
    rows.sort()
    t, whose, tokens = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows])
    new = np.concatenate([[True], np.diff(t) > 0])
    place = np.arange(t.size) - np.maximum.accumulate(np.where(new, np.arange(t.size), 0))
    t = t + client.late_s + client.spread_s * place + rng.exponential(client.jitter_s, t.size)
    if client.buffer_s:
        t = np.ceil(t / client.buffer_s) * client.buffer_s + rng.exponential(client.jitter_s, t.size)
    for k in range(client.requests):  # a stream keeps its order
        at = np.flatnonzero(whose == k)
        t[at] = np.maximum.accumulate(t[at])
    return t, whose, tokens


def _gathered(ends: list[tuple[float, int]], gather: int) -> list[tuple[float, int]]:
    """The first token alone, then so many at once."""
    if gather == 1:
        return ends
    found, held = [ends[0]], 0
    for k, (end, n) in enumerate(ends[1:], 1):
        held += n
        if held >= gather or k == len(ends) - 1:
            found.append((end, held))
            held = 0
    return found


def _world(rules: Rules, logs: list[list[_Step]], requests: Requests, net: Floats) -> World:
    edges = [(s.start_s, s.joules / (s.end_s - s.start_s)) for log in logs for s in log]
    edges += [(s.end_s, -s.joules / (s.end_s - s.start_s)) for log in logs for s in log]
    edges.sort()
    stop = max(edges[-1][0], requests.end_ns.max() / 1e9)
    at = np.array([0.0, *[e[0] for e in edges], stop + REST_S])
    watts = rules.idle_w + np.maximum(np.cumsum([0.0, *[e[1] for e in edges]]), 0.0)
    step_ns = (at * 1e9).astype(np.int64)
    first, last = int(requests.start_ns.min()), int(stop * 1e9)
    idle = np.array([[500_000_000, first - 500_000_000], [last + 500_000_000, last + int((REST_S - 1) * 1e9)]])
    window = (first - 1_000_000_000, last + 1_000_000_000)
    return World(spans_of(requests), step_ns, watts, net, rules.idle_w, window, idle)


def spans_of(requests: Requests) -> Spans:
    """Prefill and decode of each request, as the client has them."""
    n = requests.start_ns.size
    start = np.stack([requests.start_ns, requests.first_ns], 1).ravel()
    end = np.stack([requests.first_ns, requests.end_ns], 1).ravel()
    work = np.stack([requests.before, np.maximum(requests.produced - 1, 0)], 1).ravel().astype(np.float64)
    return Spans(start, end, np.tile([0, 1], n), ("prefill", "decode"), np.repeat(np.arange(n), 2), work)
