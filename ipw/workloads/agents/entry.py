"""Agents as the house sees them: what measures a cell of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ipw.errors import IpwError
from ipw.runs.directory import RunDir
from ipw.workloads.base import Audience, split


def measure(options: Mapping[str, Any], *, out: Path, audience: Audience) -> tuple[RunDir, bool]:
    """Measure one cell of a study. Raises IpwError where the command fails."""
    from ipw.workloads.agents.gateway.measure import GatewayParameters, measure_gateway

    own, common = split(options)
    known = {field.name for field in fields(GatewayParameters)}  # the verb's others are about what is told of the run
    kept = {name: value for name, value in own.items() if name in known}
    parameters = GatewayParameters(**kept | {"command": tuple(own.get("command", ()))})
    run, code = measure_gateway(parameters, **common, out=out, audience=audience, quiet=True)
    if code:
        raise IpwError(f"{parameters.command[0]} ended with exit code {code}", f"what was measured: {run}")
    return run, False
