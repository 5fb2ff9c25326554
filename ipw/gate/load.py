"""Whether the pairs of a comparison were measured beside other work on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ipw.gate.observed import Observed
from ipw.gate.policy import IN_POINTS, Rule
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.metrics.validity.other_load import LOAD_CHECK, MOST_HELD
from ipw.runs.readings import is_estimate


def load_faults(observed: Sequence[Observed]) -> Iterator[str]:
    """Say which runs hold others' joules, and in which pairs the arms were not beside like load.

    Of an estimate, which is good to ±50 % at best, only what differs within a pair counts: the rest is in both arms.
    """
    pairs: dict[int, dict[str, Mapping[str, Any]]] = {}
    for each in observed:
        load = Derived(each.summary).other_load
        if load:
            pairs.setdefault(each.pair, {})[each.arm] = load
        if not is_estimate(each.summary.get("method")) and _share(load) > MOST_HELD:
            yield f"{each.label}: others hold about {100 * _share(load):.0f} % of its joules"
        gpus = Derived(each.summary).other_gpu_load
        if _share(gpus) > MOST_HELD:
            yield f"{each.label}: others hold about {100 * _share(gpus):.0f} % of its joules on the GPUs"
    for pair, found in sorted(pairs.items()):
        if len(found) < 2:
            continue
        base, candidate = found["base"], found["candidate"]
        if abs(_share(base) - _share(candidate)) > MOST_HELD:
            shares = f"{100 * _share(base):.0f} % of the base's joules and {100 * _share(candidate):.0f} %"
            yield f"pair {pair + 1}: others hold about {shares} of the candidate's"
        elif base.get("crowded") is not candidate.get("crowded"):
            yield f"pair {pair + 1}: others filled the CPUs beside one arm only"


def told_only(rules: Iterable[Rule]) -> frozenset[str]:
    """Give the check's name where no rule minds other work: answers and their tokens are the same beside it."""
    costs = [rule for rule in rules if rule.metric not in IN_POINTS and not rule.metric.endswith("tokens")]
    return frozenset() if costs else frozenset({LOAD_CHECK})


def _share(load: Mapping[str, Any]) -> float:
    return number(load.get("share")) or 0.0
