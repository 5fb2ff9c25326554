"""Numbers and names as people read them: units with prefixes, digits that the interval supports, no hostile bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ipw.metrics.metric import BELOW_RESOLUTION, number
from ipw.printable import clean

MISSING = "\N{EN DASH}"
PREFIXES = {-6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
SCALED_UNITS = {"J": (-6, 9), "W": (-3, 6), "s": (-6, 0), "B": (0, 9), "1/J": (0, 9), "1/W": (0, 6)}
"""Units that take prefixes, and the range of powers of ten that read well."""


class Scale(NamedTuple):
    """A factor for values of one unit, and how the scaled unit is written."""

    factor: float
    unit: str

    def text(self, value: float, digits: int) -> str:
        """Write `value` with so many decimals, without the unit."""
        return f"{value * self.factor:.{digits}f}"

    def digits(self, value: float, low: float | None = None, high: float | None = None) -> int:
        """Count the decimals to show: two digits of the interval's half-width, but two to four digits of the value."""
        value *= self.factor
        by_value = 2 - (math.floor(math.log10(abs(value))) if value else 0)
        if low is None or high is None or high <= low:
            return max(by_value, 0)
        by_interval = 1 - math.floor(math.log10((high - low) / 2 * self.factor))
        return max(min(max(by_interval, by_value - 1), by_value + 1), 0)


def scale_for(unit: str, values: Iterable[float | None]) -> Scale:
    """Choose a scale that suits all of `values`: the middle one by size gets one to three digits before the point."""
    if unit == "":
        return Scale(100.0, "%")
    known = sorted(abs(x) for x in values if x)
    if unit not in SCALED_UNITS or not known:
        return Scale(1.0, f"/{unit[2:]}" if unit.startswith("1/") else unit)
    per, base = ("/", unit[2:]) if unit.startswith("1/") else ("", unit)
    power = 3 * math.floor(math.log10(known[len(known) // 2]) / 3)
    low, high = SCALED_UNITS[unit]
    power = min(max(-power if per else power, low), high)
    return Scale(10.0**power if per else 10.0**-power, f"{per}{PREFIXES[power]}{base}")


def is_count(metric: Mapping[str, Any]) -> bool:
    """Whether a metric is a number of things, told whole. Shares of what was counted are none, nor are bytes."""
    value = metric.get("value")
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and metric.get("method") == "counted" and metric.get("unit") not in SCALED_UNITS


def table_scale(name: str, unit: str, values: Iterable[float | None]) -> Scale:
    """Choose the scale of a column: the same for one metric in every table, so that tables can be compared by eye.

    That is J, W and s, mJ for a token, right answers per kW and kJ; another only where values would be hard to read.
    """
    known = sorted(abs(x) for x in values if x)
    power = {"J": -3 if name.endswith("token_j") else 0, "W": 0, "s": 0, "1/J": 3, "1/W": 3}.get(unit)
    if power is None:
        return scale_for(unit, known)
    per, base = ("/", unit[2:]) if unit.startswith("1/") else ("", unit)
    factor = 10.0**power if per else 10.0**-power
    least = 0.5 if unit == "s" else 0.01
    readable = not known or least <= known[len(known) // 2] * factor < 1e5
    return Scale(factor, f"{per}{PREFIXES[power]}{base}") if readable else scale_for(unit, known)


def quantity(metric: Mapping[str, Any], scale: Scale | None = None) -> str:
    """Write a metric with its interval and unit, a bound where it is below resolution, or why it is absent."""
    value, low, high = (number(metric.get(key)) for key in ("value", "low", "high"))
    if is_count(metric):
        return f"{value:,.0f} {metric.get('unit') or ''}".strip()
    scale = scale or scale_for(str(metric.get("unit", "")), [x for x in (value, high, low) if x is not None][:1])
    if value is None:
        bound = limit(metric, scale)
        reason = clean(metric.get("reason") or "not known")
        return f"{MISSING} ({reason})" if bound is None else f"{bound} {scale.unit} ({reason})"
    interval = interval_text(metric, scale)
    return f"{value_text(metric, scale)} {scale.unit}{' ' + interval if interval else ''}"


def value_text(metric: Mapping[str, Any], scale: Scale) -> str:
    """Write the value alone, or its bound, or a dash."""
    value, low, high = (number(metric.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return limit(metric, scale) or MISSING
    if is_count(metric):
        return f"{value:,.0f}"
    return scale.text(value, scale.digits(value, low, high))


def limit(metric: Mapping[str, Any], scale: Scale) -> str | None:
    """Write the one bound of what is below resolution: `< 3.1`."""
    low, high = number(metric.get("low")), number(metric.get("high"))
    if metric.get("reason") != BELOW_RESOLUTION or (low is None and high is None):
        return None
    if high is not None:
        return f"< {scale.text(high, scale.digits(high))}"
    assert low is not None
    return f"> {scale.text(low, scale.digits(low))}"


def interval_text(metric: Mapping[str, Any], scale: Scale) -> str:
    """Write the 95 % interval, `[low, high]`; an open side as `…`; nothing where neither is known."""
    value, low, high = (number(metric.get(key)) for key in ("value", "low", "high"))
    if value is None or (low is None and high is None):
        return ""
    digits = scale.digits(value, low, high)
    ends = ("…" if end is None else scale.text(end, digits) for end in (low, high))
    return f"[{', '.join(ends)}]"


def spread_text(metric: Mapping[str, Any], scale: Scale) -> str:
    """Write the larger side of the interval in the unit of the value: `±0.3`; nothing where an end is not known."""
    value, low, high = (number(metric.get(key)) for key in ("value", "low", "high"))
    if value is None or low is None or high is None or high <= low:
        return ""
    return f"±{scale.text(max(value - low, high - value), scale.digits(value, low, high))}"


def lopsided(metric: Mapping[str, Any]) -> bool:
    """Whether one side of an interval is so much larger than the other that `±` would mislead."""
    value, low, high = (number(metric.get(key)) for key in ("value", "low", "high"))
    if value is None or low is None or high is None or high <= low:
        return False
    sides = sorted((value - low, high - value))
    return sides[1] > 2 * sides[0] and sides[1] > 0.2 * abs(value)


def shortened(name: str, most: int) -> str:
    """Cut a run's name to about `most` characters in its middle: what tells runs apart stands at the end.

    Its mark, which stands there in brackets, is never cut.
    """
    head, opened, mark = name.rpartition(" (") if name.endswith(")") else (name, "", "")
    head, room = clean(head), max(most - len(mark) - len(opened), 8)
    if len(head) > room:
        behind = min(room // 2, 14)
        head = f"{head[: room - 1 - behind].rstrip()}…{head[-behind:].lstrip()}"
    return head + opened + clean(mark)
