"""Whether the runs of two arms can be compared at all: asked before any statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ipw.gate.load import load_faults
from ipw.gate.observed import ArmName, Observed
from ipw.gate.policy import EQUAL
from ipw.gate.tasks import asked_of_the_model, has_tasks, load_tasks, task_faults
from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number, sensors
from ipw.metrics.readings import total_channels
from ipw.metrics.summary import stored_summary
from ipw.metrics.validity.check import Check
from ipw.metrics.validity.other_load import LOAD_CHECK
from ipw.metrics.validity.run import measured_window
from ipw.registry import answers_questions
from ipw.runs.curves import of_channel
from ipw.runs.directory import RunDir
from ipw.runs.queries import load_queries
from ipw.runs.readings import Readings
from ipw.runs.recorded import Recorded

WORSE_IN_A_GATE = {"losses", "largest gap", "failed reads", "sensor failures", "throttling"}
"""Warnings of a run that a comparison cannot live with."""
MOST_FAILED = 0.01
MOST_CACHED_APART = 0.01
MOST_START_APART_C = 5.0
MOST_CLOCK_APART = 0.05

FINGERPRINTS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "host": lambda m: [Recorded(m).host.get(key) for key in ("name", "cpu", "threads", "memory_bytes")],
    "basis": lambda m: m.get("basis"),
    "sensors": lambda m: [[c.get(key) for key in ("name", "device", "driver")] for c in total_channels(m)],
    "data set": lambda m: Recorded(m).dataset,
    "software": lambda m: Recorded(m).software,
    "power source": lambda m: Recorded(m).host.get("power_source"),
}
"""What tells from the manifest that two runs may be compared."""


def observe(run: RunDir, arm: ArmName, pair: int, start: int) -> Observed:
    """Read what there is to compare. Raises UsageError where the run was never derived."""
    manifest = run.manifest()
    gauges = _gauges(manifest, run.readings())
    summary = stored_summary(run) or {}
    tasks = load_tasks(run) if has_tasks(Recorded(manifest).kind) else None
    return Observed(arm, pair, start, str(run), manifest, summary, load_queries(run), _responses(run), gauges, tasks)


def check_session(
    observed: Sequence[Observed], equal: Collection[str] = (), allow: Collection[str] = ()
) -> list[Check]:
    """List all checks of the runs of both arms; a failed one of level `error` forbids every verdict.

    `equal` names what must be the same in both arms beside what always must; `allow` what is only told.
    """
    checks = [
        *_each(observed),
        *_requests(observed),
        *_fingerprints(observed, equal),
        *_tasks(observed),
        *_answers(observed, equal),
        _cached(observed),
        *_conditions(observed),
    ]
    return [check | {"level": "warning"} if check["check"] in allow else check for check in checks]


def invalid(checks: Iterable[Check]) -> list[Check]:
    """Select those that forbid a verdict."""
    return [check for check in checks if check["level"] == "error" and not check["ok"]]


def _check(name: str, faults: Sequence[str], fine: str = "none") -> Check:
    told = "; ".join([*faults[:3], *([f"{len(faults) - 3} more"] if len(faults) > 3 else [])])
    return {"check": name, "ok": not faults, "detail": told or fine, "level": "error"}


def _each(observed: Sequence[Observed]) -> Iterator[Check]:
    """What each run's own checks found."""
    faults = [
        f"{each.label}: {check.get('check')}: {check.get('detail')}"
        for each in observed
        for check in mappings(each.summary.get("validity"))
        if not check.get("ok")
        and check.get("check") != LOAD_CHECK
        and (check.get("level") == "error" or check.get("check") in WORSE_IN_A_GATE)
    ]
    yield _check("measurement", faults, f"{len(observed)} runs, each valid")


def _requests(observed: Sequence[Observed]) -> Iterator[Check]:
    asked = [each for each in observed if answers_questions(Derived(each.summary).kind)]
    if not asked:
        return
    silent = [each.label for each in asked if not each.queries.ok.any() or not _sum(each, "completion_tokens")]
    yield _check("nothing", [f"{label} produced nothing" for label in silent], "every run produced answers")
    failed = [
        f"{each.label}: {int((~each.queries.ok).sum())} of {len(each.queries)}"
        for each in asked
        if len(each.queries) and (~each.queries.ok).mean() > MOST_FAILED
    ]
    yield _check("failed requests", failed)


