"""A small engine that computes in steps over all sequences in flight: a decoder of random weights, with what was done.

It is a real one: weights are read once a step, whoever is in it, each token is computed, and its context is read.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """Of the decoder."""

    layers: int = 24
    hidden: int = 5120
    inner: int = 13824
    heads: int = 40
    kv_heads: int = 8
    slots: int = 32
    length: int = 1152
    budget: int = 512
    device: str = "cuda"


@dataclass
class Sequence:
    """What is asked, and when what of it came."""

    number: int
    prompt: int
    answer: int
    sent_ns: int = 0
    slot: int = -1
    done: int = 0
    """Tokens of the prompt and of the answer that have been computed."""
    arrivals_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """What was in a step: numbers of those that decode, and of prompts with their tokens."""

    start_ns: int
    end_ns: int
    decoding: tuple[int, ...]
    chunks: tuple[tuple[int, int], ...]


class Decoder:
    """Random weights on a device, and a place for the keys and values of each slot."""

    def __init__(self, torch: Any, shape: Shape) -> None:
        self.torch, self.shape = torch, shape
        torch.backends.cuda.enable_cudnn_sdp(False)  # it makes a plan for every new length, which takes a second
        kind = torch.bfloat16
        head = shape.hidden // shape.heads
        kv = shape.kv_heads * head

        def weight(rows: int, columns: int) -> Any:
            return torch.empty(rows, columns, device=shape.device, dtype=kind).normal_(0, columns**-0.5)

        h, inner = shape.hidden, shape.inner
        self.layers = [
            (weight(h + 2 * kv, h), weight(h, h), weight(2 * inner, h), weight(h, inner)) for _ in range(shape.layers)
        ]
        places = (shape.layers, 2, shape.slots, shape.length, shape.kv_heads, head)
        self.cache = torch.zeros(places, device=shape.device, dtype=kind)
        self.head, self.kv = head, kv
        self.inputs = weight(4096, h)

    def step(self, slots: list[int], at: list[int], chunks: list[tuple[int, int, int]]) -> None:
        """Compute a token of each of the `slots` at its place, and chunks of prompts: slot, from, to."""
        torch, shape = self.torch, self.shape
        with torch.inference_mode():
            count = len(slots) + sum(stop - start for _, start, stop in chunks)
            x = self.inputs[:count]
            rows = torch.tensor(slots, device=shape.device)
            places = torch.tensor(at, device=shape.device)
            longest = max(at, default=0) + 1
            seen = torch.arange(longest, device=shape.device)[None] <= places[:, None]
            for number, weights in enumerate(self.layers):
                x = self._layer(x, number, weights, rows, places, seen[:, None, None], chunks)
            if shape.device == "cuda":
                torch.cuda.synchronize()

    def _layer(
        self, x: Any, number: int, weights: Any, rows: Any, places: Any, seen: Any, chunks: list[tuple[int, int, int]]
    ) -> Any:
        torch, shape = self.torch, self.shape
        attend = torch.nn.functional.scaled_dot_product_attention
        qkv, out, up, down = weights
        q, k, v = (torch.nn.functional.rms_norm(x, (shape.hidden,)) @ qkv.T).split(
            [shape.hidden, self.kv, self.kv], dim=1
        )
        q, k, v = (part.unflatten(1, (-1, self.head)) for part in (q, k, v))
        keys, values = self.cache[number]
        n = rows.numel()
        parts = []
        if n:
            keys[rows, places], values[rows, places] = k[:n], v[:n]
            some = slice(0, seen.shape[-1])
            k_all, v_all = (cache[rows, some].transpose(1, 2) for cache in (keys, values))
            parts.append(attend(q[:n, :, None], k_all, v_all, attn_mask=seen, enable_gqa=True).flatten(1))
        first = n
        for slot, start, stop in chunks:
            last = first + stop - start
            keys[slot, start:stop], values[slot, start:stop] = k[first:last], v[first:last]
            k_all, v_all = (cache[slot, :stop].transpose(0, 1)[None] for cache in (keys, values))
            mask = torch.ones(stop - start, stop, device=shape.device, dtype=torch.bool).tril(start)
            mixed = attend(q[first:last].transpose(0, 1)[None], k_all, v_all, attn_mask=mask, enable_gqa=True)
            parts.append(mixed[0].transpose(0, 1).flatten(1))
            first = last
        x = x + torch.cat(parts) @ out.T
        a, b = (torch.nn.functional.rms_norm(x, (shape.hidden,)) @ up.T).chunk(2, dim=1)
        return x + (torch.nn.functional.silu(a) * b) @ down.T


def served(decoder: Decoder, sequences: list[Sequence], in_flight: int, until_ns: int) -> tuple[list[Step], int]:
    """Serve in a closed loop, beginning none after `until_ns`; returns the steps, and how many sequences were begun."""
    coming, running, steps = deque(sequences), list[Sequence](), list[Step]()
    free = list(range(decoder.shape.slots))
    begun = 0
    while True:
        now = time.monotonic_ns()
        while coming and len(running) < in_flight and now < until_ns:
            sequence = coming.popleft()
            sequence.sent_ns, sequence.slot = now, free.pop()
            running.append(sequence)
            begun += 1
        if not running:
            return steps, begun
        decoding = [s for s in running if s.done >= s.prompt]
        room, chunks = decoder.shape.budget - len(decoding), list[tuple[Sequence, int]]()
        for s in running:
            if s.done < s.prompt and room > 0:
                taken = min(room, s.prompt - s.done)
                chunks.append((s, taken))
                room -= taken
        start_ns = time.monotonic_ns()
        decoder.step(
            [s.slot for s in decoding],
            [s.done for s in decoding],
            [(s.slot, s.done, s.done + taken) for s, taken in chunks],
        )
        end_ns = time.monotonic_ns()
        steps.append(Step(start_ns, end_ns, tuple(s.number for s in decoding), tuple((s.number, n) for s, n in chunks)))
        for s, taken in [*chunks, *((s, 1) for s in decoding)]:
            s.done += taken
            if s.done >= s.prompt:
                s.arrivals_ns.append(time.monotonic_ns())
            if s.done == s.prompt + s.answer - 1:  # the last token is not fed back
                running.remove(s)
                free.append(s.slot)
