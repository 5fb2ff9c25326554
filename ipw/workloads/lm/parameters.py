"""All that decides what a language-model run asks, of whom and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ipw.workloads.lm.client import Limits
from ipw.workloads.lm.datasets import BUNDLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The options of `ipw run lm`. `None` leaves a choice to the engine, the server or the data set."""

    model: str | None = None
    """A name that the server knows, the path of a GGUF, or a bundled model: `dense`, `moe`."""
    engine: str | None = None
    base_url: str | None = None
    dataset: str = BUNDLED
    scorer: str | None = None
    limit: int | None = None
    seed: int = 0
    """Of the choice of questions, and of sampling where the temperature is above 0."""
    concurrency: int = 1
    warmup: int = 3
    timeout_s: float = 600.0
    stall_s: float = 120.0
    max_tokens: int | None = 1024
    temperature: float = 0.0
    threads: int | None = None
    """Of the llamacpp engine."""
    context_tokens: int = 4096
    """Of the llamacpp engine, for each request in flight; a model with less has what it has."""

    def as_dict(self) -> dict[str, Any]:
        """For the manifest. The API key is not among the parameters, and a URL with a secret in it is refused."""
        return asdict(self)

    def limits(self) -> Limits:
        """What each request may take."""
        return Limits(
            timeout_s=self.timeout_s,
            stall_s=self.stall_s,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed if self.temperature > 0 else None,
        )
