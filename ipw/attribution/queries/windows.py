"""The measured windows of a run: one, and one more for every time that it was resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.beside import Beside
from ipw.attribution.queries.phases import Timing
from ipw.attribution.run import MEASURED, Attributed, attribute_run
from ipw.energy.attribution import Share
from ipw.energy.steps.engine import Engine
from ipw.energy.timeline import Spans
from ipw.runs.recorded import Recorded

Window = tuple[int, int]


def measured_windows(marked: Sequence[Mapping[str, Any]], timing: Timing) -> list[Window]:
    """What was marked as measured; where a crash left no mark, from the first to the last moment of the queries."""
    windows = sorted((int(s["start_ns"]), int(s["end_ns"])) for s in marked if s.get("phase") == MEASURED)
    since = windows[-1][1] if windows else 0
    unmarked = timing.start_ns >= since
    if unmarked.any():
        windows.append((int(timing.start_ns[unmarked].min()), int(timing.end_ns[unmarked].max())))
    return windows


def attribute_windows(
    recorded: Recorded,
    spans: Spans,
    windows: Sequence[Window],
    engine: Engine | None = None,
    beside: Beside | None = None,
) -> Attributed | None:
    """Attribute each window to the spans in it, and join what comes of it; `None` where no channel was read.

    All readings and all spans tell the levels of power. What was drawn between two windows is nobody's.
    """
    parts = [part for window in windows if (part := attribute_run(recorded, spans, window, engine, beside)) is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    joined, ends = parts[0], [window[1] for window in windows[:-1]]
    span_part = np.searchsorted(ends, spans.start_ns)  # a decode may begin in the very moment in which all ends
    owner_part = np.zeros(parts[0].owners.energy_j.size, np.int64)
    owner_part[spans.owner] = span_part
    if beside:
        owner_part[(spans.owners or 0) + beside.owner] = np.searchsorted(ends, beside.start_ns)
    return joined._replace(
        window_ns=(windows[0][0], windows[-1][1]),
        spans=_chosen([part.spans for part in parts], span_part),
        owners=_chosen([part.owners for part in parts], owner_part),
        facts=_facts([part.facts for part in parts], windows),
    )


def _chosen(shares: Sequence[Share], part: npt.NDArray[np.int64]) -> Share:
    """Take every row from the share of its window."""

    def rows(columns: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        return np.stack(columns)[part, np.arange(part.size)]

    nets = [share.net_energy_j for share in shares if share.net_energy_j is not None]
    return Share(
        rows([share.energy_j for share in shares]),
        rows([share.low_j for share in shares]),
        rows([share.high_j for share in shares]),
        rows(nets) if len(nets) == len(shares) else None,
    )


def _facts(parts: Sequence[Mapping[str, Any]], windows: Sequence[Window]) -> dict[str, Any]:
    """Join what is said of the windows: sums are added up, means weighted with the windows' lengths."""
    seconds = np.array([(end - start) / 1e9 for start, end in windows])
    sums = ("measured_j", "lost_j", "attributed_j", "idle_j", "unattributed_j")
    powers = [part["mean_power_w"] for part in parts]
    mean_w = None if None in powers else float(np.average(powers, weights=seconds))
    return {
        **parts[-1],
        **{name: sum(part[name] for part in parts) for name in sums},
        "measured_error_j": [math.hypot(*(part["measured_error_j"][end] for part in parts)) for end in (0, 1)],
        "window_ns": [windows[0][0], windows[-1][1]],
        "windows_ns": [list(window) for window in windows],
        "coverage": float(np.average([part["coverage"] for part in parts], weights=seconds)),
        "mean_power_w": mean_w,
        "rule": "; ".join(dict.fromkeys(part["rule"] for part in parts)),
        "flags": sorted({flag for part in parts for flag in part["flags"]}),
        "channels": {name: sum(part["channels"][name] for part in parts) for name in parts[0]["channels"]},
    }
