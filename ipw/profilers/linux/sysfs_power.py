"""Numbers of power meters in sysfs, read so that a failure says what it was."""

from __future__ import annotations

from pathlib import Path

from ipw.profilers.base import SensorError
from ipw.sysfs import read_number

NO_VALUE = {2.0**16 - 1, 2.0**31 - 1, 2.0**31, 2.0**32 - 1, 2.0**63, 2.0**64}
"""All bits of a register, or all but the sign's; of 64 bits one less is the same number here."""


def micro(path: Path) -> float:
    """Read millionths: watts or joules. Raises SensorError."""
    return number(path) * 1e-6


def volts_times_amperes(volts: Path, amperes: Path) -> float:
    """Read millivolts and milliamperes: watts. Raises SensorError, also for codes that stand for no value."""
    return _real(volts) * _real(amperes) * 1e-6


def limit_w(folder: Path, *names: str) -> float | None:
    """Read files of limits in millionths of a watt: twice the highest, as devices exceed theirs for moments."""
    limits = [limit for name in names if (limit := read_number(folder / name)) is not None]
    return 2e-6 * max(limits) if limits else None


def _real(path: Path) -> float:
    """Read thousandths of a volt or an ampere; a register with all bits set, or all but the sign's, is no value."""
    value = number(path)
    if value in NO_VALUE:
        raise SensorError("lost", f"{path.name}: {value:.0f} stands for no value")
    return value


def number(path: Path) -> float:
    """Read a number. Raises SensorError."""
    try:
        return float(path.read_bytes())
    except PermissionError as error:
        raise SensorError("permission", f"{path.name} may be read by root only") from error
    except (OSError, ValueError) as error:
        raise SensorError("lost", f"{path.name}: {error}") from error
