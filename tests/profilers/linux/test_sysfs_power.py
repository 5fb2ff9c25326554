"""Numbers of power meters in sysfs: units, limits, and what stands for no value."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipw.profilers.base import SensorError
from ipw.profilers.linux.sysfs_power import limit_w, micro, number, volts_times_amperes


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_watts_are_millionths_or_thousandths_times_thousandths(tmp_path: Path) -> None:
    assert micro(write(tmp_path, "power1_average", "4500000\n")) == pytest.approx(4.5)
    volts, amperes = write(tmp_path, "in1_input", "5000\n"), write(tmp_path, "curr1_input", "-1500")
    assert volts_times_amperes(volts, amperes) == pytest.approx(-7.5)


@pytest.mark.parametrize("code", [2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_register_with_all_bits_set_stands_for_no_value(tmp_path: Path, code: int) -> None:
    volts, amperes = write(tmp_path, "in1_input", "5000"), write(tmp_path, "curr1_input", str(code))
    for pair in ((volts, amperes), (amperes, volts)):
        with pytest.raises(SensorError, match=r"curr1_input: \d+ stands for no value") as told:
            volts_times_amperes(*pair)
        assert told.value.status == "lost"
    near = write(tmp_path, "curr1_input", str(code - 2 if code < 2**53 else code // 2**12))
    assert volts_times_amperes(volts, near) > 0


def test_a_limit_is_twice_the_highest_that_is_told(tmp_path: Path) -> None:
    write(tmp_path, "power1_max", "250000000")
    write(tmp_path, "power1_cap", "300000000")
    assert limit_w(tmp_path, "power1_max", "power1_cap") == pytest.approx(600)
    assert limit_w(tmp_path, "power1_max", "absent") == pytest.approx(500)
    assert limit_w(tmp_path, "absent") is None


def test_a_number_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="energy1_input: ") as told:
        number(write(tmp_path, "energy1_input", b"\xff\n"))
    assert told.value.status == "lost"
    with pytest.raises(SensorError, match="absent: "):
        number(tmp_path / "absent")
