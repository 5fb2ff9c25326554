"""Answers of one geometry through a model, together: a step is one forward pass over what its rule wants computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.clock import now_ns
from ipw.errors import UsageError
from ipw.workloads.diffusion.answer import DecodedAnswer, Predicted, Steps, Wanted
from ipw.workloads.diffusion.selection import Ints
from ipw.workloads.diffusion.settings import Settings, check_whole, settings_of
from ipw.workloads.diffusion.subject import Subject

if TYPE_CHECKING:
    import torch

NO_NUMBERS = "the model gave no numbers"


@dataclass(slots=True)
class Decoded:
    """One answer."""

    tokens: list[int]
    """The prompt and the answer, to its full length."""
    committed: list[list[int]]
    """The positions that each forward pass committed, ascending; a pass may commit none."""
    computed: list[int]
    """How many positions each pass computed, those that fill up a batch's rows included."""
    confidence: list[list[float]]
    """Of what each pass committed."""
    end_ns: int
    error: str | None = None


@dataclass(slots=True)
class _Running:
    """An answer that is being decoded, and where its rows are."""

    number: int
    answer: DecodedAnswer
    steps: Steps
    wanted: Wanted
    draw: Any = None
    """The generator of random numbers, where the temperature is above 0."""


def decode(
    model: Subject,
    prompt_ids: npt.ArrayLike,
    *,
    length: int,
    block_length: int | None = None,
    steps: int | None = None,
    sampler: str = "low-confidence",
    cache: str | None = "none",
    threshold: float | None = None,
    relaxed: float | None = None,
    radius: int | None = None,
    refresh: int | None = None,
    window: int | None = None,
    early_stop: bool | None = None,
    order: Any = None,
    temperature: float | None = None,
    seed: int = 0,
) -> Decoded:
    """Decode one answer of `length` tokens to a prompt of token ids; what is `None` has its default.

    `order` holds, for the sampler `random`, one row of positions a block; without it they are drawn from `seed`.
    Raises UsageError for numbers that do not go together and for a prompt that cannot be answered.
    """
    settings = settings_of(
        length=length, block_length=block_length, steps=steps, sampler=sampler, cache=cache, threshold=threshold,
        relaxed=relaxed, radius=radius, refresh=refresh, window=window, early_stop=early_stop, temperature=temperature,
    )  # fmt: skip
    prompt = [int(token) for token in np.asarray(prompt_ids).reshape(-1)]
    found = decode_batch(model, [prompt], settings, seeds=[seed], orders=None if order is None else [order])[0]
    if found.error:
        raise UsageError(found.error, "look at the prompt and at the model's weights")
    return found


def decode_batch(
    model: Subject,
    prompts: Sequence[Sequence[int]],
    s: Settings,
    seeds: Sequence[int],
    orders: Sequence[Any] | None = None,
) -> list[Decoded]:
    """Decode an answer to each of `prompts`, which are of one length, together.

    Each gets what it gets alone, as far as the model's sums are the same in a batch. An answer that fails has `error`.
    """
    import torch

    check_whole(model.whole, s)
    running, done = [], {}
    for number, prompt in enumerate(prompts):
        answer = DecodedAnswer(prompt, model.mask, s)
        if why := model.unfit(prompt, s.length):
            done[number] = _decoded(answer, why)
            continue
        steps = answer.decoding(
            _orders(orders[number], s) if orders else drawn_orders(len(prompt), s, seeds[number]),
            model.ends,
            shift=model.shift,
        )
        draw = torch.Generator(model.device).manual_seed(seeds[number]) if s.temperature > 0 else None
        running.append(_Running(number, answer, steps, next(steps), draw))
    passes = Passes(model, keep=s.cache != "none")
    with torch.inference_mode():
        while running:
            hidden, rows = passes.run(
                [each.answer.tokens for each in running], [each.wanted.computed for each in running]
            )
            told = _predict(model, hidden, rows, running, s)
            left = []
            for row, (each, predicted) in enumerate(zip(running, told, strict=True)):
                each.answer.computed.append(hidden.shape[1])
                if predicted is None:
                    done[each.number] = _decoded(each.answer, NO_NUMBERS)
                    continue
                try:
                    each.wanted = each.steps.send(predicted)
                    left.append(row)
                except StopIteration:
                    done[each.number] = _decoded(each.answer)
            if len(left) < len(running):
                passes.only(left)
                running = [running[row] for row in left]
    return [done[number] for number in range(len(prompts))]


def drawn_orders(prompt: int, s: Settings, seed: int) -> list[Ints]:
    """Draw the order of each block's positions, where the sampler is `random`."""
    if s.sampler != "random":
        return []
    starts = range(prompt, prompt + s.length, s.block_length)
    return [
        start + np.random.default_rng((seed, block)).permutation(s.block_length) for block, start in enumerate(starts)
    ]