def _fingerprints(observed: Sequence[Observed], equal: Collection[str]) -> Iterator[Check]:
    """What must never differ between two runs that are compared, and a model that must not change within its arm."""
    for name, tell in FINGERPRINTS.items():
        yield _check(name, _differences([(each, tell(each.manifest)) for each in observed]), "the same in every run")
    arms = [observed] if "model" in equal else [_of(observed, "base"), _of(observed, "candidate")]
    changes = [fault for arm in arms for fault in _differences([(each, each.manifest.get("model")) for each in arm])]
    yield _check("model", changes, "the same in both arms" if "model" in equal else "the same within each arm")


def _tasks(observed: Sequence[Observed]) -> Iterator[Check]:
    """Compare what agents were to do: what they ask of the model on the way is their own."""
    done = [(each.label, each.tasks) for each in observed if each.tasks is not None]
    if done:
        yield _check("tasks", task_faults(done), f"the same {len(done[0][1]):,} in every run")


def what_differs(observed: Sequence[Observed]) -> list[str]:
    """Say of two agents what they asked of the model, which may differ."""
    arms = {arm: [e.tasks for e in _of(observed, arm) if e.tasks is not None] for arm in ("base", "candidate")}
    told = asked_of_the_model(arms)
    return [told] if told else []


def _answers(observed: Sequence[Observed], equal: Collection[str]) -> Iterator[Check]:
    """Tokens and texts, query by query, where they must be the same: prompts, where the data set alone makes them."""
    known_model = {str(digest) for each in observed if (digest := Recorded(each.manifest).model.get("digest"))}
    own = any(each.tasks is not None for each in observed)
    same = set(equal) | ({"prompt_tokens"} if len(known_model) == 1 and not own else set())
    for name in EQUAL[1:]:
        groups = [observed] if name in same else [_of(observed, "base"), _of(observed, "candidate")]
        if name in same or (name == "prompt_tokens" and not own):
            opening = name == "prompt_tokens" and name not in equal
            faults = [fault for group in groups for fault in _differing_queries(group, name, opening=opening)]
            yield _check(name, faults, "the same in both arms" if name in same else "the same within each arm")


def _differing_queries(observed: Sequence[Observed], name: str, *, opening: bool) -> list[str]:
    """Compare every run with the first, over the queries that both answered, or those that open a conversation."""
    if not observed:
        return []
    first, faults = _by_query(observed[0], name, opening=opening), []
    for other in observed[1:]:
        here = _by_query(other, name, opening=opening)
        differing = [query for query in first.keys() & here.keys() if first[query] != here[query]]
        if differing:
            faults.append(f"{other.label} against {observed[0].label}: {len(differing)} of {len(here)} queries")
    return faults


def _by_query(each: Observed, name: str, *, opening: bool) -> Mapping[str, float]:
    if name == "responses":
        return each.responses
    column = each.queries.numbers[name]
    known = each.queries.ok & ~np.isnan(column)
    if opening:  # a later turn's prompt holds the answers before it
        known &= ~(each.queries.numbers["turn"] > 1)
    return dict(zip(each.queries.texts["query_id"][known].tolist(), column[known].tolist(), strict=True))


def _responses(run: RunDir) -> dict[str, int]:
    table = run.read_table("queries", ["query_id", "response"])
    if table is None or "response" not in table.column_names:
        return {}
    pairs = zip(table["query_id"].to_pylist(), table["response"].to_pylist(), strict=True)
    return {query: hash(response) for query, response in pairs if response is not None}


def _cached(observed: Sequence[Observed]) -> Check:
    """Compare how much of the prompts a server had at hand already: such tokens cost nothing.

    An agent of more turns sends more again: runs of agents are compared with those of their own arm.
    """
    own = any(each.tasks is not None for each in observed)
    faults = []
    for group in [_of(observed, "base"), _of(observed, "candidate")] if own else [observed]:
        prompts = {each.label: (_sum(each, "prompt_tokens"), _sum(each, "cached_tokens")) for each in group}
        shares = {label: cached / asked for label, (asked, cached) in prompts.items() if asked}
        if max(shares.values(), default=0.0) - min(shares.values(), default=0.0) > MOST_CACHED_APART:
            least_first = sorted(shares.items(), key=lambda x: x[1])
            faults.append(", ".join(f"{label} {100 * share:.1f} %" for label, share in least_first))
    return _check("cached tokens", faults, f"alike in every run{' of an arm' if own else ''}")


