"""Metrics of tasks from the rows of `tasks.parquet`, with intervals over tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.curve import Z95
from ipw.metrics.definitions import Definition
from ipw.metrics.metric import EnergyFacts, Metric, metric
from ipw.metrics.stats import error_draws, gain_draws, percentile_interval, proportion_draws, resampled_sums
from ipw.metrics.window import NO_IDLE
from ipw.runs.agent_tables import TASKS, TEXT
from ipw.workloads.agents.definitions import DEFINITIONS

Floats = npt.NDArray[np.float64]
BY = "bootstrap over tasks"
NO_SCORE = "no task was scored (ipw score RUN --scores FILE)"
NO_TASK = "no task was seen"
NO_REPEAT = "no task was repeated"
NO_TOKENS = "the server did not tell tokens"
NO_END = "no answer shows where it was complete"
NO_TIMES = "the answers that go on behind their end did not come as streams"
NET, BABBLING = "net_energy_j", "babbling_energy_j"


class Ratio(NamedTuple):
    """A metric that is a sum over a sum."""

    above: str
    below: str
    scored: bool = False
    """Whether tasks without a score are left out."""

    @property
    def energies(self) -> int:
        """The exponent with which the sensors' gain goes into it: 0 where joules are divided by joules."""
        return sum(sign for name, sign in ((self.above, 1), (self.below, -1)) if _is_energy(name))


RATIOS = {
    "energy_per_task_j": Ratio("energy_j", "one"),
    "energy_per_solved_task_j": Ratio("energy_j", "score", scored=True),
    "net_energy_per_task_j": Ratio(NET, "one"),
    "task_accuracy": Ratio("score", "one", scored=True),
    "task_accuracy_per_joule": Ratio("score", "energy_j", scored=True),
    "task_accuracy_per_watt": Ratio("score", "power_w", scored=True),
    "energy_per_turn_j": Ratio("turn_energy_j", "turns"),
    "energy_per_tool_call_j": Ratio("tool_energy_j", "calls_measured"),
    "tool_energy_share": Ratio("tool_energy_j", "energy_j"),
    "pause_energy_share": Ratio("pause_energy_j", "energy_j"),
    "failed_energy_share": Ratio("failed_energy_j", "energy_j"),
    "repeated_tool_energy_share": Ratio("repeated_tool_energy_j", "energy_j"),
    "babbling_energy_share": Ratio(BABBLING, "ended_energy_j"),
    "turns_per_task": Ratio("turns", "one"),
    "tool_calls_per_task": Ratio("tool_calls", "one"),
    "task_s": Ratio("seconds", "one"),
    "tokens_per_task": Ratio("tokens", "one"),
    "resent_token_share": Ratio("resent_tokens", "prompt_tokens"),
    "cached_token_share": Ratio("cached_tokens", "prompt_tokens"),
    "context_growth": Ratio("most_prompt_tokens", "first_prompt_tokens"),
}
"""Of the columns of `tasks.parquet`, and `one`, `seconds` and `power_w`."""


def task_metrics(rows: Sequence[Mapping[str, Any]], energy: EnergyFacts, seed: int) -> dict[str, Metric]:
    """Make every metric of DEFINITIONS; one that has nothing to be made of is absent with its reason."""
    known = {definition.name: definition for definition in DEFINITIONS}
    columns = columns_of(rows)
    found = {"tasks": metric(known["tasks"], len(rows), n=len(rows), method="counted")}
    for name, ratio in RATIOS.items():
        found[name] = _ratio(known[name], ratio, columns, energy, seed)
    found["task_energy_spread"] = _spread(known["task_energy_spread"], rows, energy)
    return found


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    """Make columns of numbers of tasks, and those that follow from them; NaN where unknown. None where no task is."""
    names = {name for row in rows for name in row if TASKS.get(name) != TEXT}
    columns = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64) for name in names
    }
    if rows:
        columns["one"] = np.ones(len(rows))
        columns["seconds"] = (columns["end_ns"] - columns["start_ns"]) / 1e9
        columns["power_w"] = columns["energy_j"] / np.maximum(columns["seconds"], 1e-9)
    return columns


