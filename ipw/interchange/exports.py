"""Runs in the formats of others: codecarbon's CSV, the ML.ENERGY leaderboard's JSON, Prometheus text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ipw.metrics.accounting_text import short_mark
from ipw.metrics.definitions import definition_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number
from ipw.printable import cell, clean
from ipw.reports.facts import JOULES_PER_KWH, NO_FACTS, Facts
from ipw.reports.names import plain_name
from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import Recorded, part_of

CODECARBON = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude",
    "ram_total_size", "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent",
    "ram_utilization_percent", "ram_used_gb", "on_cloud", "pue", "wue",
)  # fmt: skip
"""Columns in the order of its version 3."""
SCOPES = {"package": "cpu", "dram": "ram", "gpu": "gpu"}
"""Its name for each scope of ours; it has no column for a whole chip, board or socket."""
NOT_TOLD = (
    "avg_batch_size", "data_parallel", "expert_parallel", "tensor_parallel", "max_num_batched_tokens", "p95_itl_ms",
)  # fmt: skip
"""Of the leaderboard's fields, those that no run of ours tells; they are there, and null."""
UNITS = {"j": "joules", "w": "watts", "s": "seconds"}
MOST_LABEL = 1000
PROMETHEUS_NAME = re.compile(r"[a-z][a-z0-9_]*")


class StoredRun(NamedTuple):
    """A run as its files tell it."""

    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    run: RunDir | None = None
    """Its folder, for what stands in its tables."""

    def value(self, name: str) -> float | None:
        """The value of a metric."""
        return number(Derived(self.summary).metric(name).get("value"))

    @property
    def estimated(self) -> bool:
        """Whether its joules come from a model of the load."""
        return is_estimate(self.summary.get("method"))


# --- codecarbon -----------------------------------------------------------------------------------------------------


def as_codecarbon(runs: Sequence[StoredRun], facts: Facts = NO_FACTS) -> str:
    """Write one row a run. Emissions are empty unless the grid's intensity is known; an estimate's name says so."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CODECARBON, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in _codecarbon(run, facts).items()} for run in runs)
    return text.getvalue()


def _codecarbon(run: StoredRun, facts: Facts) -> dict[str, Any]:
    energy_j, duration_s = run.value("energy_j"), run.value("duration_s")
    carbon_g = None if energy_j is None else facts.carbon_g(energy_j)
    kg = None if carbon_g is None else carbon_g / 1000
    host = Recorded(run.manifest).host
    memory, gpus = number(host.get("memory_bytes")), devices_of(run, "gpu")
    row = {
        "timestamp": str(run.manifest.get("started") or "").removesuffix("Z"),
        "project_name": plain_name(run.summary) + (" (estimated)" if run.estimated else "") + short_mark(run.summary),
        "run_id": run.summary.get("run_id"),
        "duration": duration_s,
        "emissions": kg,
        "emissions_rate": kg / duration_s if kg is not None and duration_s else None,
        "energy_consumed": None if energy_j is None else energy_j / JOULES_PER_KWH,
        "os": host.get("system"),
        "python_version": Recorded(run.manifest).software.get("python"),
        "cpu_count": host.get("threads"),
        "cpu_model": host.get("cpu"),
        "gpu_count": len(gpus) or None,
        "gpu_model": "; ".join(dict.fromkeys(gpus)),
        "ram_total_size": None if memory is None else memory / 2**30,
        "tracking_mode": "machine",
    }
    for part, joules in _parts(run).items():
        row[f"{part}_energy"] = joules / JOULES_PER_KWH
        row[f"{part}_power"] = joules / duration_s if duration_s else None
    return {key: "" if value is None else value for key, value in row.items()}


def _parts(run: StoredRun) -> dict[str, float]:
    """Joules of the measured window by codecarbon's parts."""
    joules = part_of(Recorded(run.manifest).attribution, "channels")
    found: dict[str, float] = {}
    for channel in mappings(run.manifest.get("sensors")):
        part, spent = SCOPES.get(str(channel.get("scope"))), number(joules.get(str(channel.get("name"))))
        if part and spent is not None and channel.get("in_total"):
            found[part] = found.get(part, 0.0) + spent
    return found


def devices_of(run: StoredRun, scope: str) -> list[str]:
    """What the joules of one scope come from."""
    return [str(c.get("device") or c.get("name")) for c in mappings(run.manifest.get("sensors"))
            if c.get("scope") == scope and c.get("in_total")]  # fmt: skip


# --- ML.ENERGY ------------------------------------------------------------------------------------------------------


