from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles import ioreport, modules
from doubles.patience import undisturbed
from doubles.reading import named, opened, read
from hypothesis import given
from hypothesis import strategies as st

from ipw.clock import now_ns
from ipw.energy.curve import Curve, counter_curve, coverage, energy_between
from ipw.profilers import publications
from ipw.profilers.apple import ioreport as apple_ioreport
from ipw.profilers.apple.ioreport import Looks, open_sensor
from ipw.profilers.base import Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, find
from ipw.profilers.sampler.handle import Sampler
from ipw.runs.curves import channel_curve
from ipw.runs.directory import RunDir

RECORDINGS = Path(__file__).parents[1] / "recordings"
MACS = {
    "m1-ultra": {"cpu": 8.3, "gpu": 9.65, "ane": 0.24, "dram": 3.0, "soc": 21.19},
    "m5-max": {"cpu": 13.95, "gpu": 31.0, "ane": 0.65, "dram": 4.2, "soc": 49.8},
    "plain": {"cpu": 2.0, "gpu": 5.0, "ane": 0.5, "dram": 0.3, "soc": 7.8},
}
"""Watts by rail, as the tables say."""
LOOK_S = 0.0035


class Mac:
    """A Mac on a clock that only looks and waits move, so that a minute of it takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 10**12
        monkeypatch.setattr(apple_ioreport, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(publications, "now_ns", lambda: self.now_ns)
        monkeypatch.setattr(apple_ioreport, "sleep", self.sleep)
        monkeypatch.setitem(sys.modules, "zeus_apple_silicon", ioreport)
        self._patch = monkeypatch

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def be(self, name: str) -> ioreport.Chip:
        """Be such a Mac, up for about a quarter of an hour."""
        table = ioreport.PLAIN if name == "plain" else (RECORDINGS / f"ioreport-{name}.tsv").read_text("utf-8")
        chip = ioreport.Chip(table)
        chip.clock = lambda: self.now_ns / 1e9  # type: ignore[method-assign]
        chip.spend = lambda: self.sleep(LOOK_S / 2)  # type: ignore[method-assign]
        chip.start_s = chip.clock() - 901.3
        self._patch.setattr(ioreport, "CHIP", chip)
        return chip

    def poll(self, sensor: Sensor, rail: str, seconds: float, every_s: float = 0.1) -> list[Reading | SensorError]:
        """Read a rail for so long, as the sampler does."""
        told: list[Reading | SensorError] = []
        until = self.now_ns + round(seconds * 1e9)
        while self.now_ns < until:
            try:
                reading = read(sensor, f"ioreport/{rail}")
            except SensorError as error:
                told.append(error)
            else:
                told += [reading] if reading else []
            self.sleep(every_s)
        return told


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(monkeypatch)


def good(told: list[Reading | SensorError]) -> list[Reading]:
    assert not [each for each in told if isinstance(each, SensorError)]
    return [each for each in told if isinstance(each, Reading)]


def curve_of(readings: list[Reading]) -> Curve:
    t, value, half = zip(*readings, strict=True)
    return counter_curve(t, value, [0] * len(t), half, ticks=False, resolution_j=4e-3, update_period_s=3.0)


@pytest.mark.parametrize("name", MACS)
def test_the_soc_is_the_sum_of_the_rails_whatever_their_units_names_and_dies(mac: Mac, name: str) -> None:
    mac.be(name)
    with opened(open_sensor()) as sensor:
        assert [channel.name for channel in sensor.channels] == [
            f"ioreport/{rail}" for rail in ("soc", "cpu", "gpu", "ane", "dram")
        ]
        assert choose_basis(sensor.channels) == ("soc", frozenset({"ioreport/soc"}), None)
        for rail, watts in MACS[name].items():
            readings = good(mac.poll(sensor, rail, 30))
            span_s = (readings[-1].t_ns - readings[0].t_ns) / 1e9
            assert span_s > 25
            assert (readings[-1].value - readings[0].value) / span_s == pytest.approx(watts, rel=0.01)


@pytest.mark.parametrize("name", MACS)
def test_each_reading_was_true_at_a_moment_within_its_bounds(mac: Mac, name: str) -> None:
    chip = mac.be(name)
    with opened(open_sensor()) as sensor:
        for rail, watts in MACS[name].items():
            for t_ns, value, half in good(mac.poll(sensor, rail, 20)):
                true_s = value / watts
                low, high = ((t_ns + sign * half) / 1e9 - chip.start_s for sign in (-1, 1))
                assert low - 0.012 < true_s < high + 0.012, rail


@pytest.mark.parametrize("name", MACS)
def test_joules_of_a_load_within_the_run_are_within_their_interval(mac: Mac, name: str) -> None:
    chip = mac.be(name)
    with opened(open_sensor()) as sensor:
        load = (mac.now_ns + 15_000_000_000, mac.now_ns + 27_000_000_000)
        begun, ended = (t / 1e9 - chip.start_s for t in load)
        chip.work_s = lambda seconds: seconds + 3 * min(max(seconds - begun, 0), ended - begun)  # type: ignore[method-assign]
        curve = curve_of(good(mac.poll(sensor, "soc", 45)))
    watts = MACS[name]["soc"]
    for (start, end), true_j in {
        load: 4 * watts * 12,
        (load[0] - 10_000_000_000, load[0]): watts * 10,
        (load[0] - 10_000_000_000, load[1] + 10_000_000_000): watts * (4 * 12 + 20),
    }.items():
        joules, low, high = (float(x[0]) for x in energy_between(curve, start, end))
        assert low <= true_j <= high
        assert high - low < 0.5 * joules


def test_rails_in_batches_are_read_once_a_batch_and_not_in_between(mac: Mac) -> None:
    mac.be("m5-max")
    with opened(open_sensor()) as sensor:
        assert "batches" in (named(sensor, "ioreport/soc").note or "")
        assert named(sensor, "ioreport/soc").update_period_s == 3.0
        cpu = good(mac.poll(sensor, "cpu", 60))
        gpu = good(mac.poll(sensor, "gpu", 60))
    assert 26 <= len(cpu) <= 58  # 28 batches, some with their tails apart
    assert len(gpu) > 500  # it is renewed as it is read


def test_the_opening_waits_for_the_first_batch_and_no_longer(mac: Mac) -> None:
    for name, most_s in (("m5-max", 2.3), ("m1-ultra", 1.9), ("plain", 0.4)):
        mac.be(name)
        before_ns = mac.now_ns
        with opened(open_sensor()) as sensor:
            assert (mac.now_ns - before_ns) / 1e9 < most_s
            assert read(sensor, "ioreport/soc") is not None


def test_a_cpu_that_is_frozen_from_the_start_is_out_and_so_is_the_sum(mac: Mac) -> None:
    chip = mac.be("m5-max")
    chip.stopped_s = {name: 100.0 for name, unit, _ in chip.channels if unit == "mJ"}
    with opened(open_sensor()) as sensor:
        for rail in ("cpu", "soc", "dram"):
            told = named(sensor, f"ioreport/{rail}")
            assert told.status == "unsupported"
            assert "stands still" in (told.reason or "")
        assert "powermetrics" in (named(sensor, "ioreport/soc").hint or "")
        assert choose_basis(sensor.channels) == ("gpu", frozenset({"ioreport/gpu"}), None)
        readings = good(mac.poll(sensor, "gpu", 10))
        assert (readings[-1].value - readings[0].value) / (readings[-1].t_ns - readings[0].t_ns) == pytest.approx(
            31e-9, rel=0.02
        )


@pytest.mark.parametrize("rail", ["cpu", "dram"])
@pytest.mark.parametrize("name", MACS)
def test_a_rail_that_freezes_during_the_run_is_lost_and_with_it_the_sum(mac: Mac, name: str, rail: str) -> None:
    chip = mac.be(name)
    with opened(open_sensor()) as sensor:
        good(mac.poll(sensor, "soc", 5))
        kinds = {"cpu": "CPU Energy", "dram": "DRAM"}
        now_s = chip.clock() - chip.start_s
        chip.stopped_s = {channel: now_s for channel, *_ in chip.channels if kinds[rail] in channel}
        told = mac.poll(sensor, "soc", 15)
        assert isinstance(told[-1], SensorError)
        assert f"rail {rail} stands still" in told[-1].reason
        assert isinstance(mac.poll(sensor, rail, 0.1)[0], SensorError)
        good(mac.poll(sensor, "gpu", 3))
        chip.stopped_s = {}
        assert isinstance(mac.poll(sensor, "soc", 6)[-1], Reading)


def test_a_gpu_and_a_neural_engine_may_rest_for_as_long_as_they_like(mac: Mac) -> None:
    chip = mac.be("m1-ultra")
    chip.stopped_s = {name: 0.0 for name, *_ in chip.channels if "GPU" in name or "ANE" in name}
    with opened(open_sensor()) as sensor:
        for rail, watts in (("soc", 11.3), ("gpu", 0.0), ("ane", 0.0)):
            readings = good(mac.poll(sensor, rail, 30))
            assert readings[-1].t_ns - readings[0].t_ns > 25e9
            assert readings[-1].value - readings[0].value == pytest.approx(
                watts * (readings[-1].t_ns - readings[0].t_ns) / 1e9, rel=0.02
            )


@pytest.mark.parametrize(
    ("gone", "channels", "reason"),
    [
        ({"dram_mj"}, {"soc", "cpu", "gpu", "ane"}, None),
        ({"dram_mj", "ane_mj"}, {"soc", "cpu", "gpu"}, None),
        ({"gpu_mj"}, {"cpu", "ane", "dram"}, "does not tell gpu"),
        ({"cpu_total_mj"}, {"gpu", "ane", "dram"}, "does not tell cpu"),
        ({"cpu_total_mj", "gpu_mj", "ane_mj", "dram_mj"}, set(), "tells no energy"),
    ],
)
def test_a_sum_without_the_cpu_or_the_gpu_is_none(mac: Mac, gone: set[str], channels: set[str], reason: str) -> None:
    mac.be("plain").gone = gone
    with opened(open_sensor()) as sensor:
        assert {c.name.partition("/")[2] for c in sensor.channels if c.status == "ok"} == channels
        assert (choose_basis(sensor.channels).name == "soc") == (reason is None)
        assert reason is None or reason in (sensor.channels[0].reason or "")


def test_a_rail_that_is_no_longer_told_is_lost_and_not_0_and_the_others_go_on(mac: Mac) -> None:
    chip = mac.be("plain")
    with opened(open_sensor()) as sensor:
        chip.gone = {"ane_mj"}
        for rail in ("soc", "ane"):
            told = mac.poll(sensor, rail, 0.2)[-1]
            assert isinstance(told, SensorError)
            assert told.reason == "IOReport no longer tells the rail ane"
        assert good(mac.poll(sensor, "cpu", 1))


def test_a_look_that_raises_costs_that_look(mac: Mac) -> None:
    chip = mac.be("plain")
    with opened(open_sensor()) as sensor:
        chip.error = "IOReportCreateSamples failed"
        told = mac.poll(sensor, "soc", 0.2)[-1]
        assert isinstance(told, SensorError)
        assert told.reason == "IOReport: IOReportCreateSamples failed"
        chip.error = None
        assert good(mac.poll(sensor, "soc", 1))


def test_a_unit_that_the_binding_does_not_know_is_told_in_its_words(mac: Mac) -> None:
    mac.be("plain").channels.append(("GPU Energy", "?", 5.0))
    told = open_sensor().channels[0]
    assert (told.name, told.status) == ("ioreport", "unsupported")
    assert "Unsupported or invalid energy unit provided: ?" in (told.reason or "")
    assert "zeus-apple-silicon" in (told.hint or "")


@pytest.mark.parametrize(
    ("text", "status"),
    [("raise RuntimeError('dlopen failed')", "unsupported"), ("class AppleEnergyMonitor: pass", "unsupported")],
)
def test_a_binding_that_breaks_in_any_other_way_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, status: str
) -> None:
    (tmp_path / "zeus_apple_silicon.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    (sensor,) = find("ioreport")
    assert sensor.channels[0].status == status
    assert sensor.channels[0].reason


@pytest.mark.parametrize("strange", [[5], "5", True, -1, float("nan")])
def test_what_is_no_energy_is_no_rail(mac: Mac, monkeypatch: pytest.MonkeyPatch, strange: Any) -> None:
    mac.be("plain")
    answer = ioreport.CHIP.millijoules
    monkeypatch.setattr(ioreport.CHIP, "millijoules", lambda: answer() | {"ane_mj": strange})
    assert Looks(ioreport.AppleEnergyMonitor()).rails == ["cpu", "gpu", "dram"]


def test_five_channels_share_one_look(mac: Mac) -> None:
    mac.be("m5-max")
    with opened(open_sensor()) as sensor:
        before_ns = mac.now_ns
        for index in range(5):
            sensor.read(index)
        assert (mac.now_ns - before_ns) / 1e9 < 1.5 * LOOK_S


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[float], float, list[float]]:
    """Moments of publication, the tail after each, and the waits between reads."""
    gaps = draw(st.lists(st.floats(0.3, 2.3), min_size=8, max_size=12))
    waits = draw(st.lists(st.floats(0.01, 0.35), min_size=40, max_size=120))
    return np.cumsum(gaps).tolist(), draw(st.floats(0.009, 0.029)), waits


@given(schedules())
def test_whenever_it_is_published_and_read_a_value_is_placed_where_it_was_true(
    schedule: tuple[list[float], float, list[float]],
) -> None:
    batches, tail, waits = schedule
    moments = np.sort(np.concatenate([[-1.0], batches, np.array(batches) + tail]))
    seen = publications.Publications()
    now_s, told_s = 0.0, -1.0
    for wait in waits:
        now_s += wait
        value = float(moments[np.searchsorted(moments, now_s, "right") - 1])  # it tells when it was published
        moment = seen.see(round(now_s * 1e9), 0, value)
        if moment:
            at_s, half_s = moment[0] / 1e9, moment[1] / 1e9
            assert at_s - half_s - 1e-6 <= value <= at_s + half_s + 1e-6
            assert at_s > told_s
            told_s = at_s


def test_a_run_on_a_mac_with_batches_is_covered_to_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time, through the sampler, which waits at either end for a batch: hence its two seconds."""
    told = '# {"unit": "mJ", "at_s": [0.0], "every_s": 0.6, "tail_s": 0.02}\n'
    (tmp_path / "table.tsv").write_text(told + ioreport.PLAIN)
    monkeypatch.setenv("IPW_FAKE_IOREPORT", str(tmp_path / "table.tsv"))
    monkeypatch.setenv("PYTHONPATH", str(modules.write(tmp_path / "modules", "zeus_apple_silicon")))

    def covered() -> None:
        run = RunDir.create(tmp_path, "mac")
        sampler = Sampler.start(run.path, "ioreport")
        start_ns = now_ns()
        time.sleep(0.3)
        end_ns = now_ns()
        stats = sampler.stop()
        assert stats["failures"] == []
        soc = next(channel for channel in sampler.channels if channel["name"] == "ioreport/soc")
        curve = channel_curve(run.readings(), soc)
        assert coverage(curve, start_ns, end_ns)[0] == 1.0
        joules, low, high = (float(x[0]) for x in energy_between(curve, start_ns, end_ns))
        true_j = 7.8 * (end_ns - start_ns) / 1e9
        assert low <= true_j <= high
        assert joules == pytest.approx(true_j, rel=0.5)

    undisturbed(covered)
