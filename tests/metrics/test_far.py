"""What a run says of sensors that were read over the network: its clock's error and drift, the age of its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipw.metrics.validity.far import far_checks
from ipw.runs.one_clock import on_one_clock
from ipw.runs.readings import RECORD_FIELDS

S = 1_000_000_000
CLOCK = {"name": "far/clock", "kind": "gauge", "index": 0, "host": "far"}
GPU: dict[str, Any] = {"name": "far/nvml/gpu0", "kind": "counter", "scope": "gpu", "index": 1, "in_total": True}


def checked(channel: dict[str, Any], *, drift: float = 0.0, half_ns: int = 10**6, every_s: float = 0.1) -> Any:
    rows = [(tenth * S // 10, drift * tenth / 10, 0, 0, half_ns) for tenth in range(600)]
    for step in range(int(60 / every_s)):
        t = int(step * every_s * S)
        rows += [(t + int(drift * t) + k * int(every_s * S / 5), 100.0 * step * every_s, 1, 0, 0) for k in range(5)]
    channels = [CLOCK, channel]
    rows.append((61 * S, float("nan"), 0, 4, 0))  # a run that is resumed says that every channel was lost meanwhile
    readings = on_one_clock(np.array(rows, np.dtype(RECORD_FIELDS)), channels)
    return list(far_checks({"sensors": channels}, readings, [(5 * S, 55 * S)]))


@pytest.mark.parametrize("drift", [0.0, 1e-4, -5e-5])
def test_a_clock_says_how_well_it_is_known_and_how_it_drifted(drift: float) -> None:
    (check,) = checked({**GPU, "clock": "far/clock"}, drift=drift)
    assert (check["check"], check["ok"]) == ("clock", True)
    assert "known to ±1" in check["detail"]
    assert "600 exchanges, the quickest in 2 ms" in check["detail"]
    assert float(check["detail"].rpartition("by ")[2].removesuffix(" ppm")) == pytest.approx(1e6 * drift, abs=1)


def test_a_clock_that_is_known_worse_than_a_tick_is_told() -> None:
    (check,) = checked({**GPU, "clock": "far/clock"}, half_ns=2 * 10**8)
    assert not check["ok"]


def test_a_clock_that_was_never_compared_is_an_error() -> None:
    manifest = {"sensors": [{**CLOCK, "index": None}, {**GPU, "clock": "far/clock"}]}
    (check,) = far_checks(manifest, np.zeros(0, np.dtype(RECORD_FIELDS)), [(0, S)])
    assert (check["ok"], check["level"]) == (False, "error")


@pytest.mark.parametrize(
    ("every_s", "periods", "ok"), [(0.2, 1.0, True), (1.0, 1.0, True), (1.0, 2.0, False), (6.0, 1.0, False)]
)
def test_the_age_of_what_others_read_is_told_with_what_it_makes_of_the_joules(
    every_s: float, periods: float, ok: bool
) -> None:
    (check,) = checked({**GPU, "age_periods": periods, "update_period_s": 30.0}, every_s=every_s)
    assert (check["check"], check["ok"]) == ("renewal", ok)
    assert f"every {every_s:.3g} s" in check["detail"]
    assert f"±{160 * periods * every_s / 50:.2g} %" in check["detail"]


def test_sensors_of_this_machine_have_nothing_of_that() -> None:
    assert checked(GPU) == []
