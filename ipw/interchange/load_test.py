"""Tests of a server by the load generators of others: what they tell alike, as our metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ipw.interchange.imported import OF_MODELS, Imported, metrics_of
from ipw.metrics.definitions import INTER_TOKEN, Definition

QUANTILES = (50, 90, 99)
DEFINED = (*OF_MODELS, *INTER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """One test. Absent is what its tool does not tell."""

    source: str
    version: str | None
    model: str
    answered: int | None
    failed: int | None
    failed_because: str | None = None
    duration_s: float | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    seconds: Mapping[str, float | None] = field(default_factory=dict)
    """Quantiles that are ours too, by our names (`ttft_p50_s`)."""
    joules: Mapping[str, float | None] = field(default_factory=dict)
    """Metrics of energy, where the tool measured some."""
    goodput_per_s: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a metric is absent, by the beginning of its name, where more is known than that it was not told."""
    stopped: str | None = None
    """Why the test ended before its end."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def quantiles_of(name: str, seconds: Sequence[float]) -> dict[str, float | None]:
    """Quantiles of what is told of every request."""
    return {f"{name}_p{q}_s": float(np.quantile(seconds, q / 100)) if len(seconds) else None for q in QUANTILES}


def as_run(test: LoadTest, caveat: str) -> Imported:
    """Make the run of a test."""
    sent = None if test.answered is None or test.failed is None else test.answered + test.failed
    per_s = {"output_tokens_per_s": test.output_tokens, "queries_per_s": test.answered if sent is None else sent}
    rates = {name: x / test.duration_s for name, x in per_s.items() if x is not None and test.duration_s}
    counts = {"queries": sent, "errors": test.failed, "duration_s": test.duration_s}
    values = {**counts, **rates, "goodput_per_s": test.goodput_per_s, **test.seconds, **test.joules}

    def why(definition: Definition) -> str:
        known = (reason for start, reason in test.reasons.items() if definition.name.startswith(start))
        if told := next(known, None):
            return told
        if definition.is_energy:
            return f"{test.source} measured no energy"
        if "score" in (definition.numerator, definition.denominator):
            return f"{test.source} asks nothing that can be right or wrong"
        return f"the file of {test.source} does not tell it"

    return Imported(
        source=test.source,
        version=test.version,
        kind="lm",
        name=test.model,
        metrics=metrics_of(DEFINED, values, why, n=test.answered or None),
        caveat=caveat,
        started=test.started,
        model={"name": test.model},
        parameters={"dataset": f"load of {test.source}", **test.parameters},
        told={**test.told, "prompt_tokens": test.prompt_tokens, "output_tokens": test.output_tokens},
        tokens=(test.prompt_tokens, test.output_tokens),
        asked=sent,
        failed=test.failed,
        failed_because=test.failed_because,
        stopped=test.stopped,
    )
