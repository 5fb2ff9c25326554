"""What each metric is: its name, its label, its unit, and the formula that a reader can check it by."""

from __future__ import annotations

from typing import Literal, NamedTuple


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

    @property
    def is_energy(self) -> bool:
        """Whether joules went into it, so that an estimate of them makes it an estimate."""
        return bool({self.numerator, self.denominator} & ENERGY_COLUMNS) or self.name in RUN_ENERGY


ENERGY_COLUMNS = {"energy_j", "power_w", "prefill_energy_j", "decode_energy_j"}
RUN_ENERGY = {"energy_j", "net_energy_j", "mean_power_w", "idle_power_w"}

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
        "mean score / mean energy of a query",
        "score",
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
        "score",
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
)
"""Over the duration; resampled over the queries' latency."""

QUANTILES = tuple(
    Definition(f"{name}_p{q}_s", f"{label}, p{q}", "s", "lower", f"{q}th percentile over the queries that succeeded")
    for name, label in (("ttft", "Time to first token"), ("latency", "Latency"))
    for q in (50, 90, 99)
)

COUNTS = (
    Definition("queries", "Queries", "", "", "queries that were sent in the measured window"),
    Definition("errors", "Failed queries", "", "lower", "queries that ended in an error or a timeout; they score 0"),
)

DEFINITIONS = {d.name: d for d in (*RATIOS, *WINDOW, *RATES, *QUANTILES, *COUNTS)}
