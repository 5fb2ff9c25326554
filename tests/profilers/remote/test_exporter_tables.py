"""What exporters and Prometheus write, to the letter: which GPUs, units, names and values become of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.exporter import answering
from doubles.patience import wait_for

from ipw.profilers.base import Channel, SensorError
from ipw.profilers.discovery import close, find
from ipw.profilers.remote import polled
from ipw.profilers.remote.dcgm import USUAL_S as DCGM_S
from ipw.profilers.remote.exposition import Series, chosen, series_of
from ipw.profilers.remote.gpus import channels_of, gpus_of, key_of, values_of
from ipw.profilers.remote.polled import Http, poll_of, renewed, watched
from ipw.profilers.remote.prometheus import MOST_SERIES, unit_of
from ipw.profilers.remote.prometheus import channels_of as channels_of_series
from ipw.profilers.remote.prometheus import values_of as values_of_series
from ipw.profilers.remote.where import Where, where_of

COUNTED, OLD_COUNTED = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "dcgm_total_energy_consumption"
USAGE, INSTANT, OLD_USAGE = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_USAGE_INSTANT", "dcgm_power_usage"
POWER = Channel(name="far/gpu0", kind="power", scope="gpu", method="integrated_power", unit="W")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What looks whether values are renewed lives by a clock that the test moves."""
    return Clock().drives(polled, monkeypatch)


def series(name: str, value: float = 1.0, **labels: str) -> Series:
    return Series(name, labels, value)


def test_gpus_are_listed_by_their_number_and_those_without_one_last() -> None:
    told = [series(USAGE, gpu=number, UUID=f"GPU-{number}") for number in ("b", "10", "2", "a", "", "2")]
    told += [series("DCGM_FI_DEV_GPU_TEMP", gpu="1", UUID="GPU-1")]
    assert [gpu.number for gpu in gpus_of(told)] == ["2", "10", "", "a", "b"]


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"UUID": "GPU-1", "uuid": "GPU-2", "gpu": "0"}, "GPU-1"),
        ({"uuid": "GPU-2", "gpu": "0", "Hostname": "a"}, "GPU-2"),
        ({"Hostname": "a", "gpu": "0", "device": "nvidia0"}, "a/0/nvidia0"),
        ({"gpu": "0"}, "/0/"),
        ({}, "//"),
    ],
)
def test_a_gpu_is_known_by_its_uuid_or_else_by_host_and_number(labels: dict[str, str], key: str) -> None:
    assert key_of(labels) == key


@pytest.mark.parametrize(
    ("told", "values"),
    [
        ([(USAGE, 200.0), (INSTANT, 300.0)], {"power": 200.0}),
        ([(INSTANT, 300.0), (USAGE, 200.0)], {"power": 200.0}),
        ([(INSTANT, 300.0), (OLD_USAGE, 400.0)], {"power": 300.0}),
        ([(OLD_USAGE, 400.0)], {"power": 400.0}),
        ([(USAGE, 200.0), (USAGE, 210.0), (USAGE, 190.0)], {"power": 210.0}),
        ([(USAGE, 0.0)], {"power": 0.0}),
        ([(USAGE, -1.0), (INSTANT, 5.0)], {"power": 5.0}),
        ([(COUNTED, 5000.0)], {"counter": 5.0}),
        ([(OLD_COUNTED, 9000.0)], {"counter": 9.0}),
        ([(OLD_COUNTED, 9000.0), (COUNTED, 5000.0)], {"counter": 5.0}),
        ([(COUNTED, 0.0), (USAGE, 1.0)], {"counter": 0.0, "power": 1.0}),
        ([("DCGM_FI_DEV_GPU_TEMP", 45.0)], {}),
    ],
)
def test_of_several_metrics_the_best_is_taken_and_of_one_metric_the_largest(
    told: list[tuple[str, float]], values: dict[str, float]
) -> None:
    found = values_of(series(name, value, UUID="GPU-1") for name, value in told)
    assert found == {("GPU-1", kind): value for kind, value in values.items()}