def _conditions(observed: Sequence[Observed]) -> Iterator[Check]:
    """Heat, clocks, power limits, and who else was there."""
    neighbours = [(each, _neighbours(each)) for each in observed]
    yield _check("other processes", _differences(neighbours), "the same in every run")
    yield _check(LOAD_CHECK, list(load_faults(observed)), "little, and alike within each pair")
    limits, clocks, heat = [], [], []
    for name in dict.fromkeys(name for each in observed for name in each.gauges):
        unit = next(each.gauges[name][0] for each in observed if name in each.gauges)
        if name.endswith("/power_limit"):
            medians = [(each, _median(each, name)) for each in observed]
            limits += [f"{name}: {fault}" for fault in _differences(medians)]
        elif unit == "MHz":
            clocks += [fault for arm in ("base", "candidate") for fault in _clocks(_of(observed, arm), name)]
        elif unit == "C":
            heat += _start_temperatures(observed, name)
    yield _check("power limit", limits, "the same in every run")
    yield _check("clocks", clocks, "alike within each arm")
    yield _check("start temperature", heat, "alike within each pair")


def _neighbours(each: Observed) -> list[Any]:
    """Tell who else used the GPUs, by name: a server that was up before is there in every run alike."""
    found = Recorded(each.manifest).neighbours
    return [sorted(Counter(str(p.get("name")) for p in mappings(found.get(at))).items()) for at in ("start", "end")]


def _clocks(arm: Sequence[Observed], name: str) -> list[str]:
    """Compare within an arm: that another configuration runs at another clock is its doing."""
    found = {each.label: median for each in arm if (median := _median(each, name))}
    middle = float(np.median(list(found.values()))) if found else 0.0
    return [
        f"{name}: {label}: {median:.0f} MHz, where the arm has {middle:.0f}"
        for label, median in found.items()
        if abs(median - middle) > MOST_CLOCK_APART * middle
    ]


def _start_temperatures(observed: Sequence[Observed], name: str) -> list[str]:
    pairs: dict[int, dict[str, float]] = {}
    for each in observed:
        began = each.gauges.get(name, ("", None, None))[1]
        if began is not None:
            pairs.setdefault(each.pair, {})[each.arm] = began
    return [
        f"{name}: pair {pair + 1}: base at {found['base']:.0f} °C, candidate at {found['candidate']:.0f} °C"
        for pair, found in pairs.items()
        if len(found) == 2 and abs(found["base"] - found["candidate"]) > MOST_START_APART_C
    ]


def _gauges(manifest: Mapping[str, Any], readings: Readings) -> dict[str, tuple[str, float | None, float | None]]:
    window = measured_window(manifest)
    found: dict[str, tuple[str, float | None, float | None]] = {}
    for channel in sensors(manifest):
        if window is None or channel.get("kind") != "gauge":
            continue
        mine = of_channel(readings, channel)
        good = mine[mine["status"] == 0]
        if len(good):
            at = max(int(np.searchsorted(good["t_ns"], window[0], "right")) - 1, 0)
            inside = good["value"][(good["t_ns"] >= window[0]) & (good["t_ns"] <= window[1])]
            median = float(np.median(inside)) if len(inside) else None
            found[str(channel.get("name"))] = (str(channel.get("unit")), float(good["value"][at]), median)
    return found


def _median(each: Observed, name: str) -> float | None:
    return each.gauges.get(name, ("", None, None))[2]


def _differences(told: Iterable[tuple[Observed, Any]]) -> list[str]:
    """Compare what every run tells with what the first one does; `None` is no difference."""
    known = [(each, value) for each, value in told if value is not None]
    first, expected = known[0] if known else (None, None)
    return [
        f"{first.label}: {_short(expected)}, {each.label}: {_short(value)}"
        for each, value in known
        if first and value != expected
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _of(observed: Sequence[Observed], arm: str) -> list[Observed]:
    return [each for each in observed if each.arm == arm]


def _sum(each: Observed, name: str) -> float:
    return number(float(np.nansum(each.queries.numbers[name]))) or 0.0
