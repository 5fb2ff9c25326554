"""Whether a workload ran where the run's sensors do not look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REMEDY = " (if it runs on this one: --server-here)"


def unseen(manifest: Mapping[str, Any]) -> str | None:
    """Say that the joules are not the workload's, where it ran on what the sensors do not see.

    That is another machine, though a meter in the plug may well be that one's: it is believed. Or it is the CPU, where
    only GPUs are measured.
    """
    sensors = manifest.get("sensors")
    channels = [c for c in sensors if isinstance(c, dict)] if isinstance(sensors, list) else []
    scopes = {c.get("scope") for c in channels if c.get("in_total")}
    server, model = (x if isinstance(x := manifest.get(name), dict) else {} for name in ("server", "model"))
    if not server.get("local", True) and scopes != {"wall"}:
        return f"the server runs on another machine: these sensors saw only the client's energy{REMEDY}"
    if model.get("device") == "cpu" and scopes and scopes <= {"gpu", "memory"}:
        return "the model ran on the CPU: these sensors see GPUs only"
    return None
