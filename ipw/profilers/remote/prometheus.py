"""What a Prometheus has gathered: `prometheus:http://HOST:9090?query=DCGM_FI_DEV_POWER_USAGE{pod="NAME"}&unit=W`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from ipw.errors import UsageError
from ipw.foreign_json import parsed
from ipw.profilers.base import Channel, Scope, Sensor, SensorError
from ipw.profilers.remote.exposition import Series
from ipw.profilers.remote.gpus import SLICE
from ipw.profilers.remote.polled import TOKEN, Http, Polled, Values, poll_of, renewed, watched
from ipw.profilers.remote.where import Where, where_of
from ipw.profilers.sources import missing_there
from ipw.runs.readings import Status
from ipw.shapes import finite

PORT, MOST_SERIES = 9090, 256
USUAL_S = 60.0
"""How often Prometheus asks its targets, unless its `scrape_interval` says otherwise."""
UNITS: Mapping[str, tuple[str, float]] = {
    "W": ("power", 1.0), "mW": ("power", 1e-3), "uW": ("power", 1e-6), "kW": ("power", 1e3),
    "J": ("counter", 1.0), "mJ": ("counter", 1e-3), "uJ": ("counter", 1e-6), "Wh": ("counter", 3600.0),
    "kWh": ("counter", 3.6e6),
}  # fmt: skip
NAMES = [
    (r"TOTAL_ENERGY_CONSUMPTION|millijoules?(_total)?\b", "mJ"),
    (r"microjoules?(_total)?\b", "uJ"),
    (r"(?<![a-z])joules?(_total)?\b", "J"),
    (r"milliwatts?\b", "mW"),
    (r"microwatts?\b", "uW"),
    (r"POWER_USAGE|(?<![a-z])watts?\b", "W"),
]
"""What metrics are called that tell energy or power, and their units."""
RATE = re.compile(r"\b(i?rate|deriv|increase|delta)\s*\(")
SCOPES: tuple[Scope, ...] = ("gpu", "package", "dram", "module", "soc", "system", "wall")
MACHINE = ("Hostname", "node", "instance")
"""Labels that name the machine that a series is of."""
HINT = "prometheus:http://HOST:9090?query=QUERY&unit=W (or mW, J, mJ, …)&scope=gpu (or package, system, wall, …)"


def open_sensor(address: str, machine: str) -> Sensor:
    """Open the series of a query. Raises UsageError for an address without one."""
    where = where_of(address.partition(":")[2], PORT, credentials=TOKEN)
    options = _options(where.query)
    query, unit, scope = (options.get(name) for name in ("query", "unit", "scope"))
    if not query:
        raise UsageError("an address of a Prometheus says no query", HINT)
    if (unit is not None and unit not in UNITS) or (scope is not None and scope not in SCOPES):
        raise UsageError(f"the unit is one of {', '.join(UNITS)}, the scope one of {', '.join(SCOPES)}", HINT)
    http = Http(where)
    target = f"{where.path.rstrip('/')}/api/v1/query?query={quote(query, safe='')}"
    try:
        first = _told(http, target, where)
        if not first:
            http.close()
            return _missing(machine, f"{where.shown} finds nothing for the query")
        unit = unit or unit_of(query, {series.name for series in first})
        if unit is None:
            http.close()
            return _missing(machine, "what it asks for may be joules or watts: &unit= says which")
        kind, factor = UNITS[unit]

        def ask() -> Values:
            return values_of(_told(http, target, where), factor)

        channels = channels_of(first, kind, scope, machine)
        period_s = watched(ask, ask())
    except SensorError as error:
        http.close()
        return _missing(machine, error.reason, error.status)
    told = [renewed(channel, period_s, "Prometheus", USUAL_S) for channel in channels.values()]
    return Polled(told, list(channels), ask, poll_of(period_s), http.close)


def _missing(machine: str, reason: str, status: Status = "unsupported") -> Sensor:
    return missing_there(machine, f"{machine}/prometheus", "system", status, reason, HINT)


def unit_of(query: str, names: set[str]) -> str | None:
    """Tell the unit from what metrics are called; `None` where that does not say. The rate of joules is watts."""
    known = " ".join(name for name in names if name) or query
    found = next((unit for pattern, unit in NAMES if re.search(pattern, known, re.ASCII)), None)
    if found and RATE.search(query):
        rates = re.search(r"\b(i?rate|deriv)\s*\(", query) and UNITS[found][0] == "counter"
        return found.replace("J", "W") if rates else None
    return found


def channels_of(found: list[Series], kind: str, scope: str | None, machine: str) -> dict[str, Channel]:
    """Make a channel of each GPU or other thing that series are of."""
    made: dict[str, Channel] = {}
    taken: dict[str, int] = {}
    for series in sorted(found, key=lambda each: (len(each.labels.get("gpu", "")), each.labels.get("gpu", ""))):
        labels, key = series.labels, key_of(series)
        if key in made:
            continue
        of_gpu = "UUID" in labels or "gpu" in labels
        host = next((_host(labels[name]) for name in MACHINE if labels.get(name)), machine)
        what = f"gpu{labels.get('gpu', '')}" if of_gpu else re.sub(r"\W+", "-", series.name) or "series"
        count = taken[f"{host}/{what}"] = taken.get(f"{host}/{what}", 0) + 1
        about = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))[:300]
        if of_gpu:
            about = f"{labels.get('modelName', 'GPU')} {labels.get('UUID', '')}".strip()
        made[key] = Channel(
            name=f"{host}/prometheus/{what}" + (f"-{count}" if count > 1 else ""),
            kind="counter" if kind == "counter" else "power",
            scope=next((each for each in SCOPES if each == scope), "gpu" if of_gpu else "system"),
            method="counter" if kind == "counter" else "integrated_power",
            unit="J" if kind == "counter" else "W", device=about, driver="Prometheus", age_periods=2.0, host=host,
            here=False, note="a sliced GPU (MIG): the whole of it is told, not a slice" if SLICE in labels else None,
        )  # fmt: skip
    return made


def values_of(found: list[Series], factor: float) -> dict[str, float]:
    """Joules or watts by series; of a GPU that is told of several times, the largest."""
    values: dict[str, float] = {}
    for series in found:
        key = key_of(series)
        values[key] = max(values.get(key, 0.0), factor * series.value)
    return values


def key_of(series: Series) -> str:
    """Tell what a series is of: a GPU by its UUID, else all of its labels."""
    return series.labels.get("UUID") or repr(sorted(series.labels.items()))


def _told(http: Http, target: str, where: Where) -> list[Series]:
    try:
        told = parsed(http.get(target), "replace")
    except ValueError:
        raise SensorError(
            "unsupported", f"{where.shown} is not a Prometheus server: it does not answer in JSON"
        ) from None
    if not isinstance(told, dict) or told.get("status") != "success":
        said = str(told.get("error"))[:200] if isinstance(told, dict) else "no answer that is known"
        raise SensorError("unsupported", f"{where.shown}: {said}")
    data = told.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if isinstance(data, dict) and data.get("resultType") == "scalar":
        result = [{"metric": {}, "value": result}]
    if not isinstance(result, list) or len(result) > MOST_SERIES:
        raise SensorError("unsupported", f"{where.shown} gives no series, or more than {MOST_SERIES}")
    return [series for each in result if (series := _series(each)) is not None]


def _series(entry: Any) -> Series | None:
    metric, value = (entry.get("metric"), entry.get("value")) if isinstance(entry, dict) else (None, None)
    if not isinstance(metric, dict) or not isinstance(value, list) or len(value) != 2:
        return None
    try:
        number = finite(float(value[1]))
    except (TypeError, ValueError):
        return None
    if number is None or number < 0:
        return None
    labels = {str(name): str(text) for name, text in metric.items()}
    return Series(labels.pop("__name__", ""), labels, number)


def _options(query: str) -> dict[str, str]:
    """Read what stands behind the question mark; a plus is one, since queries add."""
    pairs = (part.partition("=") for part in query.split("&"))
    return {name: unquote(value).strip() for name, _, value in pairs}


def _host(text: str) -> str:
    """A machine without its port, as the name of one."""
    bare = text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() and text.count(":") == 1 else text
    return re.sub(r"[^\w.:\[\]-]", "-", bare)[:100]
