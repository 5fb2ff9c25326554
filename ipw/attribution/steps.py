"""`steps.parquet` of training that somebody else's code did: each marked step with its share of the energy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from ipw.attribution.ranks import rank_parts
from ipw.attribution.run import attribute_run, derive_window, straight_energy
from ipw.energy.timeline import Spans
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

WHOLE, REAL, TEXT = pa.int64(), pa.float64(), pa.string()
COLUMNS = {
    "method": TEXT, "step": WHOLE, "start_ns": WHOLE, "end_ns": WHOLE, "loss": REAL, "samples": WHOLE, "tokens": WHOLE,
    "energy_j": REAL, "energy_low_j": REAL, "energy_high_j": REAL, "forward_energy_j": REAL, "backward_energy_j": REAL,
    "update_energy_j": REAL, "peak_memory_bytes": WHOLE, "status": TEXT, "rank": WHOLE,
}  # fmt: skip
NEEDED = ("step", "start_ns", "end_ns")
ENERGY = ("energy_j", "energy_low_j", "energy_high_j")


def derive_command(run: RunDir) -> None:
    """Derive a run that is one window, and the steps that were marked in it."""
    window_ns = derive_window(run)
    if window_ns is not None:
        derive_steps(run, window_ns)


def derive_steps(run: RunDir, window_ns: tuple[int, int]) -> None:
    """Write the table, where steps were journalled.

    Those of one process are told apart as queries are; those of several ranks have their rank's part of what was drawn.
    """
    steps = [step for step in run.journal("step") if all(step.get(name) is not None for name in NEEDED)]
    if not steps:
        return
    losses = {(r.get("rank"), r.get("step")): r.get("loss") for r in run.journal("loss")}
    columns: dict[str, Any] = {name: [step.get(name) for step in steps] for name in COLUMNS}
    columns["loss"] = [losses.get((step.get("rank"), step["step"])) for step in steps]
    columns |= _energy(Recorded.of(run), steps, window_ns)
    arrays = {name: pa.array(columns[name], kind, from_pandas=True) for name, kind in COLUMNS.items()}
    run.write_table("steps", pa.table(arrays))


def _energy(recorded: Recorded, steps: list[dict[str, Any]], window_ns: tuple[int, int]) -> dict[str, Any]:
    start, end = ([step[name] for step in steps] for name in ("start_ns", "end_ns"))
    if parts := rank_parts(recorded.folder, steps):
        return dict(zip(ENERGY, straight_energy(recorded, start, end, parts), strict=True))
    phases = np.zeros(len(steps), np.int64)
    spans = Spans(np.array(start), np.array(end), phases, ("step",), np.arange(len(steps)), np.ones(len(steps)))
    attributed = attribute_run(recorded, spans, window_ns)
    if attributed is None:
        return {}
    share = attributed.owners
    values = (share.energy_j, share.low_j, share.high_j)
    return {name: np.where(attributed.covered, x, np.nan) for name, x in zip(ENERGY, values, strict=True)}
