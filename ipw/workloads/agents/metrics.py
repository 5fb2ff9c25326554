"""Metrics of tasks from the rows of `tasks.parquet`, with intervals over tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.metrics.definitions import Definition
from ipw.metrics.metric import EnergyFacts, Metric, metric
from ipw.metrics.stats import gain_draws, percentile_interval, proportion_draws, resampled_sums
from ipw.workloads.agents.definitions import DEFINITIONS

Floats = npt.NDArray[np.float64]
BY = "bootstrap over tasks"
NO_SCORE = "no task was scored (--scores FILE)"
NO_TASK = "no task was seen"
NO_REPEAT = "no task was repeated"


class Ratio(NamedTuple):
    """A metric that is a sum over a sum."""

    above: str
    below: str
    scored: bool = False
    """Whether tasks without a score are left out."""

    @property
    def energies(self) -> int:
        """The exponent with which the sensors' gain goes into it: 0 where joules are divided by joules."""
        return sum(sign for name, sign in ((self.above, 1), (self.below, -1)) if name.endswith(("energy_j", "power_w")))


RATIOS = {
    "energy_per_task_j": Ratio("energy_j", "one"),
    "energy_per_solved_task_j": Ratio("energy_j", "score", scored=True),
    "net_energy_per_task_j": Ratio("net_energy_j", "one"),
    "task_accuracy": Ratio("score", "one", scored=True),
    "task_accuracy_per_joule": Ratio("score", "energy_j", scored=True),
    "task_accuracy_per_watt": Ratio("score", "power_w", scored=True),
    "energy_per_turn_j": Ratio("turn_energy_j", "turns"),
    "energy_per_tool_call_j": Ratio("tool_energy_j", "tool_calls"),
    "tool_energy_share": Ratio("tool_energy_j", "energy_j"),
    "pause_energy_share": Ratio("pause_energy_j", "energy_j"),
    "failed_energy_share": Ratio("failed_energy_j", "energy_j"),
    "repeated_tool_energy_share": Ratio("repeated_tool_energy_j", "energy_j"),
    "turns_per_task": Ratio("turns", "one"),
    "tool_calls_per_task": Ratio("tool_calls", "one"),
    "task_s": Ratio("seconds", "one"),
    "tokens_per_task": Ratio("tokens", "one"),
    "resent_token_share": Ratio("resent_tokens", "prompt_tokens"),
    "cached_token_share": Ratio("cached_tokens", "prompt_tokens"),
    "context_growth": Ratio("most_prompt_tokens", "first_prompt_tokens"),
}
"""Of the columns of tasks, and `one`, `seconds`, `power_w` and `tokens`."""


def task_metrics(rows: Sequence[Mapping[str, Any]], energy: EnergyFacts, seed: int) -> dict[str, Metric]:
    """Make every metric of DEFINITIONS; one that has nothing to be made of is absent with its reason."""
    known = {definition.name: definition for definition in DEFINITIONS}
    columns = _columns(rows)
    found = {"tasks": metric(known["tasks"], len(rows), n=len(rows), method="counted")}
    for name, ratio in RATIOS.items():
        found[name] = _ratio(known[name], ratio, columns, energy, seed)
    found["task_energy_spread"] = _spread(known["task_energy_spread"], rows, energy)
    return found


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    names = {name for row in rows for name, value in row.items() if not isinstance(value, str)}
    columns = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64) for name in names
    }
    if rows:
        columns["one"] = np.ones(len(rows))
        columns["seconds"] = (columns["end_ns"] - columns["start_ns"]) / 1e9
        columns["power_w"] = columns["energy_j"] / np.maximum(columns["seconds"], 1e-9)
        columns["tokens"] = columns["prompt_tokens"] + np.nan_to_num(columns["completion_tokens"])
    return columns


def _ratio(
    definition: Definition, ratio: Ratio, columns: Mapping[str, Floats], energy: EnergyFacts, seed: int
) -> Metric:
    of = energy if definition.energy else None
    if ratio.above not in columns or ratio.below not in columns:
        return metric(definition, None, reason=NO_TASK, energy=of)
    pairs = np.stack([columns[ratio.above], columns[ratio.below]], axis=1)
    if ratio.scored:
        pairs = pairs[np.isfinite(columns["score"])]
        if not len(pairs):
            return metric(definition, None, reason=NO_SCORE, energy=of)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    above, below = pairs.sum(axis=0).tolist() if len(pairs) else (0.0, 0.0)
    if below <= 0:
        reason = energy.absent if definition.energy and not len(pairs) else _nothing(ratio)
        return metric(definition, None, reason=reason, energy=of, n=len(pairs))
    draws = resampled_sums(pairs, seed)
    for column, name in enumerate((ratio.above, ratio.below)):
        if name == "score" and set(pairs[:, column].tolist()) in ({0.0}, {1.0}):  # resampling draws nothing else
            draws[:, column] = len(pairs) * proportion_draws(float(pairs[:, column].sum()), len(pairs), seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = draws[:, 0] / draws[:, 1] * gain_draws(energy.gain_rel or 0.0, seed) ** ratio.energies
    interval = percentile_interval(replicates, above / below, len(pairs))
    return metric(
        definition, above / below, interval, n=len(pairs), interval_by=BY, energy=of, method=None if of else "counted"
    )


def _nothing(ratio: Ratio) -> str:
    return {
        "tool_calls": "no tool was called", "score": "no task was solved",
    }.get(ratio.below, "the server did not tell tokens" if "token" in ratio.below else NO_TASK)  # fmt: skip


def _spread(definition: Definition, rows: Sequence[Mapping[str, Any]], energy: EnergyFacts) -> Metric:
    """Pool the relative variance within groups of tasks that began alike."""
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["alike"] is not None and row["energy_j"] is not None:
            groups[row["alike"]].append(row["energy_j"])
    several = [np.array(group) for group in groups.values() if len(group) > 1 and np.mean(group) > 0]
    if not several:
        return metric(definition, None, reason=NO_REPEAT, energy=energy)
    free = sum(group.size - 1 for group in several)
    variance = sum(float((((group - group.mean()) / group.mean()) ** 2).sum()) for group in several) / free
    return metric(definition, float(np.sqrt(variance)), n=free + len(several), energy=energy)
