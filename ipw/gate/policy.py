"""What a gate holds a change to: a margin a metric, and what must be the same on both sides. A TOML file says it.

[gate]
alpha = 0.05                     # of a false alarm, over all metrics together

[metrics.energy_per_query_j]     # names as in summary.json
margin = 0.03                    # worse by more than 3 % is a regression

[metrics.accuracy]
margin_points = 1.0              # percentage points; accuracy has no other margin, task_accuracy may have this one

[metrics.latency_p50_s]
margin = 0.10
gates = false                    # judged and shown; decides nothing

[validity]
equal = ["responses"]            # must be the same in both arms, beside what always must
allow = ["cached tokens"]        # checks that are told only
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from ipw.errors import UsageError, near
from ipw.metrics.definitions import Definition, definition_of, definitions_of
from ipw.metrics.metric import number

Harm = Literal["higher", "lower"]
EQUAL = ("model", "prompt_tokens", "completion_tokens", "responses")
"""What may be said to be the same in both arms; host, basis, sensors and data set always are."""
CHECKS = (
    "measurement", "failed requests", "nothing", "host", "basis", "sensors", "data set", "software", "power source",
    "tasks", *EQUAL, "cached tokens", "other processes", "other load", "power limit", "clocks", "start temperature",
)  # fmt: skip
"""Names of the checks that runs of two arms must pass; all but MUST may be told only."""
MUST = ("nothing", "host", "basis", "sensors", "data set")
ACCURACY = "accuracy"
IN_POINTS = {ACCURACY, "task_accuracy"}
"""Metrics that are judged item by item where their margin is in percentage points; accuracy always is."""
IPW_AND_PARTS = (
    ("accuracy_per_watt", ACCURACY, "energy_per_query_j"),
    ("task_accuracy_per_watt", "task_accuracy", "energy_per_task_j"),
)
"""Intelligence per watt, the accuracy that must be gated beside it, and joules that may be."""
TABLES: dict[str, set[str] | None] = {"gate": {"alpha"}, "metrics": None, "validity": {"equal", "allow"}}
LEAST_ALPHA, MOST_ALPHA = 1e-6, 0.5


@dataclass(frozen=True, slots=True)
class Rule:
    """When one metric counts as worse."""

    metric: str
    margin: float
    """A fraction of the base; of accuracy, a difference of the mean score (0.01 is one point)."""
    harm: Harm
    """The direction that is worse."""
    gates: bool = True
    """Else it is judged and shown, and decides nothing."""
    in_points: bool = False
    """Whether the margin of an accuracy other than `accuracy` is a difference too."""

    @property
    def points(self) -> bool:
        """Whether it is an accuracy that is judged item by item."""
        return self.in_points or self.metric == ACCURACY


@dataclass(frozen=True, slots=True)
class Policy:
    """A gate file that makes sense."""

    alpha: float
    rules: tuple[Rule, ...]
    equal: frozenset[str]
    allow: frozenset[str]


def read_policy(document: Mapping[str, Any], where: str, workload: str) -> Policy:
    """Check a gate file for runs of this workload. Raises UsageError, which begins with `where`."""
    tables = _tables(document, where)
    if not tables["metrics"]:
        raise UsageError(f"{where} holds no metric", "[metrics.energy_per_query_j] with margin = 0.03")
    known = definitions_of(workload)
    rules = tuple(_rule(name, table, where, known) for name, table in tables["metrics"].items())
    _not_ipw_alone({rule.metric for rule in rules if rule.gates}, where)
    if not any(rule.gates for rule in rules):
        raise UsageError(f"{where}: no metric gates", "leave out gates = false of one at least")
    alpha = number(tables["gate"].get("alpha", 0.05))
    if alpha is None or not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise UsageError(f"{where}: alpha must be a number from {LEAST_ALPHA} to {MOST_ALPHA}", "alpha = 0.05")
    equal, allow = (_names(tables["validity"], key, where) for key in ("equal", "allow"))
    for names, allowed, key in ((equal, EQUAL, "equal"), (allow, [c for c in CHECKS if c not in MUST], "allow")):
        for name in names:
            _known(name, allowed, f"{where}: [validity] {key}")
    return Policy(alpha, rules, equal, allow)


def _tables(document: Mapping[str, Any], where: str) -> dict[str, Mapping[str, Any]]:
    for name in document:
        _known(name, TABLES, where)
    tables = {name: document.get(name, {}) for name in TABLES}
    for name, keys in TABLES.items():
        if not isinstance(tables[name], Mapping):
            raise UsageError(f"{where}: {name} must be a table", f"[{name}]")
        for key in tables[name] if keys else ():
            _known(key, keys or (), f"{where}: [{name}]")
    return tables


def _rule(name: str, table: Any, where: str, known: Mapping[str, Definition]) -> Rule:
    at = f"{where}: [metrics.{name}]"
    if name not in known:
        raise UsageError(f"{where}: there is no metric {name!r}", near(name, known))
    if not isinstance(table, Mapping):
        raise UsageError(f"{at} must be a table", f"[metrics.{name}] with margin = 0.03")
    points = name == ACCURACY or (name in IN_POINTS and "margin_points" in table)
    key = "margin_points" if points else "margin"
    for given in table:
        _known(given, (key, "harm", "gates"), at)
    if key not in table:
        raise UsageError(f"{at} has no {key}", f"{key} = {'1.0' if points else '0.03'}")
    margin = number(table[key])
    most = 100.0 if points else 10.0
    if margin is None or not 0 < margin <= most:
        raise UsageError(f"{at}: {key} = {table[key]!r} must be a number above 0 and up to {most:g}", f"{key} = 1.0")
    definition = known.get(name)
    better = definition.better if definition else ""
    harm = table.get("harm", {"lower": "higher", "higher": "lower"}.get(better))
    if harm not in {"higher", "lower"}:
        raise UsageError(f"{at}: which direction is worse is not said", 'harm = "higher" or harm = "lower"')
    if points and harm != "lower":
        raise UsageError(f"{at}: higher accuracy is not a harm", "leave harm out")
    gates = table.get("gates", True)
    if not isinstance(gates, bool):
        raise UsageError(f"{at}: gates = {gates!r} is neither true nor false", "gates = false")
    return Rule(name, margin / 100 if points else margin, cast("Harm", harm), gates, points)


def _not_ipw_alone(metrics: set[str], where: str) -> None:
    """Refuse IPW without its parts: it can rise because answers come slower, or hide a loss of accuracy."""
    joules = {name for name in metrics if (d := definition_of(name)) and d.is_energy and d.unit in {"J", "1/J"}}
    for ipw, accuracy, energy in IPW_AND_PARTS:
        if ipw in metrics and not (accuracy in metrics and joules):
            raise UsageError(
                f"{where}: never {ipw} alone: it rewards slowness and can hide a loss of accuracy",
                f"gate {accuracy} and {energy} beside it",
            )


def _names(table: Mapping[str, Any], key: str, where: str) -> frozenset[str]:
    names = table.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{where}: [validity] {key} must be a list of names", f'{key} = ["{EQUAL[0]}"]')
    return frozenset(names)


def _known(name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise UsageError(f"{where}: {name!r} is not known", near(name, known))
