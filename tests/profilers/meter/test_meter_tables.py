"""What meters answer and where they are, to the digit and to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.profilers.base import SensorError
from ipw.profilers.meter_address import Address, meter_address
from ipw.profilers.meter_answers import parse

WH, MWH, WATT_MINUTE, KWH = 3600.0, 3.6, 60.0, 3.6e6


def phases(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"emeters": list(parts), **more}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"apower": 61.5, "aenergy": {"total": 2.0}}, (61.5, 2 * WH, MWH)),
        ({"apower": 0, "aenergy": {"total": 0}}, (0.0, 0.0, MWH)),
        ({"apower": 5.0, "aenergy": 7}, (5.0, None, MWH)),
        ({"apower": 5.0, "aenergy": {"total": None}, "total_act": 3.0}, (5.0, None, MWH)),
        ({"total_act_power": 5.0, "total_act": 3.0}, (5.0, 3 * WH, MWH)),
        ({"act_power": 5.0, "total_act_energy": 3.0}, (5.0, 3 * WH, MWH)),
        ({"apower": None, "total_act_power": 6.0, "act_power": 5.0}, (6.0, None, MWH)),
        ({"apower": -1.0, "aenergy": {"total": 2.0}}, (None, 2 * WH, MWH)),
        ({"result": {"apower": 5.0}}, (5.0, None, MWH)),
        ({"result": 7, "apower": 5.0}, (5.0, None, MWH)),
        ({"switch:0": {"apower": 5.0, "aenergy": {"total": 2.0}}, "input:0": {"id": 0}}, (5.0, 2 * WH, MWH)),
        ({"em:0": {"total_act_power": 5.0}, "emdata:0": {"total_act": 2.0}}, (5.0, 2 * WH, MWH)),
        ({"em1:1": {"act_power": 5.0}, "em1data:1": {"total_act_energy": 2.0}, "cloud": {}}, (5.0, 2 * WH, MWH)),
        ({"switch:0": {"apower": 5.0}, "switch:1": 7, "plain": {"apower": 9.0}}, (5.0, None, MWH)),
        ({"power": 5.0, "total": 7}, (5.0, 7 * WATT_MINUTE, WATT_MINUTE)),
        ({"power": 5.0}, (5.0, None, WATT_MINUTE)),
        ({"power": 5.0, "total": 7.5, "total_returned": 0.0}, (5.0, 7.5 * WH, 360.0)),
        ({"power": 5.0, "is_valid": True, "total": 7}, (5.0, 7 * WATT_MINUTE, WATT_MINUTE)),
        ({"meters": [{"power": 5.0, "total": 7}]}, (5.0, 7 * WATT_MINUTE, WATT_MINUTE)),
        ({"emeters": [], "meters": [{"power": 5.0}]}, (5.0, None, WATT_MINUTE)),
        (phases({"power": 5.0, "total": 1.0, "total_returned": 0}, {"power": 2.0, "total": 2.0}, total_power=7.0),
         (7.0, 3 * WH, 360.0)),
        (phases({"power": 5.0, "total": 1.0}, {"power": None, "total": 2.0}, total_power=7.0),
         (None, 3 * WATT_MINUTE, WATT_MINUTE)),
        ({"StatusSNS": {"ENERGY": {"Power": 5, "Total": 2.0}}}, (5.0, 2 * KWH, WH)),
        ({"ENERGY": {"Power": [5, 2.5], "Total": [1, 2]}}, (7.5, 3 * KWH, WH)),
        ({"StatusSNS": {"ENERGY": {"Power": [5, None], "Total": 2.0}}}, (None, 2 * KWH, WH)),
        ({"StatusSNS": 5, "ENERGY": {"Power": 0, "Total": None}}, (0.0, None, WH)),
        ({"StatusSNS": {}, "apower": 5.0}, (5.0, None, MWH)),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_is_watts_joules_and_the_step_in_which_the_joules_are_written(
    body: Any, answer: tuple[float | None, float | None, float]
) -> None:
    found = parse(body)
    assert [each is None for each in found] == [each is None for each in answer]
    assert [each or 0.0 for each in found] == pytest.approx([each or 0.0 for each in answer])
    assert all(each is None or type(each) in {float, int} for each in found)


@pytest.mark.parametrize(
    ("body", "reason", "status"),
    [
        (None, "not a JSON object", "unsupported"),
        ({"result": [1]}, "tells no power in a form that we know", "unsupported"),
        ({}, "tells no power in a form that we know", "unsupported"),
        ({"apower": -1}, "wrong way round", "unsupported"),
        ({"power": -1.0}, "wrong way round", "unsupported"),
        ({"act_power": -0.5}, "wrong way round", "unsupported"),
        ({"apower": True}, "tells no power in a form that we know", "unsupported"),
        ({"apower": "0"}, "tells no power in a form that we know", "unsupported"),
        ({"apower": False}, "tells no power in a form that we know", "unsupported"),
        ({"meters": [{"power": 5.0}, 7]}, "tells no power in a form that we know", "unsupported"),
        ({"meters": {"power": 5.0}}, "tells no power in a form that we know", "unsupported"),
        ({"meters": [{"power": 5.0}, {"power": 5.0}]}, "several meters: ask one, with /meter/0", "unsupported"),
        ({"power": 5.0, "is_valid": False}, "not valid", "lost"),
        ({"WARNING": ""}, "a user and a password", "permission"),
        ({"switch:0": {"apower": 5.0}, "pm1:0": {"apower": 0}}, "several meters: ask one, such as", "unsupported"),
    ],
)  # fmt: skip
def test_what_tells_no_power_of_one_device_is_refused(body: Any, reason: str, status: str) -> None:
    with pytest.raises(SensorError, match=reason) as told:
        parse(body)
    assert told.value.status == status


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://Plug", Address("http://plug/", None, "http://plug")),
        (" https://plug:8443/a b?x=1 2#y ", Address("https://plug:8443/a%20b?x=1%202", None, "https://plug:8443/a%20b")),
        ("http://[fe80::1%25eth0]:80/", Address("http://[fe80::1%25eth0]:80/", None, "http://[fe80::1%25eth0]:80/")),
        ("http://a:b@plug/", Address("http://plug/", "Basic YTpi", "http://plug/")),
        ("http://a@plug/", Address("http://plug/", "Basic YTo=", "http://plug/")),
        ("http://:b@plug/", Address("http://plug/", "Basic OmI=", "http://plug/")),
        ("http://a%20b:c%3Ad@plug/", Address("http://plug/", "Basic YSBiOmM6ZA==", "http://plug/")),
        ("http://1.2.3.4/rpc/Switch.GetStatus?id=0",
         Address("http://1.2.3.4/rpc/Switch.GetStatus?id=0", None, "http://1.2.3.4/rpc/Switch.GetStatus")),
    ],
)  # fmt: skip
def test_an_address_is_what_to_ask_who_asks_and_what_may_be_shown(text: str, address: Address) -> None:
    found = meter_address(text)
    assert found is not None
    assert found[:2] == address[:2]
    assert found.shown.startswith(address.shown)


@pytest.mark.parametrize(
    "text", ["", "plug", "ftp://plug/", "http:///x", "http://pl ug/", "http://plüg/", "http://p:x/"]
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert meter_address(text) is None
