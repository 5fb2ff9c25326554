"""How an answer is decoded: which sampler commits positions, which cache spares computing others, and their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from ipw.errors import UsageError, near

Sampler = Literal["low-confidence", "random", "threshold", "local-leap", "dream", "dream-entropy"]
Cache = Literal["none", "decode", "prefill", "pd", "greedy"]
SAMPLER_NAMES = {
    "greedy": "low-confidence",
    "fast-dllm": "threshold",
    "maskgit_plus": "dream",
    "entropy": "dream-entropy",
}
"""Other names of samplers: what users and papers call them."""
DREAM = ("dream", "dream-entropy")
SCHEDULED = ("low-confidence", "random", *DREAM)
"""Samplers whose number of steps is told beforehand."""
BY_CONFIDENCE = ("low-confidence", "threshold", "local-leap", "dream", "dream-entropy")
REFRESH, GREEDY_REFRESH, WINDOW = 8, 2, 4
THRESHOLD, RELAXED, RADIUS = 0.9, 0.75, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one method does, checked."""

    length: int
    """Tokens of an answer, L."""
    block_length: int
    """Positions of a block, B: blocks are filled from left to right."""
    steps: int
    """T, of samplers that follow a schedule; the others take as many as they take."""
    sampler: Sampler = "low-confidence"
    cache: Cache = "none"
    threshold: float = THRESHOLD
    relaxed: float = RELAXED
    """The threshold near positions that are sure, of `local-leap`."""
    radius: int = RADIUS
    """How near that is, in positions."""
    refresh: int = REFRESH
    """Compute everything anew each so many steps of a block."""
    window: int = WINDOW
    """Masked positions that the cache `greedy` computes around each position to be committed."""
    early_stop: bool = False
    """Stop after a block that holds an end token."""
    temperature: float = 0.0


def settings_of(
    *,
    length: int,
    block_length: int | None = None,
    steps: int | None = None,
    sampler: str = "low-confidence",
    cache: str | None = None,
    threshold: float | None = None,
    relaxed: float | None = None,
    refresh: int | None = None,
    **others: Any,
) -> Settings:
    """Make settings; what is `None` has its default. Raises UsageError with the bound and the values."""
    sure = THRESHOLD if threshold is None else threshold
    named, kept = SAMPLER_NAMES.get(sampler, sampler), cache or "none"
    for what, name, known in (("sampler", named, get_args(Sampler)), ("cache", kept, get_args(Cache))):
        if name not in known:
            raise UsageError(f"there is no {what} {name!r}", near(name, known))
    made = Settings(
        length=length,
        block_length=length if block_length is None else block_length,
        steps=length if steps is None else steps,
        sampler=cast("Sampler", named),
        cache=cast("Cache", kept),
        threshold=sure,
        relaxed=min(RELAXED, sure) if relaxed is None else relaxed,
        refresh=(GREEDY_REFRESH if kept == "greedy" else REFRESH) if refresh is None else refresh,
        **{name: value for name, value in others.items() if value is not None},
    )
    check(made)
    return made


def check(s: Settings) -> None:
    """Raise UsageError for numbers that do not go together."""
    _check_geometry(s)
    for name, value, least in (("radius", s.radius, 0), ("refresh", s.refresh, 1), ("window", s.window, 0)):
        if value < least:
            raise UsageError(f"--{name} {value} is too small", f"it must be a whole number of {least} or more")
    if not s.threshold > 0:
        raise UsageError(f"a threshold of {s.threshold:g} would commit anything", "it must be above 0, as 0.9 is")
    if s.sampler == "local-leap":
        check_relaxed(s.relaxed, s.threshold)
    if not s.temperature >= 0:
        raise UsageError(f"a temperature of {s.temperature:g} has no meaning", "it must be 0 or more")
    if s.cache == "greedy" and s.sampler != "random":
        raise UsageError(
            "dkv-greedy must know the order beforehand, which a sampler that picks by confidence does not",
            "--method dkv-greedy, or local-leap+dkv-decode",
        )


def check_relaxed(relaxed: float, threshold: float) -> None:
    """Raise UsageError where the relaxed threshold is none."""
    if not 0 < relaxed <= threshold:
        raise UsageError(
            f"the relaxed threshold {relaxed:g} must be above 0 and at most the threshold, {threshold:g}",
            f"--relaxed {min(RELAXED, threshold):g}",
        )


def check_whole(whole: bool, s: Settings) -> None:
    """Raise UsageError where a cache wants parts of passes of a model that gives only whole ones."""
    if whole and s.cache != "none":
        raise UsageError(
            "a model that runs by code of its own gives only whole passes, and a cache needs parts of them",
            "--method greedy,threshold,local-leap",
        )


def _check_geometry(s: Settings) -> None:
    if s.length < 1:
        raise UsageError(f"an answer of {s.length} tokens has no room", "--answer-length must be 1 or more")
    if s.block_length < 1 or s.length % s.block_length:
        raise UsageError(f"an answer of {s.length} tokens cannot be cut into blocks of {s.block_length}", _other_cut(s))
    blocks = s.length // s.block_length
    if s.sampler in DREAM and blocks > 1:
        raise UsageError("Dream's schedule knows one block", "leave --block-length out, or --method greedy")
    if s.sampler in SCHEDULED and (s.steps % blocks or not blocks <= s.steps <= s.length):
        nearest = min(max(round(s.steps / blocks), 1) * blocks, s.length)
        raise UsageError(
            f"{s.steps} steps cannot be shared by {blocks} block{'s'[: blocks != 1]} of {s.block_length}",
            f"--steps {nearest}",
        )


def _other_cut(s: Settings) -> str:
    """Name lengths that go together, near those that were asked for."""
    wanted = min(max(s.block_length, 1), s.length)
    block = min((b for b in range(1, s.length + 1) if s.length % b == 0), key=lambda b: (abs(b - wanted), b))
    down = s.length // wanted * wanted
    return f"--block-length {block}, or --answer-length {down} or {down + wanted}"
