"""Numbers of power meters in sysfs, read so that a failure says what it was."""

from __future__ import annotations

from pathlib import Path

from ipw.profilers.base import SensorError


def micro(path: Path) -> float:
    """Read millionths: watts or joules. Raises SensorError."""
    return number(path) * 1e-6


def volts_times_amperes(volts: Path, amperes: Path) -> float:
    """Read millivolts and milliamperes: watts. Raises SensorError."""
    return number(volts) * number(amperes) * 1e-6


def number(path: Path) -> float:
    """Read a number. Raises SensorError."""
    try:
        return float(path.read_bytes())
    except PermissionError as error:
        raise SensorError("permission", f"{path.name} may be read by root only") from error
    except (OSError, ValueError) as error:
        raise SensorError("lost", f"{path.name}: {error}") from error
