"""What reading and writing cost while routing was captured: tokens a second and joules a token."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.runs.directory import RunDir
from ipw.runs.readings import is_estimate
from ipw.runs.unseen import unseen
from ipw.workloads.routing.measures.bootstrap import basic_interval, multiplicities

Floats = npt.NDArray[np.float64]
Metric = dict[str, Any]
JOULES = ("energy_j", "prefill_energy_j", "decode_energy_j")
COLUMNS = ("start_ns", "first_token_ns", "end_ns", "prompt_tokens", "completion_tokens", *JOULES)
UNMEASURED = "energy was not attributed"


class Ratio(NamedTuple):
    """A sum over sequences over another."""

    above: Floats
    below: Floats
    unit: str
    absent: str
    """Why there is none, where a sum is missing or nothing."""


def throughput(run: RunDir, seed: int = 0) -> dict[str, Metric]:
    """Metrics from `queries.parquet`, with intervals over sequences; none for a trace from elsewhere.

    Joules of an estimate also carry the uncertainty of its gain, which all sequences share.
    """
    table = run.read_table("queries")
    if table is None or not table.num_rows:
        return {}
    columns = {name: table[name].cast("float64").to_numpy(zero_copy_only=False) for name in COLUMNS}
    drawn = multiplicities(np.zeros(table.num_rows, np.intp), seed)
    manifest = run.manifest()
    not_theirs = unseen(manifest)
    if not_theirs:
        columns |= {name: np.full(table.num_rows, np.nan) for name in JOULES}
    method = manifest.get("method")
    gain = (manifest.get("attribution") or {}).get("gain_rel") if is_estimate(method) else None
    found = {}
    for name, ratio in _ratios(columns, not_theirs or UNMEASURED).items():
        is_energy = ratio.unit == "J"
        found[name] = _metric(ratio, drawn, method if is_energy else "timed", (gain or 0.0) if is_energy else 0.0)
    return found


def _ratios(columns: dict[str, Floats], unmeasured: str) -> dict[str, Ratio]:
    read, written = columns["prompt_tokens"], columns["completion_tokens"]
    split = np.where(np.isnan(columns["first_token_ns"]), columns["end_ns"], columns["first_token_ns"])
    read_s, write_s = (split - columns["start_ns"]) / 1e9, (columns["end_ns"] - split) / 1e9
    later = np.maximum(written - 1, 0)  # the first token comes from reading the prompt
    unwritten = "the model wrote nothing"
    return {
        "prefill_tokens_per_s": Ratio(read, read_s, "1/s", "no times"),
        "decode_tokens_per_s": Ratio(later, write_s, "1/s", unwritten),
        "energy_per_token_j": Ratio(columns["energy_j"], read + written, "J", unmeasured),
        "prefill_energy_per_token_j": Ratio(columns["prefill_energy_j"], read, "J", unmeasured),
        "decode_energy_per_token_j": Ratio(
            columns["decode_energy_j"], written, "J", unmeasured if written.any() else unwritten
        ),
    }


def _metric(ratio: Ratio, drawn: Floats, method: str | None, gain: float) -> Metric:
    entry: Metric = {"unit": ratio.unit, "n": drawn.shape[1], "method": method}
    above, below = ratio.above.sum(), ratio.below.sum()
    if not (math.isfinite(above) and below > 0 and above > 0):
        return entry | {"value": None, "low": None, "high": None, "interval": None, "reason": ratio.absent}
    value = float(above / below)
    replicates = (drawn @ ratio.above) / np.maximum(drawn @ ratio.below, 1e-12)
    ends = [float(end) for end in basic_interval(value, replicates)]
    low, high = (
        value + math.copysign(math.hypot(end - value, gain * value), sign)
        for end, sign in zip(ends, (-1, 1), strict=True)
    )
    return entry | {"value": value, "low": low, "high": high, "interval": "bootstrap over sequences", "reason": None}
