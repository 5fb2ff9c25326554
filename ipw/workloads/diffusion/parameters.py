"""All that decides what a diffusion run asks, and how it decodes the answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ipw.workloads.diffusion.methods import Method
from ipw.workloads.diffusion.settings import (
    RADIUS,
    SCHEDULED,
    THRESHOLD,
    WINDOW,
    Settings,
    check_relaxed,
    settings_of,
)
from ipw.workloads.texts.datasets import BUNDLED, BUNDLED_LONG

LENGTHS = {BUNDLED: 8, BUNDLED_LONG: 48}
"""Tokens of an answer, where --answer-length is not given."""
LENGTH, BLOCK = 256, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The options of `ipw run diffusion`, of one of its methods."""

    model: str = "diffusion"
    """The bundled model, a folder, or a name on the Hugging Face hub."""
    method: str = "greedy"
    dataset: str = BUNDLED
    scorer: str | None = None
    columns: str | None = None
    answer_is: str | None = None
    limit: int | None = None
    shard: str | None = None
    seed: int = 0
    """Of the choice of questions, of random orders, and of sampling where the temperature is above 0."""
    repetition: int = 0
    answer_length: int | None = None
    block_length: int | None = None
    steps: int | None = None
    threshold: float = THRESHOLD
    relaxed: float | None = None
    radius: int = RADIUS
    refresh: int | None = None
    window: int = WINDOW
    early_stop: bool = False
    temperature: float = 0.0
    batch_size: int = 1
    """Answers of equal geometry that are decoded together."""
    warmup: int = 3
    """Answers of each method before measuring."""
    max_failed_percent: float = 5.0
    device: str = "auto"
    dtype: str = "auto"
    mask_id: int | None = None
    trust_remote_code: bool = False
    """Whether code that comes with the model may run, where nothing else can read it."""
    revision: str | None = None
    """Of a model on the hub."""

    @property
    def length(self) -> int:
        """Tokens of an answer."""
        return LENGTHS.get(self.dataset, LENGTH) if self.answer_length is None else self.answer_length

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)

    def settings(self, method: Method, *, one_block: bool) -> Settings:
        """Put a method's numbers together. Raises UsageError.

        `one_block` says that the model is of a kind whose answers are one block where nothing else is asked for.
        """
        if self.relaxed is not None and self.threshold > 0:
            check_relaxed(self.relaxed, self.threshold)
        block = self.block_length
        if block is None:
            block = self.length if one_block or method.sampler.startswith("dream") else min(BLOCK, self.length)
            block = block if block > 0 and self.length % block == 0 else self.length
        return settings_of(
            length=self.length, block_length=block, steps=self.steps if method.sampler in SCHEDULED else None,
            sampler=method.sampler, cache=method.cache, threshold=self.threshold, relaxed=self.relaxed,
            radius=self.radius, refresh=self.refresh, window=self.window, early_stop=self.early_stop,
            temperature=self.temperature,
        )  # fmt: skip
