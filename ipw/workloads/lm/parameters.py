"""All that decides what a language-model run asks, of whom and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ipw.errors import UsageError
from ipw.shapes import misfit, shape_of
from ipw.workloads.lm.http.client import Api, Limits
from ipw.workloads.texts.datasets import BUNDLED

Arrival = Literal["constant", "poisson"]
MOST_IN_FLIGHT, OPEN_LOOP_SLOTS = 4096, 16
SLO = ("ttft", "itl", "e2e")
"""Time to first token, mean time between tokens, and the whole, from the question to the end of its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The options of `ipw run lm`. `None` leaves a choice to the engine, the server or the data set."""

    model: str | None = None
    """A name that the server knows, the path of a GGUF or a model's folder, or a bundled model: `dense`, `moe`."""
    engine: str | None = None
    base_url: str | None = None
    serve: str | None = None
    """A command that starts the server; `{port}` in it stands for a free port."""
    serve_timeout_s: float = 600.0
    """From its start until it is ready."""
    server_here: bool = False
    """The server runs on this machine, whatever its address looks like."""
    sensors_of: str | None = None
    """The host whose sensors are read, which is the server's: by its name, or by that of the sensors."""
    api: Api = "chat"
    dataset: str = BUNDLED
    scorer: str | None = None
    columns: str | None = None
    """Which columns of a data set are meant, where they have other names: `prompt=Question,answer=answerKey`."""
    answer_is: str | None = None
    """What answers beside choices are (`answer_places.FORMS`); by default, as the whole set tells."""
    limit: int | None = None
    shard: str | None = None
    """`2/4` is the second of four parts of the questions, which several machines share."""
    seed: int = 0
    """Of the choice of questions, of arrivals, and of sampling where the temperature is above 0."""
    repetition: int = 0
    """Of several runs alike: the questions stay, arrivals and sampling are drawn anew."""
    concurrency: int | None = None
    """Requests in flight; in an open loop, the most of them. By default 1, and MOST_IN_FLIGHT in an open loop."""
    rate: float | None = None
    """Requests a second of an open loop, which waits for no answer; without it, an answer brings the next request."""
    clients: int | None = None
    """Processes that ask, together; by default as many as the load asks for."""
    arrival: Arrival = "poisson"
    slo: str | None = None
    """Latency that a good answer keeps to; `latency_targets` reads it."""
    warmup: int = 8
    retries: int = 0
    """How often a failed question is asked again, when the measured window has closed."""
    timeout_s: float = 300.0
    stall_s: float = 120.0
    max_tokens: int | None = 512
    max_failed_percent: float = 5.0
    """Of the questions: where more fail, stay empty or are cut, the run is not valid (reports/accounting.py)."""
    temperature: float = 0.0
    logprobs: bool = False
    """Ask the server for the log-probability of each token of an answer, for perplexity."""
    judge_url: str | None = None
    """Server of the model that judges, once the measured window has closed, where the scorer is a judge."""
    judge_model: str | None = None
    threads: int | None = None
    """Of the llamacpp engine."""
    context_tokens: int = 4096
    """Of the llamacpp engine, for each request in flight; a model with less has what it has."""
    batch_size: int | None = None
    """Of the transformers engine: the most requests in one batch, by default as many as are in flight."""
    dtype: str = "auto"
    """Of the transformers engine: `auto` is the model's own."""
    device: str = "auto"
    """Of the transformers engine: `auto` is the first accelerator, or else the CPU."""

    @property
    def keeps_prompts(self) -> bool:
        """Whether an engine that is started for the run may keep prompts for those that begin alike."""
        return False  # every question pays for its own

    @property
    def in_flight(self) -> int:
        """The most requests in flight."""
        return self.concurrency or (1 if self.rate is None else MOST_IN_FLIGHT)

    @property
    def slots(self) -> int:
        """How many requests an engine that is started for the run works on at once."""
        return self.concurrency or (1 if self.rate is None else OPEN_LOOP_SLOTS)

    @property
    def drawn_seed(self) -> int:
        """The seed of what differs between repetitions."""
        return self.seed + self.repetition

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
            seed=self.drawn_seed if self.temperature > 0 else None,
            api=self.api,
            logprobs=self.logprobs,
        )


def from_manifest(manifest: Mapping[str, Any], run: object, kind: type[Parameters] = Parameters) -> Parameters:
    """Read the options that a manifest keeps, of this kind; those of other versions are left out.

    Raises UsageError where they are of other types.
    """
    stored = (manifest.get("workload") or {}).get("parameters") or {}
    if fault := misfit(stored, shape_of(kind)):
        raise UsageError(f"the parameters of {run} cannot be read: {fault}", "was the run copied whole?")
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in stored.items() if name in names})


def latency_targets(text: str) -> dict[str, float]:
    """Read `ttft=500ms,itl=0.05,e2e=10s` as seconds by name. Raises UsageError."""
    targets = {}
    for part in text.split(","):
        name, _, length = (piece.strip() for piece in part.partition("="))
        number = re.fullmatch(r"(\d*\.?\d+)(ms|s|)", length)
        if name not in SLO or number is None or float(number[1]) <= 0:
            raise UsageError(
                f"{part.strip()!r} is not a latency target", f"give {', '.join(SLO)} like ttft=500ms,itl=50ms"
            )
        targets[name] = float(number[1]) / (1000 if number[2] == "ms" else 1)
    return targets