def _orders(given: Any, s: Settings) -> list[Ints]:
    return [np.asarray(row, np.int64)[: s.block_length] for row in given] if s.sampler == "random" else []


def _decoded(answer: DecodedAnswer, error: str | None = None) -> Decoded:
    return Decoded(
        tokens=answer.tokens.tolist(),
        committed=[step.positions.tolist() for step in answer.steps],
        computed=answer.computed,
        confidence=[step.confidence.tolist() for step in answer.steps],
        end_ns=now_ns(),
        error=error,
    )


@dataclass(slots=True)
class Passes:
    """Forward passes over parts of sequences: keys and values of all positions are kept as they were last computed."""

    model: Subject
    keep: bool
    _keys: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """By layer, of [sequences, heads, positions, width]."""
    _at: torch.Tensor | None = None
    """Which positions this pass computes, [sequences, most]; `None` for all."""

    def run(self, tokens: Sequence[Ints], computed: Sequence[Ints | None]) -> tuple[torch.Tensor, list[Ints]]:
        """Compute the positions of each sequence that are asked for; `None` asks for all.

        Returns the last hidden states [sequences, most, width] and for each sequence which position each row is.
        Shorter rows are filled up with their own first position, which then is computed twice, to the same values.
        """
        import torch
        from transformers import DynamicCache

        every = np.arange(tokens[0].size)
        rows = [every if each is None else each for each in computed]
        most = max(each.size for each in rows)
        filled = [np.append(np.full(most - each.size, each[0]), each) for each in rows]
        at = torch.from_numpy(np.stack(filled)).to(self.model.device)
        ids = torch.from_numpy(np.stack([t[f] for t, f in zip(tokens, filled, strict=True)])).to(self.model.device)
        options: dict[str, Any] = {"use_cache": False}
        if self.keep:
            self._at = None if all(each is None for each in computed) else at
            buffers = DynamicCache()
            buffers.update = self._update
            options = {"use_cache": True, "past_key_values": buffers}
        return self.model.states(ids, at, options), filled

    def only(self, rows: Sequence[int]) -> None:
        """Go on with these sequences alone."""
        self._keys = {layer: (key[list(rows)], value[list(rows)]) for layer, (key, value) in self._keys.items()}

    def _update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        if self._at is None:
            self._keys[layer] = key, value
            return key, value
        kept = self._keys[layer]
        sequence = torch.arange(key.shape[0], device=key.device)[:, None]
        for old, new in zip(kept, (key, value), strict=True):
            old.transpose(1, 2)[sequence, self._at] = new.transpose(1, 2)
        return kept


def _predict(
    model: Subject, hidden: torch.Tensor, rows: Sequence[Ints], running: Sequence[_Running], s: Settings
) -> list[Predicted | None]:
    """Tokens and confidences of what each running answer wants; `None` where the logits are no numbers."""
    import torch

    wanted = [each.wanted.predicted - model.shift for each in running]
    places = [np.searchsorted(row, want) for row, want in zip(rows, wanted, strict=True)]
    sizes = [want.size for want in wanted]
    sequence = np.repeat(np.arange(len(running)), sizes)
    logits = model.head(hidden[sequence, np.concatenate(places)]).double()
    logits[:, model.mask] = -torch.inf  # a committed mask would be no progress
    probabilities = logits.softmax(-1)
    drawn = _noisy(logits, running, sizes, s.temperature) if s.temperature > 0 else logits
    tokens = drawn.argmax(-1)
    confidence = probabilities.gather(-1, tokens[:, None])[:, 0]
    scores = confidence
    if s.sampler == "dream-entropy":
        scores = (probabilities * torch.log(probabilities + 1e-10)).sum(-1)
    told = torch.stack([tokens.double(), scores, confidence]).cpu().numpy()
    ends = np.cumsum(sizes)
    parts = [told[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return [
        Predicted(part[0].astype(np.int64), part[1], part[2]) if np.isfinite(part).all() else None for part in parts
    ]


def _noisy(logits: torch.Tensor, running: Sequence[_Running], sizes: Sequence[int], temperature: float) -> torch.Tensor:
    """Logits whose largest is drawn at this temperature: Gumbel's noise, from each answer's own generator."""
    import torch

    width = logits.shape[1]
    uniform = [
        torch.rand(size, width, dtype=torch.float64, generator=each.draw, device=logits.device)
        for each, size in zip(running, sizes, strict=True)
    ]
    return logits - temperature * torch.log(-torch.log(torch.cat(uniform)))