def test_channels_of_gpus_say_what_they_are() -> None:
    told = [
        series(USAGE, 5.0, gpu="0", UUID="GPU-a", modelName="A100"),
        series(COUNTED, 7000.0, gpu="0", UUID="GPU-a"),
        series(USAGE, 6.0, gpu="0", UUID="GPU-b", GPU_I_ID="3"),
        series(COUNTED, 1.0, gpu="0", uuid="GPU-c"),
    ]
    channels, keys = channels_of(gpus_of(told), values_of(told), "node/dcgm", "node", "dcgm-exporter")
    assert [channel.name for channel in channels] == [
        "node/dcgm/gpu0", "node/dcgm/gpu0/power", "node/dcgm/gpu0-2/power", "node/dcgm/gpu0-3"
    ]  # fmt: skip
    assert keys == [("GPU-a", "counter"), ("GPU-a", "power"), ("GPU-b", "power"), ("GPU-c", "counter")]
    assert [channel.device for channel in channels] == ["A100 GPU-a", "A100 GPU-a", "GPU GPU-b", "GPU GPU-c"]
    assert [channel.included_in for channel in channels] == [None, "node/dcgm/gpu0", None, None]
    assert [bool(channel.note) for channel in channels] == [False, False, True, False]
    counter, power = channels[:2]
    assert (counter.kind, counter.unit, counter.method, counter.resolution_j) == ("counter", "J", "counter", 1e-3)
    assert (power.kind, power.unit, power.method) == ("power", "W", "integrated_power")
    assert {(c.scope, c.age_periods, c.host, c.here, c.driver) for c in channels} == {
        ("gpu", 1.0, "node", False, "dcgm-exporter")
    }


def test_a_line_may_be_8192_letters_long_and_no_longer() -> None:
    def line(length: int) -> str:
        return 'a{x="' + "y" * (length - len('a{x=""} 1')) + '"} 1'

    assert [len(list(series_of(line(length)))) for length in (8192, 8193)] == [1, 0]


def test_a_label_of_kubernetes_is_found_under_each_of_its_names() -> None:
    for name in ("pod", "exported_pod", "pod_name"):
        assert chosen({name: "vllm-0"}, {"pod": "vllm-*"})
    assert chosen({"pod": "exporter", "exported_pod": "vllm-0"}, {"pod": "vllm-*"})
    assert not chosen({"pod": "vllm-0"}, {"pod": "vllm-*", "namespace": "prod"})
    assert chosen({"gpu": "0"}, {})


# --- how often --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period_s", "poll_s"),
    [(None, 1.0), (0.01, 0.05), (0.2, 0.05), (0.3, 0.075), (1.0, 0.25), (4.0, 1.0), (60.0, 1.0)],
)
def test_what_is_renewed_is_asked_for_four_times_as_often_within_limits(period_s: float | None, poll_s: float) -> None:
    assert poll_of(period_s) == pytest.approx(poll_s)
    assert renewed(POWER, period_s, "it", DCGM_S).poll_s == pytest.approx(poll_s)


@pytest.mark.parametrize(
    ("period_s", "told"),
    [
        (0.04, "it renews it every 0.1 s"),
        (1.234, "it renews it every 1.2 s"),
        (None, "it renews it more seldom than every 1.25 s, usually every 30 s"),
    ],
)
def test_a_channel_says_how_often_it_is_renewed_behind_what_it_says_already(period_s: float | None, told: str) -> None:
    found = renewed(Channel(**POWER.as_dict() | {"note": "sliced"}), period_s, "it", DCGM_S)
    assert found.note == f"sliced; {told}: for runs that last many times as long, not for single queries"
    assert found.update_period_s == (period_s or 30.0)
    assert (renewed(POWER, period_s, "it", DCGM_S).note or "").startswith(told)


