"""Whose joules a run holds: the server's machine and that of the sensors, as judged and as the user says."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.errors import UsageError
from ipw.runs.unseen import unseen
from ipw.workloads.lm.servers.place import Place
from ipw.workloads.lm.servers.whose import whose

HERE, THERE = Place(True, "told"), Place(False, "told")


def channel(host: str | None = None, *, here: bool = False, scope: str = "gpu") -> dict[str, Any]:
    name = f"{host}/nvml/gpu0" if host else "nvml/gpu0"
    return {"name": name, "host": host, "here": here or host is None, "scope": scope, "in_total": True, "index": 0}


def judged(
    server: str, place: Place, channels: list[dict[str, Any]], sensors_of: str | None = None, kind: str = "lm"
) -> str | None:
    facts = {"local": place.local} | whose(server, place, channels, sensors_of)
    return unseen({"server": facts, "sensors": channels, "workload": {"kind": kind}})


FAR = "192.0.2.7"


@pytest.mark.parametrize(
    ("server", "place", "channels", "sensors_of"),
    [
        ("127.0.0.1", HERE, [channel()], None),
        (FAR, THERE, [channel(FAR)], None),
        (FAR, THERE, [channel(f"{FAR}:9322")], None),
        (FAR, THERE, [channel(), channel(FAR)], None),
        ("2001:db8::7", THERE, [channel("[2001:db8::7]")], None),
        ("127.0.0.1", HERE, [channel("127.0.0.1", here=True)], None),
        ("172.17.0.1", THERE, [channel("172.17.0.1", here=True)], None),
        ("127.0.0.1", HERE, [channel("localhost")], "localhost"),
        ("127.0.0.1", HERE, [channel(FAR)], FAR),
        ("192.0.2.1", THERE, [channel(FAR)], FAR),
        ("192.0.2.1", THERE, [channel(FAR)], "192.0.2.1"),
        ("192.0.2.1", THERE, [channel("node-7")], "node-7"),
        ("192.0.2.1", THERE, [channel()], "192.0.2.1"),
        ("192.0.2.1", THERE, [channel(scope="wall")], None),
        ("192.0.2.1", THERE, [channel(FAR), channel("node-8")], "node-8"),
    ],
)
def test_a_server_and_sensors_of_one_machine_belong_together(
    server: str, place: Place, channels: list[dict[str, Any]], sensors_of: str | None
) -> None:
    assert judged(server, place, channels, sensors_of) is None


@pytest.mark.parametrize(
    ("server", "place", "channels", "remedy"),
    [
        (FAR, THERE, [channel()], "--server-here; else to measure that one: ipw sensors serve there"),
        ("192.0.2.1", THERE, [channel(FAR)], f"if it runs there: --sensors-of {FAR}"),
        ("127.0.0.1", HERE, [channel("localhost")], "if it runs there: --sensors-of localhost"),
        ("127.0.0.1", HERE, [channel(FAR)], f"these sensors are those of {FAR}"),
        ("192.0.2.1", THERE, [channel("127.0.0.1", here=True)], "--sensors-of 127.0.0.1"),
    ],
)
def test_a_server_and_sensors_of_two_machines_give_no_joules_and_the_remedy(
    server: str, place: Place, channels: list[dict[str, Any]], remedy: str
) -> None:
    assert remedy in (judged(server, place, channels) or "")


def test_work_that_is_done_here_is_not_seen_by_sensors_elsewhere() -> None:
    manifest = {"sensors": [channel(FAR)], "workload": {"kind": "train"}}
    assert FAR in (unseen(manifest) or "")
    assert unseen({**manifest, "sensors": [channel(), channel(FAR)]}) is None


def test_who_measures_a_command_with_sensors_elsewhere_knows_why() -> None:
    assert unseen({"sensors": [channel(FAR)], "workload": {"kind": "command"}}) is None


@pytest.mark.parametrize("word", ["nobody", "192.0.2.99"])
def test_a_word_that_names_neither_is_wrong_usage(word: str) -> None:
    with pytest.raises(UsageError, match="neither"):
        whose("192.0.2.1", THERE, [channel(FAR)], word)


def test_of_several_machines_the_one_that_is_meant_must_be_named() -> None:
    with pytest.raises(UsageError, match="which of the machines"):
        whose("192.0.2.1", THERE, [channel(FAR), channel("node-8")], "192.0.2.1")


def test_what_it_was_told_by_is_kept() -> None:
    assert whose(FAR, THERE, [channel(FAR)], None)["told_by"] == f"its address is that of the sensors of {FAR}"
    assert whose("192.0.2.1", THERE, [channel(FAR)], FAR)["told_by"] == f"--sensors-of {FAR} says so"
