from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doubles.patience import undisturbed, wait_for
from doubles.powermetrics import install
from doubles.reading import failure, named, opened, reading, value

from ipw.energy.curve import counter_curve
from ipw.profilers import publications
from ipw.profilers.apple import plist_stream, powermetrics
from ipw.profilers.base import Reading, Sensor, SensorError
from ipw.profilers.discovery import choose_basis, find

Mac = Callable[..., Sensor]


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """Open powermetrics on a Mac that behaves so."""

    def be(**behaviour: Any) -> Sensor:
        programs = install(tmp_path / "bin", **({"interval_s": 0.02} | behaviour))
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        (sensor,) = find("powermetrics")
        return sensor

    return be


def test_apple_silicon_has_a_soc_that_contains_its_rails(mac: Mac) -> None:
    with opened(mac()) as sensor:
        scopes = {channel.name: (channel.scope, channel.included_in) for channel in sensor.channels}
        assert scopes == {
            "powermetrics/soc": ("soc", None),
            "powermetrics/cpu": ("core", "powermetrics/soc"),
            "powermetrics/gpu": ("gpu", "powermetrics/soc"),
            "powermetrics/ane": ("ane", "powermetrics/soc"),
        }
        assert choose_basis(sensor.channels) == ("soc", frozenset({"powermetrics/soc"}), None)
        soc = named(sensor, "powermetrics/soc")
        assert soc.device == "Mac14,12"
        assert soc.note
        assert "not for comparing devices" in soc.note


def test_energy_is_power_times_the_samples_own_interval_from_the_first_sample_on(mac: Mac) -> None:
    def told() -> None:
        with opened(mac()) as sensor:
            first = reading(sensor, "powermetrics/gpu")
            assert first.value == 0.0
            later = [reading(sensor, "powermetrics/gpu") for _ in range(5)][-1]
        assert later.value / ((later.t_ns - first.t_ns) / 1e9) == pytest.approx(5.0, rel=0.25)

    undisturbed(told)


def test_every_sample_is_given_once_and_between_samples_there_is_nothing(mac: Mac) -> None:
    def told() -> None:
        with opened(mac(interval_s=0.2)) as sensor:
            index = [channel.name for channel in sensor.channels].index("powermetrics/cpu")
            first, second = sensor.read(index), sensor.read(index)
            assert first is not None
            assert second is not None
            assert second.t_ns > first.t_ns
            assert sensor.read(index) is None

    undisturbed(told)


def test_an_intel_mac_is_its_package(mac: Mac) -> None:
    with opened(mac(shape="intel")) as sensor:
        assert choose_basis(sensor.channels) == ("package", frozenset({"powermetrics/package"}), None)


def test_macos_12_has_the_same_channels(mac: Mac) -> None:
    with opened(mac(shape="monterey")) as sensor:
        assert {channel.name.partition("/")[2] for channel in sensor.channels} == {"soc", "cpu", "gpu", "ane"}


def test_a_macos_that_does_not_know_a_sampler_is_asked_without_it(mac: Mac) -> None:
    with opened(mac(unknown_sampler=["ane_power"])) as sensor:
        value(sensor, "powermetrics/soc")


def test_a_macos_that_knows_no_sampler_that_we_know_is_told_in_its_own_words(mac: Mac) -> None:
    told = named(mac(unknown_sampler=["cpu_power", "ane_power"]), "powermetrics")
    assert told.reason is not None
    assert "unrecognized sampler: cpu_power" in told.reason