@pytest.mark.parametrize(
    ("every_s", "found_s"), [(0.1, 0.2), (0.4, 0.4), (0.6, 0.6), (1.2, 1.2), (2.2, None), (9.0, None)]
)
def test_for_two_and_a_half_seconds_it_is_watched_how_often_values_are_renewed(
    every_s: float, found_s: float | None, clock: Clock
) -> None:
    began_s, asked = clock.t_s, list[float]()

    def ask() -> Mapping[Any, float]:
        asked.append(clock.t_s - began_s)
        return {"b": (clock.t_s - began_s + 0.01) // every_s}  # `a` is gone, which is no renewal

    assert watched(ask, {"a": 5.0, "b": 0.0}) == (found_s and pytest.approx(found_s, abs=0.01))
    assert asked[0] == pytest.approx(0.2, abs=0.01)
    assert asked[-1] < 2.61
    assert found_s is not None or asked[-1] > 2.39
    assert len(asked) == pytest.approx(asked[-1] / 0.2, abs=0.5)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "name"),
    [
        ("http://Node-7", Where("node-7", 9321, False, "", "", "http://node-7:9321"), "node-7"),
        (" http://a:80/m n?x=1 2 ", Where("a", 80, False, "/m%20n", "x=1 2", "http://a:80"), "a"),
        ("https://[::1]/", Where("::1", 9321, True, "/", "", "https://[::1]:9321"), "[::1]"),
        ("https://a_b.test:1#no", Where("a_b.test", 1, True, "", "", "https://a_b.test:1"), "a_b.test"),
    ],
)
def test_an_address_is_taken_apart(text: str, where: Where, name: str) -> None:
    found = where_of(text, 9321, credentials="IPW_X")
    assert (found, found.name) == (where, name)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_what_a_prometheus_says_of_a_query_is_read_whatever_its_status_and_a_refusal_is_told() -> None:
    answers = iter([(200, "a"), (400, "b"), (422, "c"), (500, "d"), (401, "e"), (403, "f"), (200, "g")])

    with answering(lambda *_: next(answers)) as url:
        http, said = Http(where_of(url, 1, credentials="")), list[object]()
        for _ in range(7):
            try:
                said.append(http.get("/x"))
            except SensorError as error:
                said.append((error.status, error.reason.removeprefix(url)))
        http.close()
        http.close()
    asks = "it asks for a token, or USER:PASSWORD: IPW_EXPORTER_TOKEN"
    assert said == [
        b"a", b"b", b"c", ("lost", ": HTTP status 500"), ("permission", f": {asks}"), ("permission", f": {asks}"), b"g"
    ]  # fmt: skip
    with pytest.raises(SensorError) as told:
        http.get("/x")
    assert (told.value.status, "refused" in told.value.reason) == ("lost", True)


# --- Prometheus -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        (COUNTED, "mJ"), ("a_millijoules_total", "mJ"), ("a_millijoule", "mJ"), ("a_microjoules", "uJ"),
        ("a_joules_total", "J"), ("joule", "J"), ("a_kilojoules", None), ("a_milliwatts", "mW"),
        ("a_microwatt", "uW"), ("a_watts", "W"), (USAGE, "W"), ("a_megawatts", None), ("a_temperature", None),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_tells_its_unit(name: str, unit: str | None) -> None:
    assert unit_of("whatever", {name, ""}) == unit
    assert unit_of(name, {""}) == unit
    assert unit_of(name, set()) == unit


@pytest.mark.parametrize(
    ("query", "unit"),
    [
        ("rate(a_joules_total[1m])", "W"), ("sum by (x) (irate (a_millijoules[5m]))", "mW"),
        ("deriv(a_microjoules[5m])", "uW"), ("increase(a_joules[1m])", None), ("delta(a_joules[1m])", None),
        ("rate(a_watts[1m])", None), ("deriv(a_milliwatts[1m])", None), ("separate(a_joules)", "J"),
    ],
)  # fmt: skip
def test_the_rate_of_joules_is_watts_and_that_of_watts_is_nothing_we_know(query: str, unit: str | None) -> None:
    assert unit_of(query, set()) == unit


def test_series_are_named_after_their_machine_and_what_they_are_of() -> None:
    told = [
        series("a_watts", gpu="10", UUID="GPU-x", Hostname="n1", node="n2", instance="n3:9400", modelName="H100"),
        series("a_watts", gpu="9", node="n2", instance="n3:9400", GPU_I_ID="1"),
        series("a watts/x", instance="n3:9400"),
        series("", instance="[::1]:9400"),
        series("a", instance="", node="no de"),
        series("a", instance="n3:http"),
        series("a", node="n" * 120),
        series("a", x="y" * 400),
        series("a", x="1"),
        series("a", x="1"),
    ]
    made = list(channels_of_series(told, "power", None, "machine").values())
    assert [channel.name for channel in made] == [
        "n3/prometheus/a-watts-x", "[::1]:9400/prometheus/series", "no-de/prometheus/a", "n3:http/prometheus/a",
        f"{'n' * 100}/prometheus/a", "machine/prometheus/a", "machine/prometheus/a-2", "n2/prometheus/gpu9",
        "n1/prometheus/gpu10",
    ]  # fmt: skip
    assert [channel.scope for channel in made] == ["system"] * 7 + ["gpu"] * 2
    assert made[-1].device == "H100 GPU-x"
    assert made[-2].device == "GPU"
    assert [len(made[5].device), made[6].device, made[0].device] == [300, "x=1", "instance=n3:9400"]
    assert ["MIG" in (channel.note or "") for channel in made] == [False] * 7 + [True, False]
    assert {(c.kind, c.unit, c.method, c.age_periods, c.here, c.driver) for c in made} == {
        ("power", "W", "integrated_power", 2.0, False, "Prometheus")
    }
    assert [channel.host for channel in made[-2:]] == ["n2", "n1"]
    (counter,) = channels_of_series(told[:1], "counter", "wall", "machine").values()
    assert (counter.kind, counter.unit, counter.method, counter.scope) == ("counter", "J", "counter", "wall")


