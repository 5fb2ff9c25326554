"""Whether the pairs of a comparison were measured beside other work on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ipw.reports.gate_policy import Rule
from ipw.reports.metric import mapping, mappings, number
from ipw.reports.other_load import LOAD_CHECK, MOST_HELD

if TYPE_CHECKING:
    from ipw.reports.gate_validity import Observed


def load_faults(observed: Sequence[Observed]) -> Iterator[str]:
    """Say which runs hold others' joules, and in which pairs the arms hold unlike shares of them.

    Of an estimate, which is good to ±50 % at best, only what differs within a pair counts: the rest is in both arms.
    """
    pairs: dict[int, dict[str, float]] = {}
    for each in observed:
        share = number(mapping(each.summary.get("other_load")).get("share"))
        if share is not None:
            pairs.setdefault(each.pair, {})[each.arm] = share
        yield from (f"{each.label}: {told}" for told in _told(each.summary))
    for pair, found in sorted(pairs.items()):
        if len(found) == 2 and abs(found["base"] - found["candidate"]) > MOST_HELD:
            base, candidate = (f"{100 * found[arm]:.0f} %" for arm in ("base", "candidate"))
            yield f"pair {pair + 1}: others may hold {base} of the base's joules and {candidate} of the candidate's"


def told_only(rules: Iterable[Rule]) -> frozenset[str]:
    """Give the check's name where no rule minds other work: answers and their tokens are the same beside it."""
    costs = [rule for rule in rules if rule.metric != "accuracy" and not rule.metric.endswith("tokens")]
    return frozenset() if costs else frozenset({LOAD_CHECK})


def _told(summary: Mapping[str, Any]) -> Iterator[str]:
    estimated = summary.get("method") == "model_estimate"
    for check in mappings(summary.get("validity")):
        minds = check.get("level") == "error" or not estimated
        if check.get("check") == LOAD_CHECK and not check.get("ok") and minds:
            yield str(check.get("detail"))
