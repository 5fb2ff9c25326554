"""Whether a workload ran where the run's sensors do not look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REMEDY = (
    " (if it runs on this one: --server-here; else to measure that one: ipw sensors serve there, "
    "--sensors http://HOST:9321 here)"
)
ANYWHERE = {"command"}
"""Workloads that may have another machine do their work: who names its sensors knows."""


def unseen(manifest: Mapping[str, Any]) -> str | None:
    """Say that the joules are not the workload's, where it ran on what the sensors do not see.

    That is another machine than that of the sensors, though a meter in the plug may well be its: it is believed. Or it
    is the CPU, where only GPUs are measured.
    """
    sensors = manifest.get("sensors")
    channels = [c for c in sensors if isinstance(c, dict)] if isinstance(sensors, list) else []
    total = [c for c in channels if c.get("in_total")]
    scopes = {c.get("scope") for c in total}
    model = manifest.get("model")
    if scopes != {"wall"} and (reason := _elsewhere(manifest, total)):
        return reason
    if isinstance(model, dict) and model.get("device") == "cpu" and scopes and scopes <= {"gpu", "memory"}:
        return "the model ran on the CPU: these sensors see GPUs only"
    return None


def _elsewhere(manifest: Mapping[str, Any], total: Sequence[Mapping[str, Any]]) -> str | None:
    """Compare the machines that the total is of with the one that the work was done on."""
    server, workload = (x if isinstance(x := manifest.get(name), dict) else {} for name in ("server", "workload"))
    there = list(dict.fromkeys(str(c["host"]) for c in total if c.get("host")))
    here = any(c.get("here", True) for c in total) or not total
    machine = server.get("machine")
    if machine in there if machine is not None else here and server.get("local", True):
        return None
    if workload.get("kind") in ANYWHERE:
        return None
    if not there:
        return f"the server runs on another machine: these sensors saw only the client's energy{REMEDY}"
    where = "this machine" if server.get("local", True) else "another machine"
    told = ", ".join(there)
    if not server:
        return f"the work was done on this machine, and these sensors are those of {told}"
    return (
        f"the server runs on {where}, as far as its address tells, and these sensors are those of {told} "
        f"(if it runs there: --sensors-of {there[0]})"
    )
