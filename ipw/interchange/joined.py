"""Joules of one of our runs joined to what another tool told of the same work: answers from one, energy from the other.

The joules are those of the run's whole measured window, with all that happened in it. They are an upper bound of what
the questions took, and stand in a group of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ipw.errors import UsageError
from ipw.interchange.imported import Imported
from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.metric import Metric, metric, number
from ipw.metrics.validity.check import made

APART = "the joules of the run are of all questions together"
NONE_RIGHT = "nothing was answered right"
OVER_TIME = ("energy_j", "net_energy_j", "mean_power_w", "idle_power_w")


def with_joules(runs: Sequence[Imported], summary: Mapping[str, Any], name: str) -> Imported:
    """Join the joules of a run, called `name`, to what was imported of it; several tasks become one.

    Raises UsageError where the run has no joules, or what was imported is not of one model.
    """
    run, told = Derived(summary), _together(runs)
    energy = run.metric("energy_j")
    if number(energy.get("value")) is None:
        raise UsageError(f"{name} has no joules: {energy.get('reason') or 'none were measured'}", f"ipw report {name}")
    metrics = dict(told.metrics)
    for each in OVER_TIME:
        if each in metrics and run.metric(each):
            metrics[each] = dict(run.metric(each))
    metrics["duration_s"] = dict(run.metric("duration_s")) or metrics["duration_s"]
    prompt, output = told.tokens
    both = None if prompt is None or output is None else prompt + output
    accuracy = number(metrics["accuracy"].get("value"))
    for each, count in (
        ("energy_per_query_j", told.asked),
        ("energy_per_output_token_j", output),
        ("energy_per_token_j", both),
    ):
        if count:
            metrics[each] = _divided(each, energy, count)
    if accuracy is not None and told.asked:
        metrics["accuracy_per_joule"] = per_joule = _per_joule(metrics["accuracy"], energy, told.asked)
        metrics["energy_per_correct_j"] = _inverse("energy_per_correct_j", per_joule, energy)
    for each, entry in metrics.items():
        untold = entry.get("value") is None and entry.get("reason") != NONE_RIGHT
        if untold and DEFINITIONS[each].is_energy and each not in OVER_TIME:
            metrics[each] = {**entry, "reason": APART}
    why = "queries are not told apart in the joules of a whole run: see mean power over time"
    for each in ("accuracy_per_watt", "mean_query_power_w"):
        metrics[each] = metric(DEFINITIONS[each], None, method=run.method, reason=why)
    detail = f"of {name}, over its whole window, with all that happened in it"
    return dataclasses.replace(
        told,
        metrics=metrics,
        basis=run.basis,
        method=run.method or told.method,
        checks=(
            made("joules", ok=True, detail=detail),
            *(
                ()
                if summary.get("valid")
                else (made("joules' run", ok=False, detail=f"{name} is not valid", level="error"),)
            ),
        ),
    )


def _together(runs: Sequence[Imported]) -> Imported:
    """Make one of several tasks: all questions together, each counting alike."""
    if len(runs) == 1:
        return runs[0]
    names = {(run.source, run.name) for run in runs}
    if len(names) > 1:
        told = ", ".join(sorted(name for _, name in names))[:200]
        raise UsageError(f"--joules is of one model's work, and these are of several: {told}", "import them one by one")
    shares = [number(run.metrics["accuracy"].get("value")) for run in runs]
    asked, failed = (_total([getattr(run, name) for run in runs]) for name in ("asked", "failed"))
    right = [share * run.asked for share, run in zip(shares, runs, strict=True) if share is not None and run.asked]
    accuracy = sum(right) / asked if asked and len(right) == len(runs) else None
    tasks = "+".join(str(run.parameters.get("dataset")) for run in runs)
    metrics = {
        name: dict(entry, value=None, low=None, high=None, reason=APART) for name, entry in runs[0].metrics.items()
    }
    why = None if accuracy is not None else "not every task tells a share of right answers"
    metrics["accuracy"] = metric(DEFINITIONS["accuracy"], accuracy, n=asked, method="imported", reason=why)
    metrics["queries"] = metric(DEFINITIONS["queries"], asked, n=asked, method="imported")
    tokens = [
        None if any(run.tokens[k] is None for run in runs) else sum(run.tokens[k] or 0 for run in runs) for k in (0, 1)
    ]
    return dataclasses.replace(
        runs[0],
        metrics=metrics,
        parameters={**runs[0].parameters, "dataset": tasks},
        tokens=(tokens[0], tokens[1]),
        asked=asked,
        failed=failed,
        stopped=next((run.stopped for run in runs if run.stopped), None),
    )


def _total(counts: Sequence[int | None]) -> int | None:
    """Sum where all are known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _divided(name: str, energy: Mapping[str, Any], count: float) -> Metric:
    ends = [number(energy.get(end)) for end in ("value", "low", "high")]
    value, low, high = (None if end is None else end / count for end in ends)
    return _energy(name, value, (low, high), energy)


def _per_joule(accuracy: Mapping[str, Any], energy: Mapping[str, Any], asked: int) -> Metric:
    """Both ends together, which is wider than a joint interval would be: the two come from different tools."""
    joules = {end: number(energy.get(end)) for end in ("value", "low", "high")}
    share = {end: number(accuracy.get(end)) for end in ("value", "low", "high")}

    def over(a: float | None, b: float | None) -> float | None:
        return None if a is None or not b or b <= 0 else a * asked / b

    low = over(share["low"], joules["high"])
    high = over(share["high"], joules["low"])
    return _energy("accuracy_per_joule", over(share["value"], joules["value"]), (low, high), energy)


def _inverse(name: str, per_joule: Mapping[str, Any], energy: Mapping[str, Any]) -> Metric:
    """Joules for each right answer; none where nothing is right."""
    if number(per_joule.get("value")) == 0:
        return {**_energy(name, None, (None, None), energy), "reason": NONE_RIGHT}
    value, low, high = (1 / x if (x := number(per_joule.get(end))) else None for end in ("value", "high", "low"))
    return _energy(name, value, (low, high), energy)


def _energy(
    name: str, value: float | None, ends: tuple[float | None, float | None], energy: Mapping[str, Any]
) -> Metric:
    told = energy.get("method")
    made_by = energy.get("interval")
    found = metric(
        DEFINITIONS[name], value, ends, n=None, method=told if isinstance(told, str) else None,
        interval_by=made_by if isinstance(made_by, str) else None,
    )  # fmt: skip
    return {**found, "gain_rel": number(energy.get("gain_rel"))}
