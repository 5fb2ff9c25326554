"""GPUs of exporters and of Prometheus: which channels they give, of which GPUs, and how many joules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.exporter import Dcgm, answering, prometheus
from doubles.patience import undisturbed

from ipw.clock import now_ns
from ipw.energy.curve import Curve, energy_between
from ipw.errors import UsageError
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, close, find
from ipw.profilers.remote.dcgm import USUAL_S as DCGM_S
from ipw.profilers.remote.exposition import chosen, series_of
from ipw.profilers.remote.polled import renewed
from ipw.profilers.remote.prometheus import USUAL_S as PROMETHEUS_S
from ipw.profilers.sampler.lane import PowerFile
from ipw.profilers.sampler.process import SamplerLoop
from ipw.runs.curves import curves_of
from ipw.runs.readings import READINGS, RECORD_FIELDS


@contextmanager
def opened(name: str) -> Iterator[Sensor]:
    found = find(name)
    try:
        yield found[-1]
    finally:
        close(found)


def names(sensor: Sensor) -> list[str]:
    return [channel.name for channel in sensor.channels]


def first_reading(sensor: Sensor, index: int) -> Reading:
    deadline = time.monotonic() + 60
    while (reading := sensor.read(index)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return reading


def sampled(
    folder: Path, name: str, seconds: float, meanwhile: Callable[[], object] = lambda: None
) -> dict[str, Curve]:
    """Curves of what is read in so many seconds, and before and after as the sampler sees to."""
    (folder / READINGS).unlink(missing_ok=True)
    sensors, file = find(name), PowerFile(folder / READINGS)
    try:
        loop = SamplerLoop(sensors, file, now_ns())
        loop.settle(first=True)
        half_ns, middle, end_ns = int(5e8 * seconds), [False], now_ns() + int(1e9 * seconds)

        def over() -> bool:
            if not middle[0] and now_ns() > end_ns - half_ns:
                middle[0] = True
                meanwhile()
            return now_ns() > end_ns

        loop.run(over)
        loop.settle()
    finally:
        file.close()
        close(sensors)
    return curves_of(np.fromfile(folder / READINGS, np.dtype(RECORD_FIELDS)), loop.channels)


def test_one_gpu_gives_a_counter_and_its_power_known_by_uuid() -> None:
    dcgm = Dcgm([300.0])
    with dcgm.up() as name, opened(name) as sensor:
        counter, power = sensor.channels
        assert first_reading(sensor, 1).value == 300.0
        assert first_reading(sensor, 0).value >= 5000.0
    assert names(sensor) == ["127.0.0.1/dcgm/gpu0", "127.0.0.1/dcgm/gpu0/power"]
    assert (counter.kind, counter.unit, power.included_in) == ("counter", "J", counter.name)
    assert dcgm.uuid(0) in counter.device
    assert counter.update_period_s is not None
    assert counter.update_period_s < 5
    assert "not for single queries" in (counter.note or "")


def test_eight_gpus_add_up_and_each_is_one_channel() -> None:
    with Dcgm([100.0 + gpu for gpu in range(8)]).up() as name, opened(name) as sensor:
        basis = choose_basis(sensor.channels)
        watts = [first_reading(sensor, index).value for index in range(1, 16, 2)]
    assert basis.name == "gpu"
    assert basis.channels == {f"127.0.0.1/dcgm/gpu{gpu}" for gpu in range(8)}
    assert watts == [100.0 + gpu for gpu in range(8)]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_sliced_gpu_is_told_once_and_as_a_whole(count: int) -> None:
    dcgm = Dcgm([250.0, 90.0])
    dcgm.slices[0] = [(str(7 + each), "1g.10gb", {}) for each in range(count)]
    with dcgm.up() as name, opened(name) as sensor:
        assert names(sensor)[::2] == ["127.0.0.1/dcgm/gpu0", "127.0.0.1/dcgm/gpu1"]
        assert first_reading(sensor, 1).value == 250.0
        assert "MIG" in (sensor.channels[0].note or "")
        assert "MIG" not in (sensor.channels[2].note or "")


def test_of_instances_that_were_read_one_after_the_other_the_largest_count_is_the_newest() -> None:
    lines = [f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu="0",UUID="GPU-0a",GPU_I_ID="{i}"}} {v}' for i, v in
             ((3, 52_000), (4, 52_300), (5, 52_100))]  # fmt: skip
    with answering(lambda *_: (200, "\n".join(lines))) as url, opened(f"dcgm:{url}") as sensor:
        assert first_reading(sensor, 0).value == pytest.approx(52.3)


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        ("?pod=vllm-0", [1]),
        ("?pod=vllm-*", [1, 2]),
        ("?pod=vllm-*&namespace=prod", [2]),
        ("?container=server", [1]),
        ("?UUID=GPU-00000000*", [0]),
        ("?gpu=0", [0]),
        ("", [0, 1, 2]),
        ("?pod=nobody", []),
        ("?pod=vllm-0&pod=vllm-0", [1]),
    ],
)
def test_labels_choose_the_gpus_of_a_pod(asked: str, gpus: list[int]) -> None:
    dcgm = Dcgm([100.0, 200.0, 300.0])
    dcgm.labels[1] = {"pod": "vllm-0", "namespace": "test", "container": "server"}
    dcgm.labels[2] = {"exported_pod": "vllm-1", "exported_namespace": "prod"}
    with dcgm.up() as name, opened(name + asked) as sensor:
        told = [channel for channel in sensor.channels if channel.kind == "counter"]
    if gpus:
        assert [channel.name for channel in told] == [f"127.0.0.1/dcgm/gpu{gpu}" for gpu in gpus]
    else:
        assert (told[0].status, "pod=nobody" in (told[0].reason or "")) == ("unsupported", True)


@pytest.mark.parametrize(("counters", "powers"), [(True, False), (False, True)])
def test_an_exporter_that_tells_one_of_both_gives_that(counters: bool, powers: bool) -> None:
    dcgm = Dcgm([300.0])
    dcgm.counters, dcgm.powers = counters, powers
    with dcgm.up() as name, opened(name) as sensor:
        (channel,) = sensor.channels
        assert choose_basis(sensor.channels).channels == {channel.name}
    assert channel.kind == ("counter" if counters else "power")
    assert channel.included_in is None


def test_a_series_that_goes_missing_costs_its_own_channel_alone() -> None:
    dcgm = Dcgm([300.0, 200.0])
    with dcgm.up() as name, opened(name) as sensor:
        first_reading(sensor, 0)
        dcgm.missing.add(0)
        said: list[str] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                sensor.read(0)
            except SensorError as error:
                said.append(error.reason)
                break
            time.sleep(0.01)
        assert said == ["it is no longer told"]
        assert first_reading(sensor, 3).value == 200.0


def test_the_joules_of_a_stretch_are_within_their_interval(tmp_path: Path) -> None:
    def measured() -> None:
        dcgm = Dcgm([300.0, 150.0], collect_s=0.2)
        with dcgm.up() as name:
            curves = sampled(tmp_path, name, 2.0)
        for gpu, watts in ((0, 300.0), (1, 150.0)):
            curve = curves[f"127.0.0.1/dcgm/gpu{gpu}"]
            start, end = int(curve.t_ns[0]), int(curve.t_ns[-1])
            joules, low, high = (float(x[0]) for x in energy_between(curve, [start], [end]))
            assert low <= watts * (end - start) / 1e9 <= high
            assert joules == pytest.approx(watts * (end - start) / 1e9, rel=0.2)
            assert np.median(curve.t_err_ns) >= 0.19e9  # what is read of others may be an update old
            assert not curve.gap_lost.any()

    undisturbed(measured)


def test_a_counter_that_begins_anew_loses_what_nobody_saw_and_nothing_more(tmp_path: Path) -> None:
    def measured() -> None:
        dcgm = Dcgm([300.0], collect_s=0.1)

        def reset() -> None:
            dcgm.reset_s[0] = time.monotonic() - dcgm.began_s

        with dcgm.up() as name:
            curve = sampled(tmp_path, name, 2.0, reset)["127.0.0.1/dcgm/gpu0"]
        assert curve.gap_lost.sum() == 1
        assert "reset" in curve.gap_reasons[0] or "anew" in curve.gap_reasons[0]
        whole_s = float(curve.t_ns[-1] - curve.t_ns[0]) / 1e9
        assert 300.0 * (whole_s - 1.0) < curve.energy_j[-1] <= 300.0 * (whole_s + 0.2)

    undisturbed(measured)


@pytest.mark.parametrize("said", ["", "<html>no metrics</html>", "\x00\xff", "DCGM_FI_DEV_POWER_USAGE 5 6 7 8"])
def test_what_is_no_exporter_is_told(said: str) -> None:
    with answering(lambda *_: (200, said)) as url, opened(f"dcgm:{url}/metrics") as sensor:
        (channel,) = sensor.channels
    assert (channel.name, channel.status) == ("127.0.0.1/dcgm", "unsupported")


@pytest.mark.parametrize(("status", "told"), [(401, "permission"), (403, "permission"), (404, "lost"), (500, "lost")])
def test_an_exporter_that_refuses_says_so(status: int, told: str) -> None:
    with answering(lambda *_: (status, "no")) as url, opened(f"dcgm:{url}/metrics") as sensor:
        assert sensor.channels[0].status == told


@pytest.mark.parametrize(("token", "sent"), [("abc123", "Bearer abc123"), ("me:pass", "Basic bWU6cGFzcw==")])
def test_a_token_is_sent_and_shown_nowhere(token: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_EXPORTER_TOKEN", token)
    heard: list[Any] = []
    dcgm = Dcgm([300.0])

    def answer(_path: str, headers: Any) -> tuple[int, str]:
        heard.append(headers.get("Authorization"))
        return 200, dcgm.text()

    with answering(answer) as url, opened(f"dcgm:{url}/metrics") as sensor:
        assert token not in repr([channel.as_dict() for channel in sensor.channels])
    assert set(heard) == {sent}


def test_a_text_is_read_whatever_stands_in_labels_and_lines_that_are_none_are_left_out() -> None:
    text = "\n".join([
        'a{x="1, 2 } \\" \\\\ \\n",y=""} 5', "b 7 1700000000000", "c{} 1e3", "d NaN", "e +Inf", 'f{x="1} 2', "g{x=1} 2",
        "# a 1", "", "h", 'i{x="1",} 2', "  ", "1bad 2", 'ü{x="1"} 2', "j{" + "x" * 9000 + "} 1",
    ])  # fmt: skip
    found = {series.name: (dict(series.labels), series.value) for series in series_of(text)}
    assert found == {
        "a": ({"x": '1, 2 } " \\ \n', "y": ""}, 5.0), "b": ({}, 7.0), "c": ({}, 1000.0), "i": ({"x": "1"}, 2.0)
    }  # fmt: skip


def test_a_pattern_of_labels_has_no_other_wildcards_than_those_of_a_shell() -> None:
    assert chosen({"pod": "vllm-0"}, {"pod": "vllm-?"})
    assert not chosen({"pod": "vllm.0"}, {"pod": "vllm-0"})
    assert not chosen({}, {"pod": "*"})


# --- Prometheus ------------------------------------------------------------------------------------------------------


@contextmanager
def asking(query: str, *series: tuple[dict[str, str], float]) -> Iterator[Sensor]:
    began = time.monotonic()

    def found(asked: str) -> list[tuple[dict[str, str], float]]:
        assert asked == query.partition("&")[0].replace("%26", "&")
        return [(labels, value + (time.monotonic() - began)) for labels, value in series]

    with answering(prometheus(found)) as url, opened(f"prometheus:{url}?query={query}") as sensor:
        yield sensor


GPU = {"__name__": "DCGM_FI_DEV_POWER_USAGE", "gpu": "3", "UUID": "GPU-0123456789", "Hostname": "node-7"}


def test_gpus_of_a_query_are_named_after_their_machine() -> None:
    with asking('DCGM_FI_DEV_POWER_USAGE{pod="a,b",namespace=~"x|y"}', (GPU, 300.0)) as sensor:
        (channel,) = sensor.channels
        assert first_reading(sensor, 0).value == pytest.approx(300.0, abs=60)
    assert (channel.name, channel.kind, channel.scope) == ("node-7/prometheus/gpu3", "power", "gpu")
    assert (channel.host, channel.here) == ("node-7", False)
    assert "GPU-0123456789" in channel.device


@pytest.mark.parametrize(
    ("query", "name", "kind", "factor"),
    [
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", 1e-3),
        ("kepler_node_cpu_joules_total", "kepler_node_cpu_joules_total", "counter", 1.0),
        ("rate(kepler_node_cpu_joules_total[1m])", "", "power", 1.0),
        ("sum(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]))", "", "power", 1e-3),
        ("node_hwmon_power_average_watt", "node_hwmon_power_average_watt", "power", 1.0),
        ("ipmi_power_watts + 0", "", "power", 1.0),
        ("whatever_it_is&unit=kWh", "whatever_it_is", "counter", 3.6e6),
        ("whatever_it_is&unit=mW&scope=wall", "whatever_it_is", "power", 1e-3),
    ],
)
def test_the_unit_is_told_by_the_name_or_by_the_user(query: str, name: str, kind: str, factor: float) -> None:
    labels = {"__name__": name} if name else {}
    with asking(query, (labels, 1000.0)) as sensor:
        (channel,) = sensor.channels
        assert first_reading(sensor, 0).value == pytest.approx(1000.0 * factor, rel=0.1)
    assert channel.kind == kind
    assert channel.scope == ("wall" if "scope=wall" in query else "system")


@pytest.mark.parametrize("query", ["some_metric", "increase(x_joules_total[1m])", "rate(x_watts[1m])"])
def test_a_query_that_may_be_anything_is_not_guessed(query: str) -> None:
    with asking(query, ({}, 1000.0)) as sensor:
        assert "&unit=" in (sensor.channels[0].reason or "")


def test_what_prometheus_says_against_a_query_is_told() -> None:
    def wrong(_query: str) -> list[Any]:
        raise ValueError("parse error: unexpected end of input")

    with answering(prometheus(wrong)) as url, opened(f"prometheus:{url}?query=sum(") as sensor:
        assert "parse error" in (sensor.channels[0].reason or "")


def test_a_query_that_finds_nothing_says_so() -> None:
    with asking("DCGM_FI_DEV_POWER_USAGE") as sensor:
        assert "nothing" in (sensor.channels[0].reason or "")


@pytest.mark.parametrize(
    "name", ["prometheus:http://h:9090", "prometheus:http://h?unit=W", "prometheus:http://h?query=x&unit=horses",
             "prometheus:http://h?query=x&scope=room", "dcgm:ftp://h", "dcgm:", "dcgm:http://a:b-secret@h/metrics"]
)  # fmt: skip
def test_an_address_that_says_too_little_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError) as told:
        find(name)
    assert "b-secret" not in str(told.value) + str(told.value.hint)


def test_the_same_gpu_read_here_and_by_an_exporter_counts_once() -> None:
    near = Channel(name="nvml/gpu0", kind="counter", scope="gpu", method="counter", device="A100 GPU-00000000-aaaa")
    with Dcgm([300.0]).up() as name, opened(name) as sensor:
        far = list(sensor.channels)
    far[0] = Channel(**{**far[0].as_dict(), "device": "NVIDIA GPU-00000000-aaaa"})
    assert choose_basis([near, *far]).channels == {"nvml/gpu0"}


def test_what_is_renewed_seldom_is_taken_for_as_old_as_is_usual_there() -> None:
    channel = Channel(name="far/gpu0", kind="power", scope="gpu", method="integrated_power", unit="W")
    for source, usual_s in (("the exporter", DCGM_S), ("Prometheus", PROMETHEUS_S)):
        found = renewed(channel, None, source, usual_s)
        assert found.update_period_s == usual_s
        assert found.note is not None
        assert f"{source} renews it more seldom" in found.note
        assert f"usually every {usual_s:g} s" in found.note
    assert renewed(channel, 1.0, "Prometheus", PROMETHEUS_S).update_period_s == 1.0
