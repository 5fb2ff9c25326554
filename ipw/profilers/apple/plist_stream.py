"""What `powermetrics` writes: property lists with a NUL before each, and Apple's changing names for the energies."""

from __future__ import annotations

import plistlib
import re
from math import inf
from typing import Any
from xml.parsers.expat import ExpatError

from ipw.energy.belief.limits import MARGIN, most_power_w
from ipw.profilers.base import Scope

SCOPES: dict[str, Scope] = {"package": "package", "soc": "soc", "cpu": "core", "gpu": "gpu", "ane": "ane"}
"""What each rail is."""

END = b"</plist>"
BEGIN = re.compile(rb"<\?xml|<plist")
MOST_BYTES = 1 << 24
"""Of one property list: that of a chip with 24 cores and all its states has 65 kB."""

MOST = 2.0**63
"""No counter, power or time in a sample has as many units."""


class SampleError(Exception):
    """What was written is no sample; the message says why."""


def split(stream: bytes) -> tuple[list[bytes], bytes]:
    """Cut a stream into its finished documents and the rest.

    Documents end at their closing tag: the NUL comes with the next one, and waiting for it would be an interval late.
    What stands before a document (a NUL, a warning) is no part of it. Raises SampleError for what never ends.
    """
    *documents, rest = stream.split(END)
    if len(rest) > MOST_BYTES:
        raise SampleError("a sample that does not end")
    found = []
    for document in documents:
        begin = BEGIN.search(document)
        found.append(document[begin.start() if begin else 0 :].lstrip(b"\0 \r\n") + END)
    return found, rest


def in_another_format(rest: bytes) -> str | None:
    """Say what was written instead of a property list: its first line. `None` where one may have begun, or nothing."""
    if BEGIN.search(rest):
        return None
    lines = [line.strip() for line in rest.strip(b"\0 \r\n").decode(errors="replace").splitlines() if line.strip()]
    return f"no property list but '{printable(lines[0], 80)}'" if lines else None


def sample(document: bytes) -> dict[str, Any]:
    """Read one document. Raises SampleError."""
    told = parsed(document)
    if not isinstance(told, dict):
        raise SampleError("a sample that is not a dictionary")
    return told


def parsed(document: bytes) -> Any:
    """Read a property list; bytes that are no UTF-8 cost the name that they stand in. Raises SampleError."""
    try:
        return plistlib.loads(document)
    except (ExpatError, plistlib.InvalidFileException, ValueError, TypeError, AttributeError, IndexError) as error:
        mended = document.decode(errors="replace").encode()
        if mended == document:
            raise SampleError(f"a sample that cannot be read: {error}") from None
        return parsed(mended)


def rails_j(told: dict[str, Any], *, longest_s: float = inf) -> dict[str, float]:
    """Read the joules of each rail over a sample's own interval, which is longer than the one asked for.

    Apple silicon: `soc` and, within it, those of `cpu`, `gpu`, `ane` that are told; Intel: `package`. The processor's
    own figure for the GPU is preferred to that of the GPU's section, which some Macs tell beside it and higher, and
    powers to energies, which are whole millijoules. Raises SampleError for a sample without an interval or an energy,
    longer than it can be, or with more than any chip draws.
    """
    elapsed_s = _number(told, "elapsed_ns", 1e-9)
    if not elapsed_s:
        raise SampleError("a sample that does not tell its interval (elapsed_ns)")
    if elapsed_s > longest_s:
        raise SampleError("a sample that is longer than the time since the one before")
    rails = _rails_j(told, elapsed_s)
    for rail, energy_j in rails.items():
        power_w = energy_j / elapsed_s
        if power_w > MARGIN * most_power_w(SCOPES[rail]):
            raise SampleError(f"a sample that tells {power_w:,.0f} W for the {rail}, which no chip draws")
    return rails


def _rails_j(told: dict[str, Any], elapsed_s: float) -> dict[str, float]:
    processor, gpu = (x if isinstance(x := told.get(name), dict) else {} for name in ("processor", "gpu"))
    rails = {rail: _energy(processor, f"{rail}_power", f"{rail}_energy", elapsed_s) for rail in ("cpu", "gpu", "ane")}
    if rails["gpu"] is None:
        rails["gpu"] = _number(gpu, "gpu_energy", 1e-3)
    parts = {rail: energy for rail, energy in rails.items() if energy is not None}
    whole = _energy(processor, "combined_power", "package_energy", elapsed_s)
    if whole is not None:
        return {"soc": max(whole, sum(parts.values())), **parts}
    if {"cpu", "gpu"} <= parts.keys():
        return {"soc": sum(parts.values()), **parts}
    package = _energy(processor, "package_watts", "package_joules", elapsed_s, unit=1.0)
    if package is not None:
        return {"package": package}
    if parts:
        raise SampleError(f"a sample that tells {' and '.join(parts)} only, and no power of the whole chip")
    raise SampleError("a sample without any energy that we know")


def printable(text: str, most: int) -> str:
    """Make one line, that a terminal cannot take for a command, of what a program wrote."""
    line = "".join(c if c.isprintable() else " " for c in text).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _energy(values: dict[str, Any], power: str, energy: str, elapsed_s: float, unit: float = 1e-3) -> float | None:
    watts = _number(values, power, unit)
    return _number(values, energy, unit) if watts is None else watts * elapsed_s


def _number(values: dict[str, Any], name: str, unit: float) -> float | None:
    """Read a number that may be written as an integer or a real; anything else is no number."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
        return None
    return value * unit