def as_ml_energy(runs: Sequence[StoredRun]) -> str:
    """Write a list with an object for each data set, as the leaderboard keeps them, with what our joules are of."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        workload = Derived(run.summary).workload
        if workload.get("kind") == "lm":
            task = str(part_of(workload, "parameters").get("dataset") or "unknown")
            tasks.setdefault(task, []).append(_configuration(run))
    found = [{"task": task, "task_display_name": task, "configurations": rows} for task, rows in tasks.items()]
    return json.dumps(found, indent=1, allow_nan=False, sort_keys=True) + "\n"


def _mean_output(run: StoredRun) -> float | None:
    """Tokens of an answer."""
    a_token, a_query = run.value("energy_per_output_token_j"), run.value("energy_per_query_j")
    rate, duration_s = run.value("output_tokens_per_s"), run.value("duration_s")
    answered = (run.value("queries") or 0) - (run.value("errors") or 0)
    if rate is not None and duration_s and answered > 0:
        return rate * duration_s / answered
    return a_query / a_token if a_query and a_token else None


def _configuration(run: StoredRun) -> dict[str, Any]:
    model, gpus = Derived(run.summary).model, devices_of(run, "gpu")
    parameters = Derived(run.summary).parameters
    total, active = number(model.get("parameters")), number(model.get("active_parameters"))
    itl_ms = {q: None if (s := run.value(f"itl_p{q}_s")) is None else 1000 * s for q in (50, 90, 99)}
    return dict.fromkeys(NOT_TOLD) | {
        "architecture": None if not (total and active) else "MoE" if active < total else "Dense Transformer",
        "avg_output_len": _mean_output(run),
        "model_id": plain_name(run.summary),
        "nickname": plain_name(run.summary) + short_mark(run.summary),
        "gpu_model": "; ".join(dict.fromkeys(gpus)) or None,
        "num_gpus": len(gpus),
        "total_params_billions": None if total is None else total / 1e9,
        "activated_params_billions": None if active is None else active / 1e9,
        "weight_precision": model.get("quantisation"),
        "max_num_seqs": parameters.get("concurrency"),
        "energy_per_token_joules": run.value("energy_per_output_token_j"),
        "energy_per_request_joules": run.value("energy_per_query_j"),
        "avg_power_watts": run.value("mean_power_w"),
        "median_itl_ms": itl_ms[50],
        "p90_itl_ms": itl_ms[90],
        "p99_itl_ms": itl_ms[99],
        "output_throughput_tokens_per_sec": run.value("output_tokens_per_s"),
        "energy_basis": run.summary.get("basis"),
        "energy_method": run.summary.get("method"),
        "energy_estimated": run.estimated,
        "measurement_valid": bool(run.summary.get("valid")),
    }


# --- Prometheus -----------------------------------------------------------------------------------------------------


def as_prometheus(runs: Sequence[StoredRun]) -> str:
    """Write a family of gauges for each metric and each end of its interval; what is absent is left out."""
    labels = list(_labels(runs))
    names = dict.fromkeys(name for run in runs for name in Derived(run.summary).metrics)
    return "".join(line for name in names if PROMETHEUS_NAME.fullmatch(name) for line in _family(name, runs, labels))


def escaped(value: str) -> str:
    """A label's value between quotes, in one line."""
    plain = clean(value, MOST_LABEL)
    return plain.replace("\\", r"\\").replace('"', r"\"")


def prometheus_name(name: str) -> str:
    """A metric's name with its unit written out: `energy_j` is `ipw_energy_joules`."""
    words = [UNITS.get(word, word) for word in name.split("_")]
    return "_".join(["ipw", *words]).replace("per_seconds", "per_second")


def _family(name: str, runs: Sequence[StoredRun], labels: Sequence[str]) -> Iterator[str]:
    definition = definition_of(name)
    says = f"{definition.label}: {definition.formula}" if definition else name.replace("_", " ")
    for end, prefix in (("value", ""), ("low", "lower end of the 95 % interval, "), ("high", "upper end of it, ")):
        rows = [(label, number(Derived(run.summary).metric(name).get(end)))
                for run, label in zip(runs, labels, strict=True)]  # fmt: skip
        known = [f"{label} {value!r}\n" for label, value in rows if value is not None]
        if known:
            family = prometheus_name(name) + ("" if end == "value" else f"_{end}")
            yield f"# HELP {family} {(prefix + says).replace(chr(92), chr(92) * 2)}\n# TYPE {family} gauge\n"
            yield from (family + line for line in known)


def _labels(runs: Sequence[StoredRun]) -> Iterator[str]:
    """Labels of each run, braces and all; the second of one identity is `id #2`, since no series may come twice."""
    seen: Counter[str] = Counter()
    for run in runs:
        run_id = str(run.summary.get("run_id"))
        seen[run_id] += 1
        workload = Derived(run.summary).workload
        told = {
            "run": run_id if seen[run_id] == 1 else f"{run_id} #{seen[run_id]}",
            "model": plain_name(run.summary),
            "workload": workload.get("kind"),
            "dataset": part_of(workload, "parameters").get("dataset"),
            "basis": run.summary.get("basis"),
            "method": run.summary.get("method"),
            "estimated": str(run.estimated).lower(),
            "valid": str(bool(run.summary.get("valid"))).lower(),
        }
        yield "{" + ",".join(f'{key}="{escaped(str(x))}"' for key, x in told.items() if x is not None) + "}"
