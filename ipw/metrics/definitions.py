"""What each metric is: its name, its label, its unit, and the formula that a reader can check it by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from ipw.registry import load, workload, workloads


class Definition(NamedTuple):
    """One metric."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", ""]
    formula: str
    numerator: str = ""
    """Column of the queries; set for metrics that are a mean over a mean, taken over the same queries."""
    denominator: str = ""
    energy: bool = False
    """Whether joules went into it, where the columns do not tell."""

    @property
    def is_energy(self) -> bool:
        """Whether joules went into it, so that an estimate of them makes it an estimate."""
        return bool({self.numerator, self.denominator} & ENERGY_COLUMNS) or self.name in RUN_ENERGY or self.energy


ENERGY_COLUMNS = {"energy_j", "power_w", "prefill_energy_j", "decode_energy_j"}
RUN_ENERGY = {
    "energy_j",
    "net_energy_j",
    "mean_power_w",
    "idle_power_w",
    "steady_mean_power_w",
    "steady_energy_per_output_token_j",
}

RATIOS = (
    Definition("accuracy", "Accuracy", "", "higher", "mean score; a failed or missing answer scores 0", "score", "one"),
    Definition(
        "accuracy_per_watt",
        "Accuracy per watt (IPW)",
        "1/W",
        "higher",
        "mean score / mean over queries of the query's mean power; rewards slowness, so read it beside IPJ and latency",
        "score",
        "power_w",
    ),
    Definition(
        "accuracy_per_joule",
        "Accuracy per joule (IPJ)",
        "1/J",
        "higher",
        "mean score / mean energy of a query; of conversations, sum of the scores / energy of all turns",
        "right",
        "energy_j",
    ),
    Definition(
        "energy_per_query_j",
        "Energy per query",
        "J",
        "lower",
        "mean energy of a query, idle floor included",
        "energy_j",
        "one",
    ),
    Definition(
        "energy_per_correct_j",
        "Energy per correct answer",
        "J",
        "lower",
        "energy of all queries / sum of their scores",
        "energy_j",
        "right",
    ),
    Definition(
        "energy_per_output_token_j",
        "Energy per output token",
        "J",
        "lower",
        "energy of all queries / their output tokens",
        "energy_j",
        "completion_tokens",
    ),
    Definition(
        "energy_per_token_j",
        "Energy per token",
        "J",
        "lower",
        "energy of all queries / their prompt and output tokens",
        "energy_j",
        "tokens",
    ),
    Definition(
        "prefill_energy_per_token_j",
        "Prefill energy per token",
        "J",
        "lower",
        "energy up to the first token / prompt tokens that were not cached",
        "prefill_energy_j",
        "uncached_tokens",
    ),
    Definition(
        "decode_energy_per_token_j",
        "Decode energy per token",
        "J",
        "lower",
        "energy from the first token on / output tokens",
        "decode_energy_j",
        "completion_tokens",
    ),
    Definition(
        "mean_query_power_w",
        "Mean power of a query",
        "W",
        "lower",
        "mean over queries of the query's mean power: the denominator of IPW",
        "power_w",
        "one",
    ),
)
"""Ratios of means over queries, resampled together."""

WINDOW = (
    Definition("energy_j", "Energy", "J", "lower", "all that the devices of the basis drew in the measured window"),
    Definition(
        "net_energy_j", "Net energy", "J", "lower", "energy of the measured window less idle power times its length"
    ),
    Definition("mean_power_w", "Mean power over time", "W", "lower", "energy of the measured window / its length"),
    Definition("idle_power_w", "Idle power", "W", "lower", "power while the run sat still, before and after"),
    Definition("duration_s", "Duration", "s", "lower", "length of the measured window"),
)
"""Of every workload."""

RATES = (
    Definition(
        "output_tokens_per_s",
        "Output tokens per second",
        "1/s",
        "higher",
        "output tokens of all queries / duration",
        "completion_tokens",
        "latency_s",
    ),
    Definition("queries_per_s", "Queries per second", "1/s", "higher", "queries / duration", "one", "latency_s"),
    Definition(
        "goodput_per_s",
        "Goodput",
        "1/s",
        "higher",
        "answered queries that keep to every latency target (--slo) / duration",
        "good",
        "latency_s",
    ),
)
"""Over the duration; resampled over the queries' latency."""

QUANTILES = tuple(
    Definition(f"{name}_p{q}_s", f"{label}, p{q}", "s", "lower", f"{q}th percentile over the queries that succeeded")
    for name, label in (("ttft", "Time to first token"), ("latency", "Latency"))
    for q in (50, 90, 99)
)

INTER_TOKEN = tuple(
    Definition(
        f"itl_p{q}_s",
        f"Time between tokens, p{q}",
        "s",
        "lower",
        f"{q}th percentile over all gaps between chunks of text as they were read from the socket",
    )
    for q in (50, 90, 99)
)

LATENESS = tuple(
    Definition(
        f"lateness_p{q}_s",
        f"Lateness, p{q}",
        "s",
        "lower",
        f"{q}th percentile over the queries of an open loop of how long after it was due each was sent",
    )
    for q in (50, 99)
)

