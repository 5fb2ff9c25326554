"""What `powermetrics` writes: property lists with a NUL before each, and Apple's changing names for the energies."""

from __future__ import annotations

import math
from typing import Any

END = b"</plist>"


def split(stream: bytes) -> tuple[list[bytes], bytes]:
    """Cut a stream into its finished documents and the rest.

    Documents end at their closing tag: the NUL comes with the next one, and waiting for it would be an interval late.
    """
    *documents, rest = stream.split(END)
    return [document.lstrip(b"\0 \r\n") + END for document in documents], rest


def rails_j(sample: dict[str, Any]) -> dict[str, float]:
    """Read the joules of each rail over a sample's own interval, which is longer than the one asked for.

    Apple silicon: `soc` and, within it, `cpu`, `gpu`, `ane`; Intel: `package`. Powers are preferred to energies, which
    are whole millijoules. Raises ValueError for a sample without an interval or without any energy.
    """
    elapsed_s = _number(sample, "elapsed_ns", 1e-9)
    if not elapsed_s:
        raise ValueError("no elapsed_ns")
    processor = sample.get("processor", {})
    joules: dict[str, float | None] = {}
    for rail in ("cpu", "gpu", "ane"):
        joules[rail] = _energy(processor, f"{rail}_power", f"{rail}_energy", elapsed_s)
    if joules["gpu"] is None:
        joules["gpu"] = _number(sample.get("gpu", {}), "gpu_energy", 1e-3)
    rails = {rail: energy for rail, energy in joules.items() if energy is not None}
    if "cpu" in rails:
        whole = _energy(processor, "combined_power", "package_energy", elapsed_s)
        return {"soc": sum(rails.values()) if whole is None else whole, **rails}
    package = _energy(processor, "package_watts", "package_joules", elapsed_s, unit=1.0)
    if package is None:
        raise ValueError("no energy that we know")
    return {"package": package}


def _energy(values: dict[str, Any], power: str, energy: str, elapsed_s: float, unit: float = 1e-3) -> float | None:
    watts = _number(values, power, unit)
    return _number(values, energy, unit) if watts is None else watts * elapsed_s


def _number(values: dict[str, Any], name: str, unit: float) -> float | None:
    """Read a number that may be written as an integer or a real; anything else is no number."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return value * unit
