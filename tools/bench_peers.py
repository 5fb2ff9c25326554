"""Other tools, each at its newest in an environment of its own under build/bench, for `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FOLDER = Path("build/bench")
PEERS = ("codecarbon", "zeus", "guidellm", "aiperf")


class Peer(NamedTuple):
    """One other tool, as it was found."""

    name: str
    version: str = ""
    """Empty where it could not be installed."""
    why_not: str = ""

    @property
    def python(self) -> str:
        """Its interpreter, from the root of the project."""
        return str(FOLDER / self.name / "bin/python")

    @property
    def program(self) -> str:
        """Its command, likewise."""
        return str(FOLDER / self.name / "bin" / self.name)


def installed(name: str, root: Path) -> Peer:
    """Install a tool where it is not there yet. One that cannot be installed is told with pip's last words."""
    peer = Peer(name)
    python = str(root / peer.python)
    if not Path(python).exists():
        subprocess.run([sys.executable, "-m", "venv", root / FOLDER / name], check=True)
    ask = [python, "-c", f"from importlib.metadata import version; print(version({name!r}))"]
    found = subprocess.run(ask, capture_output=True, text=True, check=False)
    if found.returncode:
        install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", name]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return peer._replace(why_not=(errors or ["pip failed"])[-1])
        found = subprocess.run(ask, capture_output=True, text=True, check=True)
    return peer._replace(version=found.stdout.strip())
