"""A package that adds a sensor by entry point, as an outsider would: for what no stand-in of hardware can be."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

PRELUDE = """
import os, sys, time
from ipw.profilers.base import Channel, Reading, SensorError, timed


class Made:
    def __init__(self, channels, read):
        self.channels, self.read = channels, read

    def close(self):
        pass


def channel(name="made-up/one", kind="counter", **changes):
    given = {"scope": "gpu", "method": "counter", "poll_s": 0.01} | changes
    return Channel(name=name, kind=kind, **given)

"""


def install(site: Path, body: str, name: str = "made-up") -> dict[str, str]:
    """Install a sensor whose `open_sensor` has this body, into a folder; returns what finds it in a child process."""
    site.mkdir(parents=True, exist_ok=True)
    module = f"{name.replace('-', '_')}_sensor"
    (site / f"{module}.py").write_text(f"{PRELUDE}def open_sensor():\n{textwrap.indent(textwrap.dedent(body), '    ')}")
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ipw.sensors]\n{name} = {module}:open_sensor\n")
    paths = [str(site), os.environ.get("PYTHONPATH", "")]  # behind it what a child finds anyway
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