def test_of_a_gpu_that_is_told_of_several_times_the_largest_is_taken() -> None:
    told = [series("a", value, UUID="GPU-x", pod=pod) for pod, value in (("p", 2.0), ("q", 5.0), ("r", 3.0))]
    told += [series("a", 0.0, x="1"), series("a", 4.0, x="2")]
    assert sorted(values_of_series(told, 10.0).values()) == [0.0, 40.0, 50.0]


def opened_with(body: object, more: str = "") -> tuple[list[Channel], list[float]]:
    """Channels and first values of a Prometheus that always answers this."""
    text = body if isinstance(body, str) else json.dumps(body)
    with answering(lambda *_: (200, text)) as url:
        (sensor,) = find(f"prometheus:{url}/base/?query=a_watts{more}")
        values = []
        try:
            if isinstance(sensor, polled.Polled):
                values = [wait_for(partial(sensor.read, place)).value for place in range(len(sensor.channels))]
        finally:
            close([sensor])
    return list(sensor.channels), values


def vector(*series: tuple[Any, Any]) -> dict[str, Any]:
    result = [{"metric": metric, "value": value} for metric, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.mark.parametrize(
    ("unit", "kind", "factor"),
    [("W", "power", 1.0), ("mW", "power", 1e-3), ("uW", "power", 1e-6), ("kW", "power", 1e3), ("J", "counter", 1.0),
     ("mJ", "counter", 1e-3), ("uJ", "counter", 1e-6), ("Wh", "counter", 3600.0), ("kWh", "counter", 3.6e6)],
)  # fmt: skip
def test_each_unit_becomes_joules_or_watts(unit: str, kind: str, factor: float) -> None:
    channels, values = opened_with(vector(({}, [0, "8"])), f"&unit= {unit}")
    assert [channel.kind for channel in channels] == [kind]
    assert values == [pytest.approx(8 * factor)]


def test_series_whose_value_is_none_of_a_sensor_are_left_out() -> None:
    odd: Sequence[Any] = [[0, "-1"], [0, "NaN"], [0, "x"], [0, None], [0], [0, "1", "2"], "5", None]
    told = vector(({"x": "0"}, [0, "0"]), *(({"x": str(k)}, each) for k, each in enumerate(odd, 1)), (None, [0, "5"]))
    told["data"]["result"] += [5, {"metric": {}}]
    channels, values = opened_with(told)
    assert ([channel.device for channel in channels], values) == (["x=0"], [0.0])


def test_a_scalar_is_one_series() -> None:
    channels, values = opened_with({"status": "success", "data": {"resultType": "scalar", "result": [0, "7"]}})
    assert ([channel.name for channel in channels], values) == (["127.0.0.1/prometheus/series"], [7.0])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html>", "is not a Prometheus server: it does not answer in JSON"),
        ([], ": no answer that is known"),
        ({"status": "error", "error": "e" * 300}, ": " + "e" * 200),
        ({"status": "success"}, f" gives no series, or more than {MOST_SERIES}"),
        ({"status": "success", "data": []}, f" gives no series, or more than {MOST_SERIES}"),
        ({"status": "success", "data": {"result": 5}}, f" gives no series, or more than {MOST_SERIES}"),
        (vector(*[({"x": str(k)}, [0, "1"]) for k in range(257)]), f" gives no series, or more than {MOST_SERIES}"),
        (vector(), " finds nothing for the query"),
    ],
)
def test_what_gives_no_series_says_why(body: object, reason: str) -> None:
    (channel,), _ = opened_with(body)
    assert (channel.name, channel.status) == ("127.0.0.1/prometheus", "unsupported")
    assert (channel.reason or "").endswith(reason)
    assert (channel.hint or "").startswith("prometheus:http://HOST:9090?query=QUERY&unit=W")


def test_as_many_series_as_256_are_taken() -> None:
    assert len(opened_with(vector(*[({"x": str(k)}, [0, "1"]) for k in range(256)]))[0]) == 256
