"""Entries for a model's card on the Hub: `co2_eq_emissions`, `model-index`, and results for a benchmark's leaderboard.

The forms are those that huggingface_hub reads (`ModelCardData`, `EvalResultEntry`). JSON's scalars are YAML's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ipw.errors import UsageError
from ipw.interchange.exports import StoredRun, devices_of
from ipw.metrics.accounting_text import short_mark
from ipw.metrics.definitions import DEFINITIONS
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.facts import NO_FACTS, Facts
from ipw.reports.names import model_name, quantisation
from ipw.runs.recorded import Recorded

TASKS = {"lm": "text-generation", "diffusion": "text-generation", "agent": "text-generation"}
SHOWN = ("accuracy", "accuracy_per_joule", "accuracy_per_watt", "energy_per_query_j", "energy_per_output_token_j")
HUB_SET = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?")


def as_model_card(runs: Sequence[StoredRun], facts: Facts = NO_FACTS) -> str:
    """Write the front matter of a card. Emissions are left out, with the reason, unless the grid's carbon is known."""
    emissions, why = _emissions(runs, facts)
    entries: dict[str, Any] = {} if emissions is None else {"co2_eq_emissions": emissions}
    results: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if Derived(run.summary).kind in TASKS:
            results.setdefault(model_name(run.summary), []).append(_result(run))
    if results:
        entries["model-index"] = [{"name": name, "results": found} for name, found in results.items()]
    left_out = f"# no co2_eq_emissions: {why}\n" if why else ""
    return f"---\n{left_out}{_yaml(entries)}---\n"


def as_hub_results(runs: Sequence[StoredRun]) -> str:
    """Write entries of `.eval_results/…yaml`, one a run. Raises UsageError for a data set that is not of the Hub."""
    return _yaml([_entry(run) for run in runs])


def _emissions(runs: Sequence[StoredRun], facts: Facts) -> tuple[dict[str, Any] | None, str | None]:
    joules = [run.value("energy_j") for run in runs]
    known = [x for x in joules if x is not None]
    if len(known) < len(joules):
        return None, "not every run has joules"
    grams = facts.carbon_g(sum(known))
    if grams is None:
        return None, "give the grid's grams of CO2e per kWh (--grid-intensity)"
    how = "estimated, not measured" if any(run.estimated for run in runs) else "measured"
    bases = "+".join(dict.fromkeys(str(run.summary.get("basis")) for run in runs))
    grid = f"{facts.grid_g_co2e_per_kwh:g} g CO2e/kWh" + (f", {clean(facts.grid_source)}" if facts.grid_source else "")
    kinds = {Derived(run.summary).kind for run in runs}
    hardware = dict.fromkeys(name for run in runs for name in _hardware(run))
    return {
        "emissions": grams,
        "source": f"ipw: {how} energy of {bases} in {len(runs)} run{'s' * (len(runs) > 1)}, {grid}",
        "training_type": "training" if kinds == {"train"} else "inference, not training",
        "hardware_used": "; ".join(hardware) or None,
    }, None


def _hardware(run: StoredRun) -> list[str]:
    cpu = Recorded(run.manifest).host.get("cpu")
    return [clean(each, 80) for each in devices_of(run, "gpu") or ([cpu] if cpu else [])]


def _result(run: StoredRun) -> dict[str, Any]:
    dataset = str(Derived(run.summary).parameters.get("dataset") or "unknown")
    found = HUB_SET.fullmatch(dataset)
    metrics = []
    for name in SHOWN:
        value, definition = run.value(name), DEFINITIONS[name]
        if value is None:
            continue
        estimated = ", estimated" if run.estimated and definition.is_energy else ""
        unit = f", {definition.unit}" if definition.unit else ""
        basis = f", basis {run.summary.get('basis')}" if definition.is_energy else ""
        metrics.append({"type": name, "value": value, "name": clean(f"{definition.label}{unit}{basis}{estimated}")})
    named: dict[str, Any] = {"name": clean(dataset, 80), "type": found[1] if found else clean(dataset, 80)}
    if found and found[2]:
        named["config"] = found[2]
    return {"task": {"type": TASKS[str(Derived(run.summary).kind)]}, "dataset": named, "metrics": metrics}


def _entry(run: StoredRun) -> dict[str, Any]:
    dataset = str(Derived(run.summary).parameters.get("dataset"))
    found, accuracy = HUB_SET.match(dataset), run.value("accuracy")
    if not found:
        raise UsageError(f"the data set {clean(dataset, 60)} is none of the Hub", "--format model-card takes any")
    if accuracy is None:
        reason = Derived(run.summary).metric("accuracy").get("reason")
        raise UsageError(f"{clean(run.summary.get('run_id'))} has no accuracy: {clean(reason)}")
    told = [quantisation(run.summary), f"n={_questions(run)}", *_energy_note(run), short_mark(run.summary).strip(" ()")]
    entry: dict[str, Any] = {
        "dataset": {"id": found[1], "task_id": found[2] or "default"},
        "value": 100 * accuracy,
    }
    if isinstance(started := run.manifest.get("started"), str):
        entry["date"] = clean(started, 40)
    return entry | {"notes": clean("; ".join(each for each in told if each), 300)}


def _questions(run: StoredRun) -> str:
    n = number(Derived(run.summary).metric("accuracy").get("n"))
    return "?" if n is None else f"{n:g}"


def _energy_note(run: StoredRun) -> list[str]:
    joules = run.value("energy_per_query_j")
    how = "estimated" if run.estimated else "measured"
    return [] if joules is None else [f"{joules:.4g} J a question ({how}, {run.summary.get('basis')})"]


def _yaml(value: Any, depth: int = 0) -> str:
    """Write nested lists and objects of scalars in YAML's block form."""
    pad = "  " * depth
    if isinstance(value, Mapping):
        return "".join(_pair(pad, key, inner, depth) for key, inner in value.items() if inner is not None)
    lines = []
    for each in value:
        text = _yaml(each, depth + 1)
        lines.append(f"{pad}- {text[len(pad) + 2 :]}")
    return "".join(lines) or f"{pad}[]\n"


def _pair(pad: str, key: str, value: Any, depth: int) -> str:
    if isinstance(value, Mapping | list):
        return f"{pad}{key}:\n{_yaml(value, depth + 1)}" if value else f"{pad}{key}: []\n"
    return f"{pad}{key}: {json.dumps(value, ensure_ascii=False)}\n"