STEADY = (
    Definition(
        "steady_duration_s",
        "Steady state",
        "s",
        "",
        "in a closed loop, from when all requests are in flight to when the first finds no more questions; in an open "
        "one, from the first answer's end to the last question's sending",
    ),
    Definition(
        "steady_output_tokens_per_s",
        "Output tokens per second, steady",
        "1/s",
        "higher",
        "output tokens that fall into the steady state, each answer's spread evenly from first to last / length",
    ),
    Definition("steady_mean_power_w", "Mean power, steady", "W", "lower", "energy of the steady state / its length"),
    Definition(
        "steady_energy_per_output_token_j",
        "Energy per output token, steady",
        "J",
        "lower",
        "energy of the steady state / output tokens that fall into it",
    ),
)
"""Of the part of the measured window in which the load is what was asked for: what a server in use would show."""

RETRIED = Definition(
    "accuracy_with_retries",
    "Accuracy with retries",
    "",
    "higher",
    "accuracy where a query that failed counts as it was answered when it was asked again, outside the measured window",
)

PERPLEXITY = (
    Definition(
        "perplexity",
        "Perplexity of the answers",
        "",
        "lower",
        "mean over queries of exp(-mean log-probability of the answer's tokens), as the model itself tells them",
        "perplexity",
        "one",
    ),
    Definition(
        "perplexity_per_watt",
        "Perplexity per watt (PPW)",
        "1/W",
        "higher",
        "1 / (mean perplexity x mean over queries of the query's mean power)",
        "perplexity",
        "power_w",
    ),
    Definition(
        "perplexity_per_joule",
        "Perplexity per joule (PPJ)",
        "1/J",
        "higher",
        "1 / (mean perplexity x mean energy of a query)",
        "perplexity",
        "energy_j",
    ),
)
"""Of runs that asked for log-probabilities (--logprobs)."""

UTILISATION = (
    Definition(
        "flops_utilisation",
        "Model FLOPs utilisation (MFU)",
        "",
        "higher",
        "2 x active parameters x tokens processed / duration / peak rate of the devices (data sheet, dense 16-bit)",
    ),
    Definition(
        "bandwidth_utilisation",
        "Model bandwidth utilisation (MBU)",
        "",
        "higher",
        "bytes of active weights x output tokens / mean requests in flight / duration / peak memory bandwidth",
    ),
)
"""Of language models whose parameters are known, on devices whose peaks are."""

UNPARSED = Definition(
    "unparsed",
    "Answers without a choice",
    "",
    "lower",
    "answers in which the scorer found no letter, number, formula or verdict to judge; they score 0",
)
"""Of runs whose scorer looks for such a thing."""

DIFFUSION = (
    Definition(
        "forwards_per_answer",
        "Forward passes per answer",
        "passes",
        "lower",
        "forward passes of all answers / answers; passes that commit nothing count too",
        "forwards",
        "one",
    ),
    Definition(
        "tokens_per_forward",
        "Tokens per forward pass",
        "tokens",
        "higher",
        "positions committed in all answers / their forward passes",
        "committed",
        "forwards",
    ),
    Definition(
        "computed_share",
        "Share of positions computed",
        "",
        "lower",
        "positions that all passes computed / those that they would have computed without a cache",
        "computed",
        "computable",
    ),
    Definition(
        "steps_saved",
        "Steps saved",
        "",
        "higher",
        "1 - forward passes / tokens of the answers' windows: against one token a pass",
        "spared",
        "answer_length",
    ),
    Definition(
        "energy_per_forward_j",
        "Energy per forward pass",
        "J",
        "lower",
        "energy of all answers / their forward passes",
        "energy_j",
        "forwards",
    ),
    Definition(
        "energy_per_committed_token_j",
        "Energy per committed token",
        "J",
        "lower",
        "energy of all answers / positions committed, padding behind an answer's end included: it is paid for",
        "energy_j",
        "committed",
    ),
    Definition(
        "agreement",
        "Agreement",
        "",
        "higher",
        "answers whose text is that of the same sampler without its cache, or of the plain sampler / all answers",
        "agrees",
        "one",
    ),
)
"""Of masked diffusion models (`ipw run diffusion`)."""

COUNTS = (
    Definition("queries", "Queries", "", "", "queries that were sent in the measured window"),
    Definition("errors", "Failed queries", "", "lower", "queries that ended in an error or a timeout; they score 0"),
)

DEFINITIONS = {
    d.name: d
    for d in (
        *RATIOS,
        *WINDOW,
        *RATES,
        *QUANTILES,
        *INTER_TOKEN,
        *LATENESS,
        *STEADY,
        RETRIED,
        *PERPLEXITY,
        *UTILISATION,
        UNPARSED,
        *DIFFUSION,
        *COUNTS,
    )
}
"""Of every run, and of those that answer questions."""


@cache
def definitions_of(kind: object) -> Mapping[str, Definition]:
    """Definitions of every metric that a run of this workload can have, by name."""
    entry = workload(kind)
    own = load(entry.definitions) if entry and entry.definitions else ()
    common = DEFINITIONS if entry is None or entry.answers or not own else {d.name: d for d in (*WINDOW, *COUNTS)}
    return {**common, **{d.name: d for d in own}}


@cache
def definition_of(name: str) -> Definition | None:
    """Find what a metric is, whichever workload has it; `None` where none has."""
    return DEFINITIONS.get(name) or next(
        (found[name] for kind in workloads() if name in (found := definitions_of(kind))), None
    )
