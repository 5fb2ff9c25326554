"""What runs on a node: one cell, or only its sensors for a cell that runs elsewhere. An actor that Ray makes of it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipw.errors import INTERRUPTED, IpwError, OutageError
from ipw.runs.archive import digest, pack, piece
from ipw.runs.directory import RunDir
from ipw.runs.readings import READINGS
from ipw.studies.runfile import Cell

Told = dict[str, Any]


class Worker:
    """Lives on one node as long as its cell does."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ipw-"))
        self._archive: Path | None = None
        self._sampler: Any = None

    def clock(self) -> int:
        """Read this node's clock."""
        return time.monotonic_ns()

    def measure(self, cell: Mapping[str, Any]) -> Told:
        """Run a cell here; tells the archive of its run, or what went wrong."""
        from ipw.studies.cells import run_cell

        try:
            run = run_cell(Cell(**cell), self._folder)
            _check_measured(run)
            self._archive = pack(run.path)
        except OutageError as error:  # its run stays here, and goes with the node
            return {"error": error.message, "hint": "the same study, started again, measures the cell anew"}
        except IpwError as error:
            return {"error": error.message, "hint": error.hint}
        except KeyboardInterrupt:
            return {"error": "it was interrupted on its node", "hint": None, "exit_code": INTERRUPTED}
        except OSError as error:
            return {"error": f"the node could not keep the run: {error.strerror}", "hint": "is its disk full?"}
        return {"sha256": digest(self._archive), "bytes": self._archive.stat().st_size, "path": str(run.path)}

    def piece(self, offset: int) -> bytes:
        """Send a part of the archive."""
        assert self._archive is not None
        return piece(self._archive, offset)

    def record(self, sensors: str) -> Told:
        """Start this node's sensors for a cell that runs on another node; tells the channels."""
        from ipw.profilers.base import Channel
        from ipw.profilers.discovery import choose_basis
        from ipw.profilers.sampler.handle import Sampler

        try:
            self._sampler = Sampler.start(self._folder, sensors)
        except IpwError as error:
            return {"error": error.message, "hint": error.hint}
        greeted = self._sampler.channels
        _, in_total, _ = choose_basis([Channel(**{k: v for k, v in c.items() if k != "index"}) for c in greeted])
        return {"channels": [channel | {"in_total": channel["name"] in in_total} for channel in greeted]}

    def recorded(self) -> bytes:
        """Stop the sensors and send what they wrote."""
        self._sampler.stop()
        return (self._folder / READINGS).read_bytes()

    def discard(self) -> None:
        """Forget the run: it has arrived."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _check_measured(run: RunDir) -> None:
    """Raise IpwError where the node had no sensor for the cell: a study is about joules."""
    manifest = run.manifest()
    if manifest.get("basis") is None:
        hints = [c["hint"] for c in manifest.get("sensors", []) if c.get("hint")]
        why = manifest.get("basis_reason") or "no sensor could be read"
        raise IpwError(
            f"nothing was measured there: {why}", f"`ipw doctor` on that node; {'; '.join(hints)}".strip("; ")
        )
