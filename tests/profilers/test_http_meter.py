from __future__ import annotations

import json
from typing import Any

import pytest
from doubles.meter import serving
from doubles.reading import failure, named, opened, reading, value
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers import http_meter
from ipw.profilers.base import SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.http_meter import ask, parse


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_meter, "PERIOD_S", 0.02)


@pytest.mark.parametrize("kind", ["shelly", "tasmota"])
def test_a_plug_tells_wall_power_and_a_slow_counter_within_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(kind, 61.5) as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            assert value(sensor, "meter/power") == 61.5
            assert value(sensor, "meter/energy") == pytest.approx(3_600_000, rel=0.01)
            assert named(sensor, "meter/energy").included_in == "meter/power"
            assert choose_basis(sensor.channels) == ("wall", frozenset({"meter/power"}), None)
            assert named(sensor, "meter/power").method == "external_meter"


def test_each_answer_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            times = [reading(sensor, "meter/power").t_ns for _ in range(3)]
    assert len(set(times)) == 3


def test_a_meter_that_falls_silent_is_lost_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_meter, "SILENT_AFTER_NS", 50_000_000)
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            value(sensor, "meter/power")
            meter.body = b'{"apower": null}'
            told = failure(sensor, "meter/power")
    assert told.status == "lost"
    assert "tells no power" in told.reason


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "http://127.0.0.1:1/", "ftp://x", "nonsense", "http://[", "http://\n"]
)
def test_an_address_without_a_meter_is_told_with_the_two_that_we_know(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_METER_URL", url)
    (sensor,) = find("meter")
    told = named(sensor, "meter")
    assert told.status != "ok"
    assert told.reason
    assert told.hint
    assert "Switch.GetStatus" in told.hint


def test_a_body_that_is_no_json_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        meter.body = b"<html>"
        with pytest.raises(SensorError):
            ask(meter.url)


@pytest.mark.parametrize("power", [None, "12", True, -1, float("nan"), [1, 2]])
def test_what_is_no_power_is_refused(power: Any) -> None:
    with pytest.raises(SensorError):
        parse({"apower": power})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["apower", "aenergy", "total", "StatusSNS", "ENERGY", "Power", "Total"]), inner
        )
    ),
)


@given(JSON)
def test_any_answer_is_read_or_refused(body: Any) -> None:
    try:
        told = parse(json.loads(json.dumps(body)))
    except SensorError:
        return
    assert told.power_w >= 0
    assert told.energy_j is None or told.energy_j >= 0