def test_without_root_sudo_is_told_not_to_ask_and_the_sudoers_line_is_the_hint(
    mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with opened(mac(sudo="password")) as sensor:
        told = named(sensor, "powermetrics")
        assert told.status == "permission"
        assert told.reason
        assert "a password is required" in told.reason
        assert told.hint
        assert "NOPASSWD: /usr/bin/powermetrics" in told.hint


def test_without_root_a_sudo_that_is_free_of_passwords_serves(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with opened(mac(sudo="free")) as sensor:
        value(sensor, "powermetrics/soc")


def test_a_powermetrics_that_dies_is_lost_after_its_last_sample_was_given(mac: Mac) -> None:
    with opened(mac(dies_after=3)) as sensor:
        assert [reading(sensor, "powermetrics/soc").value > 0 for _ in range(3)] == [False, True, True]
        told = failure(sensor, "powermetrics/soc")
        assert (told.status, told.reason) == (
            "lost",
            "powermetrics has ended (code 1): powermetrics: something went wrong",
        )


def test_a_truncated_sample_is_not_counted(mac: Mac) -> None:
    with opened(mac(truncates_after=2)) as sensor:
        for _ in range(2):
            reading(sensor, "powermetrics/soc")
        assert failure(sensor, "powermetrics/soc").status == "lost"


def test_a_powermetrics_that_falls_silent_is_lost(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(mac(stalls_after=2)) as sensor:
        for _ in range(2):
            reading(sensor, "powermetrics/soc")
        monkeypatch.setattr(powermetrics, "SILENT_AFTER_NS", 50_000_000)
        assert failure(sensor, "powermetrics/soc").reason == "powermetrics has fallen silent"


@pytest.mark.parametrize("garbles", [1, 2, 3])
def test_one_garbled_sample_is_made_good_by_those_beside_it_and_more_are_a_gap(mac: Mac, garbles: int) -> None:
    def played() -> None:
        readings: list[Reading] = []
        told = []
        with opened(mac(garbles_after=3, garbles=garbles)) as sensor:
            while len(readings) < 6:
                try:
                    readings.append(reading(sensor, "powermetrics/soc"))
                except SensorError as error:
                    told.append(error)
        assert [error.status for error in told] == ["lost"] * garbles
        assert "cannot be read" in told[0].reason
        t, energy, half = zip(*readings, strict=True)
        curve = counter_curve(t, energy, [0] * 6, half, ticks=False)
        if garbles > 1:
            assert curve.gap_reasons == ("reset",)
            assert curve.gaps_ns.tolist() == [[t[2], t[3]]]
        else:
            assert curve.gap_reasons == ()
            assert energy[-1] / ((t[-1] - t[0]) / 1e9) == pytest.approx(7.5, rel=0.25)

    undisturbed(played)


def test_a_rail_that_is_told_late_changes_nothing(mac: Mac) -> None:
    with opened(mac(late_rails=["ane"])) as sensor:
        names = [channel.name for channel in sensor.channels]
        assert names == ["powermetrics/soc", "powermetrics/cpu", "powermetrics/gpu"]
        seen = [reading(sensor, "powermetrics/soc") for _ in range(8)]
    assert all(after.value > before.value for before, after in pairwise(seen))


def test_a_powermetrics_that_says_nothing_is_told_and_ended(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powermetrics, "FIRST_WITHIN_S", 0.05)
    with opened(mac(stalls_after=0, interval_s=0.0)) as sensor:
        told = named(sensor, "powermetrics")
        assert told.status == "unsupported"
        assert told.reason
        assert "wrote no sample within" in told.reason


PLIST = '<?xml version="1.0" encoding="UTF-8"?><plist version="1.0">'


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"instead": f"{PLIST}<dict><key>elapsed_ns</key><integer>2x</integer></dict></plist>"}, "cannot be read: inv"),
        ({"instead": f"{PLIST}<dict><key>a</dict></plist>"}, "cannot be read: mismatched tag"),
        ({"instead": f"{PLIST}<array/></plist>"}, "not a dictionary"),
        ({"instead": f"{PLIST}<dict><key>elapsed_ns</key><integer>2</integer></dict></plist>"}, "without any energy"),
        ({"instead": f"{PLIST}<dict/></plist>"}, "does not tell its interval"),
        ({"shape": "cpu"}, "tells cpu only"),
        ({"truncates_after": 0}, "cut off"),
        ({"dies_after": 0}, "has ended (code 1): powermetrics: something went wrong"),
        ({"instead": "*** Sampled system activity (Thu Nov 26 2026) ***\nCPU Power: 12 mW\n"}, "'*** Sampled system"),
        ({"instead": "\x1b[2J\x1b]0;title\x07 hello\n"}, "'[2J ]0;title  hello'"),
    ],
    ids=lambda x: str(x)[:30] if isinstance(x, str) else next(iter(x)),
)
def test_why_it_tells_nothing_reaches_the_user_at_once_in_its_own_words(
    mac: Mac, behaviour: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_another_format = reason.startswith("'")
    monkeypatch.setattr(powermetrics, "ANOTHER_FORMAT_NS", 100_000_000 if in_another_format else 60_000_000_000)
    monkeypatch.setattr(powermetrics, "FIRST_WITHIN_S", 200.0)
    started = time.monotonic()
    told = named(mac(**behaviour), "powermetrics")
    assert time.monotonic() - started < 150
    assert told.status == "unsupported"
    assert told.reason is not None
    assert reason in told.reason
    assert told.reason.isprintable()


@pytest.mark.parametrize(
    "says", ["powermetrics must be invoked as the superuser", "sudo: a password is required", "Operation not permitted"]
)
def test_that_it_needs_root_is_told_with_the_line_for_sudoers(mac: Mac, says: str) -> None:
    told = named(mac(complains=f"{says}\n", dies_after=0), "powermetrics")
    assert told.status == "permission"
    assert says in (told.reason or "")
    assert "NOPASSWD" in (told.hint or "")


def test_a_name_that_is_no_utf_8_costs_the_name_and_no_joule(mac: Mac) -> None:
    with opened(mac(replaces=[("<string>Mac14,12", "<string>Mac\xff14,12")])) as sensor:
        assert named(sensor, "powermetrics/soc").device == "Mac\N{REPLACEMENT CHARACTER}14,12"
        reading(sensor, "powermetrics/soc")
        assert reading(sensor, "powermetrics/soc").value > 0


def test_a_warning_before_a_sample_is_no_part_of_it(mac: Mac) -> None:
    with opened(mac(before="Second underflow occured.\n")) as sensor:
        reading(sensor, "powermetrics/soc")
        assert reading(sensor, "powermetrics/soc").value > 0


def test_a_sample_that_never_ends_is_told(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plist_stream, "MOST_BYTES", 100_000)
    told = named(mac(instead=f"{PLIST}<dict>{'<key>a</key>' * 1000}", interval_s=0.001), "powermetrics")
    assert "does not end" in (told.reason or "")


def test_a_mac_that_tells_its_combined_power_alone_has_a_soc(mac: Mac) -> None:
    def told() -> None:
        with opened(mac(shape="combined")) as sensor:
            assert [channel.name for channel in sensor.channels] == ["powermetrics/soc"]
            first = reading(sensor, "powermetrics/soc")
            last = [reading(sensor, "powermetrics/soc") for _ in range(5)][-1]
        assert last.value / ((last.t_ns - first.t_ns) / 1e9) == pytest.approx(7.5, rel=0.25)

    undisturbed(told)


def test_a_cpu_that_is_renewed_in_batches_is_read_at_the_batches_only(mac: Mac) -> None:
    def told() -> None:
        with opened(mac(batches=5, interval_s=0.03)) as sensor:
            told = [reading(sensor, "powermetrics/soc") for _ in range(6)]
        steps_s = [(b.t_ns - a.t_ns) / 1e9 for a, b in pairwise(told)]
        assert min(steps_s[1:]) > 3 * 0.03
        assert (told[-1].value - told[1].value) / sum(steps_s[1:]) == pytest.approx(7.5, rel=0.3)
        assert all(each.uncertainty_ns >= 10_000_000 for each in told[1:])

    undisturbed(told)


def test_a_cpu_that_draws_nothing_is_frozen_and_so_is_the_whole_while_the_gpu_is_told(
    mac: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publications, "LONGEST_PERIOD_S", 0.2)

    def told() -> None:
        with opened(mac(batches=0)) as sensor:
            for rail in ("cpu", "soc"):
                told = named(sensor, f"powermetrics/{rail}")
                assert told.status == "unsupported"
                assert "tells 0 mW for the cpu" in (told.reason or "")
            reading(sensor, "powermetrics/gpu")
            assert reading(sensor, "powermetrics/gpu").value > 0
            assert choose_basis(sensor.channels).name == "gpu"

    undisturbed(told)


def test_closing_ends_the_program(mac: Mac) -> None:
    sensor = mac()
    assert isinstance(sensor, powermetrics.PowerMetrics)
    sensor.close()
    wait_for(lambda: sensor._process.poll() is not None)
