"""How much of its devices' peak rates a language-model run used: model FLOPs (MFU) and model bandwidth (MBU).

A token costs 2 FLOPs for each parameter that it is multiplied with (Kaplan et al., "Scaling laws for neural language
models", 2020, section 2.1); attention over the context is left out, which at short contexts is little. Each step of
decoding reads these parameters from memory once, however many answers it goes on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.metrics.definitions import UTILISATION
from ipw.metrics.device_peaks import peak_of
from ipw.metrics.metric import Metric, metric, number
from ipw.metrics.readings import total_channels
from ipw.runs.queries import Queries
from ipw.runs.recorded import Recorded

GPU_SCOPES = ("gpu", "module", "soc")


def utilisation(
    manifest: Mapping[str, Any], queries: Queries, duration_s: float | None, output_rate: Metric
) -> dict[str, Metric]:
    """Make both metrics, or say why not. `output_rate` is the run's rate of output tokens, with its interval."""
    model = Recorded(manifest).model
    numbers = queries.numbers
    busy_s = float(np.nansum(numbers["latency_s"]))
    processed = float(np.nansum(numbers["uncached_tokens"]) + np.nansum(numbers["completion_tokens"]))
    steps = float(np.nansum(numbers["completion_tokens"]))
    if duration_s and busy_s > 0:
        steps /= max(busy_s / duration_s, 1.0)
    work = (
        (_of(model, "flops_per_token"), processed, "flops_per_s"),
        (_of(model, "weight_bytes_per_token"), steps, "bytes_per_s"),
    )
    found = {}
    for definition, (each, count, kind) in zip(UTILISATION, work, strict=True):
        most, unknown = _peak(manifest, kind)
        if each is None:
            unknown = "the model's parameters are not known"
        elif not duration_s or not count:
            unknown = "no token counts"
        if unknown or each is None or most is None or not duration_s:
            found[definition.name] = metric(definition, None, reason=unknown)
            continue
        value = each * count / duration_s / most
        rate, low, high = (number(output_rate.get(key)) for key in ("value", "low", "high"))
        bounds = [value * bound / rate if bound is not None and rate else None for bound in (low, high)]
        found[definition.name] = metric(
            definition,
            value,
            (bounds[0], bounds[1]),
            n=len(queries),
            method="computed",
            interval_by=output_rate["interval"],
        )
    return found


def _of(model: Mapping[str, Any], name: str) -> float | None:
    return number(model.get(name))


def _peak(manifest: Mapping[str, Any], kind: str) -> tuple[float | None, str | None]:
    """Peak rate of all devices that are measured, or why it is not known."""
    devices = [str(c.get("device")) for c in total_channels(manifest) if c.get("scope") in GPU_SCOPES]
    if not devices:
        return None, "no accelerator was measured"
    total = 0.0
    for device in devices:
        most = getattr(peak_of(device), kind, None)
        if most is None:
            return None, f"the peak rate of {device} is not known"
        total += most
    return total, None
