"""The zones of Linux's powercap tree: which there are, and what each of them measures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ipw.profilers.base import Scope
from ipw.sysfs import listed, read_text

ZONE = re.compile(r"intel-rapl(?P<mmio>-mmio)?:(?P<number>[0-9a-f]+)(?::(?P<part>[0-9a-f]+))?")
"""The kernel numbers zones in hexadecimal: `intel-rapl:a` is the eleventh. AMD's zones are called so too."""
PACKAGE = re.compile(r"package(?:-(?P<of>\S+))?")
"""`package-0`, `package-1-die-0`, and without a number where there is but one."""
PARTS: dict[str, Scope] = {"core": "core", "uncore": "uncore", "dram": "dram", "psys": "system"}


class Zone(NamedTuple):
    """One counter of the tree."""

    path: Path
    channel: str
    """`rapl/package-0`, `rapl/dram-0`, `rapl/core-1-die-1`: the same for the same thing however it is reached."""
    scope: Scope
    parent: str | None
    """The name of the package's zone, of a part of it."""
    mmio: bool
    """Whether it is read through memory: then it may be there through a register of the CPU too."""


def zones(root: Path) -> Iterator[Zone]:
    """Walk a powercap tree, flat or nested, each zone once; those read through MSRs before their MMIO duplicates.

    Links that lead nowhere, as some containers have them, are no zones.
    """
    paths = _paths(root)
    names = {zone: read_text(path / "name") for zone, path in paths.items()}
    for zone in sorted(paths, key=_order):
        parent, name = zone.rpartition(":")[0], names[zone]
        package = PACKAGE.fullmatch(names.get(parent, ""))
        own = PACKAGE.fullmatch(name)
        mmio = "-mmio" in zone
        if own:
            yield Zone(paths[zone], f"rapl/{name}", "package", None, mmio)
        elif name in PARTS and package:
            of = f"-{package['of']}" if package["of"] else ""
            yield Zone(paths[zone], f"rapl/{name}{of}", PARTS[name], parent, mmio)
        elif name in PARTS:
            yield Zone(paths[zone], f"rapl/{name}", PARTS[name], None, mmio)


def leads_nowhere(root: Path) -> bool:
    """Whether the tree has zones that are links to nothing."""
    return any(ZONE.fullmatch(path.name) and path.is_symlink() and not path.is_dir() for path in listed(root))


def _paths(root: Path) -> dict[str, Path]:
    found = (path for pattern in ("*/*/*", "*/*", "*") for path in listed(root, pattern))
    return {path.name: path for path in found if ZONE.fullmatch(path.name) and path.is_dir()}


def _order(zone: str) -> tuple[bool, int, int]:
    found = ZONE.fullmatch(zone)
    assert found
    return bool(found["mmio"]), int(found["number"], 16), int(found["part"] or "0", 16) + bool(found["part"])
