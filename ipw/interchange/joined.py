"""Joules of one of our runs joined to what another tool told of the same work: answers from one, energy from the other.

The joules are those of the run's requests, where it tells them apart (`ipw gateway`), or else of its whole measured
window with all that happened in it: an upper bound of what the questions took. They stand in a group of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ipw.errors import UsageError
from ipw.interchange.imported import Imported
from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.metric import BELOW_RESOLUTION, IMPORTED, Metric, metric, number
from ipw.metrics.validity.check import Check, made

APART = "the joules of the run are of all questions together"
NONE_RIGHT = "nothing was answered right"
OVER_TIME = ("energy_j", "net_energy_j", "mean_power_w", "idle_power_w")


class Source(NamedTuple):
    """The joules that are joined, and whose they are."""

    name: str
    run: Derived
    energy: Mapping[str, Any]
    requests: int | None
    """Whose joules they are; `None`: of the whole window."""

    @property
    def detail(self) -> str:
        """What the joules hold."""
        if self.requests is None:
            return f"of {self.name}, over its whole window, with all that happened in it"
        return f"of the {self.requests} requests that {self.name} saw, without what the tool did beside them"


def with_joules(runs: Sequence[Imported], summary: Mapping[str, Any], name: str) -> Imported:
    """Join the joules of a run, called `name`, to what was imported of it; several tasks become one.

    Raises UsageError where the run has no joules, or what was imported is not of one model.
    """
    source, told = _source(Derived(summary), name), _together(runs)
    return dataclasses.replace(
        told,
        metrics=_metrics(told, source),
        basis=source.run.basis,
        method=source.run.method or told.method,
        checks=(made("joules", ok=True, detail=source.detail), *_doubts(told, source)),
    )


def _source(run: Derived, name: str) -> Source:
    """Take the joules of the requests where the run knows them, else those of its window."""
    if str(run.basis).startswith(IMPORTED):
        raise UsageError(
            f"{name} was imported itself", "--joules takes a run of ipw gateway or measure, or a power log"
        )
    whole, each = run.metric("energy_j"), run.metric("energy_per_query_j")
    if number(whole.get("value")) is None:
        raise UsageError(f"{name} has no joules: {whole.get('reason') or 'none were measured'}", f"ipw report {name}")
    requests = number(run.metric("queries").get("value"))
    if not requests or all(number(each.get(end)) is None for end in ("value", "high")):
        return Source(name, run, whole, None)
    return Source(name, run, _divided("energy_j", each, 1 / requests), int(requests))


def _doubts(told: Imported, source: Source) -> Iterator[Check]:
    if source.requests is not None and told.asked not in {None, source.requests}:
        detail = f"{source.name} saw {source.requests} requests, {told.source} tells of {told.asked}"
        yield made("requests", ok=False, detail=f"{detail}: joules of all are shared out", level="warning")
    if not source.run.entries.get("valid"):
        yield made("joules' run", ok=False, detail=f"{source.name} is not valid", level="error")


def _metrics(told: Imported, source: Source) -> dict[str, Metric]:
    run, metrics = source.run, dict(told.metrics)
    for each in (*OVER_TIME, "duration_s"):
        if each in metrics and run.metric(each):
            metrics[each] = dict(run.metric(each))
    prompt, output = told.tokens
    both = None if prompt is None or output is None else prompt + output
    counts = {"energy_per_query_j": told.asked, "energy_per_output_token_j": output, "energy_per_token_j": both}
    for each, count in counts.items():
        if count:
            metrics[each] = _divided(each, source.energy, count)
        elif source.requests and each != "energy_per_query_j" and run.metric(each):
            metrics[each] = dict(run.metric(each))  # the gateway counted the tokens that the tool does not tell
    accuracy = metrics["accuracy"]
    known = number(accuracy.get("value")) is not None
    if known and told.asked:
        metrics["accuracy_per_joule"] = per_joule = _ratio(
            "accuracy_per_joule", accuracy, metrics["energy_per_query_j"]
        )
        metrics["energy_per_correct_j"] = _inverse("energy_per_correct_j", per_joule, source.energy)
    for each, entry in metrics.items():
        untold = entry.get("value") is None and entry.get("reason") not in {NONE_RIGHT, BELOW_RESOLUTION}
        if untold and DEFINITIONS[each].is_energy and each not in OVER_TIME:
            metrics[each] = {**entry, "reason": APART}
    power = run.metric("mean_query_power_w") if source.requests else {}
    metrics["mean_query_power_w"] = dict(power) or _absent("mean_query_power_w", run)
    metrics["accuracy_per_watt"] = _absent("accuracy_per_watt", run)
    if known and power:
        metrics["accuracy_per_watt"] = _ratio("accuracy_per_watt", accuracy, power)
    return metrics


def _absent(name: str, run: Derived) -> Metric:
    why = "queries are not told apart in the joules of a whole run: see mean power over time"
    return metric(DEFINITIONS[name], None, method=run.method, reason=why)


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


def _ratio(name: str, accuracy: Mapping[str, Any], each: Mapping[str, Any]) -> Metric:
    """Accuracy over the joules or watts of a query.

    Both ends together, which is wider than a joint interval would be: the two come from different tools.
    """
    below = {end: number(each.get(end)) for end in ("value", "low", "high")}
    share = {end: number(accuracy.get(end)) for end in ("value", "low", "high")}

    def over(a: float | None, b: float | None) -> float | None:
        return None if a is None or not b or b <= 0 else a / b

    low, high = over(share["low"], below["high"]), over(share["high"], below["low"])
    return _energy(name, over(share["value"], below["value"]), (low, high), each)


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
        reason=BELOW_RESOLUTION if value is None and energy.get("reason") == BELOW_RESOLUTION else None,
    )  # fmt: skip
    return {**found, "gain_rel": number(energy.get("gain_rel"))}
