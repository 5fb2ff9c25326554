"""GPUs of a machine or a pod, as NVIDIA's dcgm-exporter tells of them: `dcgm:http://HOST:9400/metrics?pod=NAME`."""

from __future__ import annotations

from urllib.parse import parse_qsl

from ipw.profilers.base import Sensor, SensorError
from ipw.profilers.remote.exposition import Series, chosen, series_of
from ipw.profilers.remote.gpus import channels_of, gpus_of, key_of, values_of
from ipw.profilers.remote.polled import TOKEN, Http, Polled, Values, poll_of, renewed, watched
from ipw.profilers.remote.where import where_of
from ipw.profilers.sources import missing_there
from ipw.runs.readings import Status

PORT = 9400
USUAL_S = 30.0
"""How often dcgm-exporter renews its values, unless `-c` says otherwise."""
HINT = "it must tell DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION or DCGM_FI_DEV_POWER_USAGE, as its default counters do"


def open_sensor(address: str, machine: str) -> Sensor:
    """Open the exporter at an address; its query says which labels the GPUs must have. Raises UsageError."""
    where = where_of(address.partition(":")[2], PORT, credentials=TOKEN)
    http = Http(where)
    wanted = dict(parse_qsl(where.query))

    def told() -> list[Series]:
        return list(series_of(http.get(where.path or "/metrics").decode(errors="replace")))

    def ask() -> Values:
        return {key: value for key, value in values_of(told()).items() if key[0] in kept}

    prefix = f"{machine}/dcgm"
    try:
        found = told()
        kept = {key_of(series.labels) for series in found if chosen(series.labels, wanted)}
        gpus = [gpu for gpu in gpus_of(found) if gpu.key in kept]
        if not gpus:
            http.close()
            labels = ", ".join(f"{name}={value}" for name, value in wanted.items())
            return _missing(prefix, machine, f"{where.shown} tells of no GPU" + (f" with {labels}" if labels else ""))
        channels, keys = channels_of(gpus, values_of(found), prefix, machine, "dcgm-exporter")
        period_s = watched(ask, ask())
    except SensorError as error:
        http.close()
        return _missing(prefix, machine, error.reason, error.status)
    return Polled(
        [renewed(each, period_s, "the exporter", USUAL_S) for each in channels],
        keys,
        ask,
        poll_of(period_s),
        http.close,
    )


def _missing(prefix: str, machine: str, reason: str, status: Status = "unsupported") -> Sensor:
    return missing_there(machine, prefix, "gpu", status, reason, HINT)
