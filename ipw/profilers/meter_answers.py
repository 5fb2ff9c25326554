"""What power meters answer: Shelly of every generation, and Tasmota.

Sources: shelly-api-docs.shelly.cloud (first generation: `meters` count watt-minutes, `emeters` watt-hours; later ones:
components such as Switch, PM1, EM, EM1 and their data in watt-hours), tasmota.github.io (Status 8 in kWh, phases as
lists).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ipw.profilers.base import SensorError
from ipw.shapes import finite

J_PER_KWH, J_PER_WH, J_PER_WATT_MINUTE = 3.6e6, 3600.0, 60.0
POWERS = ("apower", "total_act_power", "act_power")
TOTALS = ("total_act", "total_act_energy")


class MeterAnswer(NamedTuple):
    """What a meter tells: power, energy since some moment, or both."""

    power_w: float | None
    energy_j: float | None
    resolution_j: float = J_PER_WH
    """Of the energy, as this kind of meter writes it."""


def parse(body: Any) -> MeterAnswer:
    """Read an answer. Raises SensorError where it tells neither power nor energy, or of several devices at once."""
    if isinstance(body, dict) and isinstance(body.get("result"), dict):
        body = body["result"]  # the answer to a question that was posted
    if not isinstance(body, dict):
        raise SensorError("unsupported", "the answer is not a JSON object")
    if "WARNING" in body:
        raise SensorError("permission", "the meter asks for a user and a password")
    for read in (_tasmota, _component, _components, _first_generation):
        told = read(body)
        if told is not None and (told.power_w is not None or told.energy_j is not None):
            return told
    if any(_is_negative(_first(body, names)) for names in (POWERS, ("power",))):
        raise SensorError("unsupported", "the power is below 0: is the clamp the wrong way round?")
    raise SensorError("unsupported", "the answer tells no power in a form that we know")


def _tasmota(body: Mapping[str, Any]) -> MeterAnswer | None:
    status = body.get("StatusSNS")
    energy = (status if isinstance(status, dict) else body).get("ENERGY")
    if not isinstance(energy, dict):
        return None
    return MeterAnswer(_sum(energy.get("Power")), _times(_sum(energy.get("Total")), J_PER_KWH))


def _component(body: Mapping[str, Any]) -> MeterAnswer | None:
    """Read one component of a Shelly of the second generation on, which tells mWh where it counts by itself."""
    counted = body.get("aenergy")
    total = counted.get("total") if isinstance(counted, dict) else _first(body, TOTALS)
    return MeterAnswer(_number(_first(body, POWERS)), _times(_number(total), J_PER_WH), 1e-3 * J_PER_WH)


def _components(body: Mapping[str, Any]) -> MeterAnswer | None:
    """Read the one component that measures, from the status of such a whole device."""
    parts = {name: part for name, part in body.items() if ":" in name and isinstance(part, dict)}
    measuring = {name: part for name, part in parts.items() if _first(part, POWERS) is not None}
    if len(measuring) > 1:
        raise SensorError("unsupported", "the device has several meters: ask one, such as Switch.GetStatus?id=0")
    for name, part in measuring.items():
        return _component(parts.get(name.replace(":", "data:"), {}) | part)
    return None


def _first_generation(body: Mapping[str, Any]) -> MeterAnswer | None:
    """Read one meter of a first Shelly (/meter/0, /emeter/0), or the only one in its /status, or its three phases."""
    meters = body.get("emeters") or body.get("meters") or [body]
    if not isinstance(meters, list) or not all(isinstance(each, dict) and "power" in each for each in meters):
        return None
    if len(meters) > 1 and "total_power" not in body:
        raise SensorError("unsupported", "the device has several meters: ask one, with /meter/0 or /emeter/0")
    if any(each.get("is_valid") is False for each in meters):
        raise SensorError("lost", "the meter says that its reading is not valid")
    by_hour = any("total_returned" in each for each in meters)
    unit, resolution_j = (J_PER_WH, 0.1 * J_PER_WH) if by_hour else (J_PER_WATT_MINUTE, J_PER_WATT_MINUTE)
    power, total = (_sum([each.get(name) for each in meters]) for name in ("power", "total"))
    return MeterAnswer(power, _times(total, unit), resolution_j)


def _first(body: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((body[name] for name in names if body.get(name) is not None), None)


def _times(value: float | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _sum(value: Any) -> float | None:
    """Read a number, or the sum of a list of them (phases) of which none is missing."""
    parts = [_number(each) for each in (value if isinstance(value, list) else [value])]
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _number(value: Any) -> float | None:
    """Read a number from 0 on."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def _is_negative(value: Any) -> bool:
    return isinstance(value, int | float) and value < 0