def _ratio(
    definition: Definition, ratio: Ratio, columns: Mapping[str, Floats], energy: EnergyFacts, seed: int
) -> Metric:
    of = energy if definition.energy else None
    if ratio.above not in columns or ratio.below not in columns:
        return metric(definition, None, reason=NO_TASK, energy=of)
    pairs = np.stack([columns[ratio.above], columns[ratio.below]], axis=1)
    if ratio.scored and not np.isfinite(columns["score"]).any():
        return metric(definition, None, reason=NO_SCORE, energy=of)
    needed = [ratio.above, ratio.below, *(["score"] if ratio.scored else [])]
    used = np.logical_and.reduce([np.isfinite(columns[name]) for name in needed])
    pairs = pairs[used]
    above, below = pairs.sum(axis=0).tolist() if len(pairs) else (0.0, 0.0)
    if below <= 0:
        return metric(definition, None, reason=_nothing(ratio, columns, len(pairs), energy), energy=of, n=len(pairs))
    draws = resampled_sums(pairs, seed)
    for column, name in enumerate((ratio.above, ratio.below)):
        if name == "score" and set(pairs[:, column].tolist()) in ({0.0}, {1.0}):  # resampling draws nothing else
            draws[:, column] = len(pairs) * proportion_draws(float(pairs[:, column].sum()), len(pairs), seed)
        if ratio.energies and _is_energy(name):
            draws[:, column] += _sd_of_sum(name, columns, used) * error_draws(seed)
            if name != NET:  # nothing draws less than no joules; net of idle power it may
                draws[:, column] = np.maximum(draws[:, column], min(float(pairs[:, column].sum()), 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = np.where(draws[:, 1] > 0, draws[:, 0] / draws[:, 1], np.inf)
    replicates *= gain_draws(energy.widening, seed) ** ratio.energies
    interval = percentile_interval(replicates, above / below, len(pairs))
    return metric(
        definition, above / below, interval, n=len(pairs), interval_by=BY, energy=of, method=None if of else "counted"
    )


def _is_energy(name: str) -> bool:
    return name.endswith(("energy_j", "power_w"))


def _sd_of_sum(name: str, columns: Mapping[str, Floats], used: npt.NDArray[np.bool_]) -> float:
    """Standard deviation of the measurement of a sum over the tasks that are `used`, taken as independent.

    It is that of the whole tasks, which bounds that of their parts. What has no bounds adds nothing.
    """
    if not {"energy_low_j", "energy_high_j"} <= columns.keys():
        return 0.0
    sds = (columns["energy_high_j"] - columns["energy_low_j"]) / (2 * Z95)
    if name == "power_w":
        sds = sds / np.maximum(columns["seconds"], 1e-9)
    return float(np.sqrt(np.nansum(sds[used] ** 2)))


def _nothing(ratio: Ratio, columns: Mapping[str, Floats], n: int, energy: EnergyFacts) -> str:
    """Say why there is nothing to divide by."""
    if (_is_energy(ratio.above) or _is_energy(ratio.below)) and not np.isfinite(columns["energy_j"]).any():
        return energy.absent
    if ratio.above == "tool_energy_j":
        return "no call was followed by a request" if columns["tool_calls"].sum() else "no tool was called"
    if ratio.above == BABBLING:
        return NO_TIMES if np.isfinite(columns["ended_energy_j"]).any() else NO_END
    if ratio.above == NET and not n:
        return NO_IDLE
    if ratio.below == "score" and n:
        return "no task was solved"
    if "token" in ratio.above + ratio.below:
        return NO_TOKENS
    return energy.absent if ratio.energies else NO_TASK


def _spread(definition: Definition, rows: Sequence[Mapping[str, Any]], energy: EnergyFacts) -> Metric:
    """Pool the relative variance within groups of tasks that began alike."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["alike"] is not None and row["energy_j"] is not None:
            groups[row["alike"]].append(row["energy_j"])
    several = [np.array(group) for group in groups.values() if len(group) > 1 and np.mean(group) > 0]
    if not several:
        begun = Counter(row["alike"] for row in rows if row["alike"] is not None)
        reason = energy.absent if any(count > 1 for count in begun.values()) else NO_REPEAT
        return metric(definition, None, reason=reason, energy=energy)
    free = sum(group.size - 1 for group in several)
    variance = sum(float((((group - group.mean()) / group.mean()) ** 2).sum()) for group in several) / free
    return metric(definition, float(np.sqrt(variance)), n=free + len(several), energy=energy)
