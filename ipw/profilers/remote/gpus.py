"""GPUs as exporters tell of them: a counter and a power of each, known by UUID, whole where it is sliced.

What dcgm-exporter tells of a MIG instance is the power and the energy of the whole GPU, once for each instance
(NVIDIA/dcgm-exporter#257), read one after the other: the largest count is the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ipw.profilers.base import Channel
from ipw.profilers.remote.exposition import Series

COUNTERS = {"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1e-3, "dcgm_total_energy_consumption": 1e-3}
"""Names of what counts, and joules of one."""
POWERS = ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE_INSTANT", "dcgm_power_usage")
"""Names of power in watts, the best first."""
SLICE = "GPU_I_ID"


class Gpu(NamedTuple):
    """One GPU of a text."""

    key: str
    number: str
    about: str
    sliced: bool


def gpus_of(found: Iterable[Series]) -> list[Gpu]:
    """List the GPUs that tell a counter or a power, by number."""
    first: dict[str, Gpu] = {}
    for series in found:
        if series.name in COUNTERS or series.name in POWERS:
            labels = series.labels
            about = f"{labels.get('modelName', 'GPU')} {labels.get('UUID') or labels.get('uuid') or ''}".strip()
            gpu = Gpu(key_of(labels), labels.get("gpu", ""), about, SLICE in labels)
            first.setdefault(gpu.key, gpu)
    return sorted(first.values(), key=lambda gpu: (not gpu.number.isdigit(), len(gpu.number), gpu.number, gpu.key))


def key_of(labels: Mapping[str, str]) -> str:
    """Tell which GPU labels are of: by its UUID, else by what host and number there are."""
    uuid = labels.get("UUID") or labels.get("uuid")
    return uuid or "/".join(labels.get(name, "") for name in ("Hostname", "gpu", "device"))


def values_of(found: Iterable[Series]) -> dict[tuple[str, str], float]:
    """Joules and watts, by GPU and kind. Of a GPU that is told of several times, the largest of one metric."""
    best: dict[tuple[str, str], tuple[int, float]] = {}
    for series in found:
        for kind, names in (("counter", tuple(COUNTERS)), ("power", POWERS)):
            if series.name in names and series.value >= 0:
                key = key_of(series.labels), kind
                told = -names.index(series.name), COUNTERS.get(series.name, 1.0) * series.value
                best[key] = max(best.get(key, told), told)
    return {key: value for key, (_, value) in best.items()}


def channels_of(
    gpus: Sequence[Gpu], values: Mapping[tuple[str, str], float], prefix: str, machine: str, source: str
) -> tuple[list[Channel], list[tuple[str, str]]]:
    """Make the channels of GPUs: a counter where there is one with the power within it, else the power."""
    channels: list[Channel] = []
    keys: list[tuple[str, str]] = []
    taken: dict[str, int] = {}
    for gpu in gpus:
        count = taken[gpu.number] = taken.get(gpu.number, 0) + 1
        name = f"{prefix}/gpu{gpu.number}" + (f"-{count}" if count > 1 else "")
        note = "a sliced GPU (MIG): the whole of it is told, not a slice" if gpu.sliced else None
        counter = Channel(
            name=name, kind="counter", scope="gpu", method="counter", device=gpu.about, driver=source,
            resolution_j=1e-3, age_periods=1.0, note=note, host=machine, here=False,
        )  # fmt: skip
        power = Channel(
            name=f"{name}/power", kind="power", scope="gpu", method="integrated_power", unit="W", device=gpu.about,
            driver=source, age_periods=1.0, note=note, host=machine, here=False,
            included_in=name if (gpu.key, "counter") in values else None,
        )  # fmt: skip
        for channel, kind in ((counter, "counter"), (power, "power")):
            if (gpu.key, kind) in values:
                channels.append(channel)
                keys.append((gpu.key, kind))
    return channels, keys
