from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from doubles.meter import SHAPES, serving
from doubles.patience import wait_for
from doubles.reading import failure, named, opened, reading, value
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers import http_meter
from ipw.profilers.base import SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.http_meter import ask
from ipw.profilers.meter_address import meter_address
from ipw.profilers.meter_answers import MeterAnswer, parse


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_meter, "PERIOD_S", 0.02)


@pytest.mark.parametrize("kind", SHAPES)
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


@pytest.mark.parametrize(
    "name", [b"K\xfcche", b"\xff\xfe", b"\xf0\x9f\x92"], ids=["latin-1", "no text", "cut in a character"]
)
def test_a_name_that_is_no_utf_8_costs_a_plug_nothing_else(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        meter.body = b'{"name": "' + name + b'", "apower": 61.5}'
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            assert value(sensor, "meter/power") == 61.5


def test_each_answer_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            times = [reading(sensor, "meter/power").t_ns for _ in range(3)]
    assert len(set(times)) == 3


def test_a_meter_that_falls_silent_is_lost_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            value(sensor, "meter/power")
            meter.body = b'{"apower": null}'
            monkeypatch.setattr(http_meter, "SILENT_AFTER_NS", 50_000_000)
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
        with pytest.raises(SensorError, match="not JSON"):
            asked(meter.url)


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
    values = [value for value in told[:2] if value is not None]
    assert values
    assert min(values) >= 0


def asked(url: str) -> MeterAnswer:
    address = meter_address(url)
    assert address is not None
    return ask(address)


@pytest.mark.parametrize(
    ("kind", "joules"),
    [("shelly", 3.6), ("shelly gen1", 60), ("shelly 3em", 360), ("shelly pro 3em", 3.6), ("tasmota", 3600)],
)
def test_a_meters_energy_has_the_resolution_in_which_it_is_written(kind: str, joules: float) -> None:
    with serving(kind) as meter:
        assert asked(meter.url).resolution_j == pytest.approx(joules)


def test_a_meter_that_tells_energy_alone_is_a_counter_that_joules_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        meter.body = b'{"id": 0, "total_act_energy": 12.5}'
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            assert [channel.name for channel in sensor.channels] == ["meter/energy"]
            assert value(sensor, "meter/energy") == 12.5 * 3600
            assert choose_basis(sensor.channels) == ("wall", frozenset({"meter/energy"}), None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"switch:0": {"apower": 5.0}, "switch:1": {"apower": 7.0}}, "several meters.*Switch.GetStatus"),
        ({"meters": [{"power": 5.0}, {"power": 7.0}]}, "several meters"),
        ({"apower": -61.0}, "wrong way round"),
        ({"power": 5.0, "is_valid": False, "total": 1}, "not valid"),
        ({"WARNING": "Need user=<username>&password=<password>"}, "user and a password"),
        ({"code": 404, "message": "No handler for Switch.GetStatus"}, "in a form that we know"),
        ({"total": 5}, "in a form that we know"),
        ([1], "not a JSON object"),
    ],
)
def test_what_tells_no_power_of_one_device_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(SensorError, match=reason):
        parse(body)


def test_a_meter_is_asked_without_the_systems_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with serving("shelly", 61.5) as meter:
        assert asked(meter.url).power_w == 61.5


def test_a_meter_that_moved_on_its_own_host_is_followed_with_its_password() -> None:
    with serving("shelly", 61.5) as meter:
        meter.login, meter.moved_to = "admin:pass word", "/moved"
        assert asked(meter.url.replace("//", "//admin:pass%20word@")).power_w == 61.5
        assert meter.asked[1:] == ["/moved"]


def test_a_meter_that_sends_to_another_host_is_not_followed() -> None:
    with serving("shelly") as other, serving("shelly") as meter:
        meter.login, meter.moved_to = "admin:geheim", other.url.replace("127.0.0.1", "localhost")
        with pytest.raises(SensorError, match="on to another host"):
            asked(meter.url.replace("//", "//admin:geheim@"))
        assert other.asked == []


def test_a_meter_that_sends_around_in_circles_is_told() -> None:
    with serving("shelly") as meter:
        meter.moved_to = "/again"
        with pytest.raises(SensorError, match="HTTP status 302"):
            asked(meter.url)


def test_a_meter_that_wants_a_password_says_so() -> None:
    with serving("shelly") as meter:
        meter.login = "admin:geheim"
        with pytest.raises(SensorError, match="USER:PASSWORD") as told:
            asked(meter.url)
        assert told.value.status == "permission"


SECRETS = [
    "http://admin:geheim7@HOST/rpc/Switch.GetStatus?id=0",
    "http://HOST/cm?cmnd=Status%208&user=admin&password=geheim7",
    "http://HOST/cm?cmnd=Status 8&user=admin&password=geheim7",
    "http://HOST/api/geheim7geheim7geheim7/meter",
    "http://HOST/meter/0?token=geheim7#geheim7",
    "http://HOST/cm?cmnd=Password1%20geheim7",
    "http://geheim7geheim7@HOST",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("body", [None, b"<html>geheim7", b'{"code": "geheim7"}', b'{"WARNING": "geheim7"}'])
def test_no_secret_of_the_url_is_in_anything_that_a_channel_says(
    secret: str, body: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("shelly") as meter:
        meter.body = body
        host = meter.url.split("/")[2]
        monkeypatch.setenv("IPW_METER_URL", secret.replace("HOST", host))
        (sensor,) = find("meter")
        with opened(sensor):
            assert (sensor.channels[0].status == "ok") == (body is None)
            assert all("geheim7" not in json.dumps(channel.as_dict()) for channel in sensor.channels)
            assert sensor.channels[0].status != "ok" or host in sensor.channels[0].device


@pytest.mark.parametrize("secret", [*SECRETS, "http://admin:geheim7@[/", "admin:geheim7@HOST", "http://a b/geheim7"])
def test_no_secret_is_in_the_reason_of_a_meter_that_cannot_be_asked(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPW_METER_URL", secret.replace("HOST", "127.0.0.1:1"))
    (sensor,) = find("meter")
    assert sensor.channels[0].status != "ok"
    assert "geheim7" not in json.dumps(sensor.channels[0].as_dict())


@pytest.mark.parametrize("secret", SECRETS)
def test_the_meter_itself_is_asked_with_the_whole_url(secret: str) -> None:
    with serving("shelly") as meter:
        user = secret.split("/")[2].rpartition("@")[0]
        meter.login = user and (user if ":" in user else f"{user}:")
        asked(secret.replace("HOST", meter.url.split("/")[2]))
        assert meter.login or "geheim7" in meter.asked[0]
        assert " " not in meter.asked[0]


def test_a_question_that_was_not_answered_is_a_read_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("shelly") as meter:
        monkeypatch.setenv("IPW_METER_URL", meter.url)
        (sensor,) = find("meter")
        with opened(sensor):
            value(sensor, "meter/power")
            meter.body = b"oops"
            for name in ("meter/power", "meter/energy"):
                assert "did not answer" in failure(sensor, name).reason
            meter.body = None

            def answered() -> float | None:
                with suppress(SensorError):  # what failed before may still be told
                    return value(sensor, "meter/power")
                return None

            assert wait_for(answered) == 50.0
