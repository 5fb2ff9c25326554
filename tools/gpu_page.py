"""Writes what `make gpu-check` found: a table for the terminal, `docs/hardware/<gpu>.md`, and the raw readings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gpu_check import Findings

from ipw.profilers.probe.probe import Recording
from ipw.reports.text import MISSING, scale_for

PERCENTILES = (50, 90, 99, 100)
Rows = list[tuple[str, ...]]


def write(findings: Findings, folder: Path) -> Path:
    """Write page and raw readings into a folder; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", findings.device.rpartition(" GPU-")[0].lower()).strip("-")
    raw = folder / f"{name}.parquet"
    pq.write_table(readings_table(findings.recordings), raw, compression="zstd")
    page = folder / f"{name}.md"
    page.write_text(page_text(findings, raw.name))
    return page


def page_text(findings: Findings, raw: str) -> str:
    """Tell everything on one page."""
    made = f"on {findings.measured} with {findings.driver}, {findings.seconds:g} s a stage"
    parts = [
        f"# {findings.device.rpartition(' GPU-')[0]}",
        f"Measured by `make gpu-check` {made}. The raw readings are in [{raw}]({raw}).",
        "## Sensors",
        markdown(sensor_rows(findings)),
        "\n".join(f"- {line}" for line in reasons(findings)),
        "## Counter against integrated power",
        markdown(agreement_rows(findings)),
        "## At rest",
        markdown(rest_rows(findings)),
        "## What a call costs",
        markdown(call_rows(findings)),
        f"Samples that the driver keeps itself: {findings.buffer}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def sensor_rows(findings: Findings) -> Rows:
    """How each channel behaves."""
    heads = ("channel", "renewed every", "step", "a read takes", "looks at", "rises in", "phase spread", "part-time")
    rows = [
        (
            p.channel,
            amount(p.update_period_s, "s"),
            amount(p.resolution, p.unit),
            amount(p.read_cost_s, "s"),
            amount(p.window_s, "s"),
            amount(p.rise_s, "s"),
            MISSING if p.phase_spread is None else f"{100 * p.phase_spread:.3g} %",
            MISSING if p.part_time is None else "yes" if p.part_time else "no",
        )
        for p in findings.profiles
    ]
    return [heads, *rows]


def agreement_rows(findings: Findings) -> Rows:
    """What both ways to the same joules say."""
    rows = [
        (a.state, amount(a.counter_w, "W"), amount(a.power_w, "W"), f"{100 * (a.power_w / a.counter_w - 1):+.2f} %")
        for a in findings.agreements
        if a.counter_w > 0
    ]
    return [("", "counter", "power", "difference"), *rows]


def rest_rows(findings: Findings) -> Rows:
    """What the GPU draws while it does nothing."""
    gauges = list(dict.fromkeys(name for rest in findings.rests for name in rest.gauges))
    rows = [
        (rest.state, amount(rest.power_w, "W"), *(rest.gauges.get(name, MISSING) for name in gauges))
        for rest in findings.rests
    ]
    return [("", "power", *(name.replace("_", " ") for name in gauges)), *rows]


def call_rows(findings: Findings) -> Rows:
    """Percentiles of the time that each call takes."""
    rows: Rows = [("call", "median", "90 %", "99 %", "longest")]
    for name, took in findings.calls.items():
        if isinstance(took, str):
            rows.append((name, took, MISSING, MISSING, MISSING))
        else:
            rows.append((name, *(amount(float(x), "s") for x in np.percentile(took, PERCENTILES))))
    return rows


def reasons(findings: Findings) -> list[str]:
    """Why something was not measured."""
    return [f"{p.channel}, {name}: {reason}" for p in findings.profiles for name, reason in p.reasons.items()]


def readings_table(recordings: list[Recording]) -> pa.Table:
    """All raw readings, and in stages with a load whether it worked at that moment."""
    parts = []
    for r in recordings:
        edges = np.array(r.pulses, np.int64).ravel()
        count = r.trace.t_ns.size
        columns = {
            "stage": pa.array([r.stage] * count, pa.string()).dictionary_encode(),
            "channel": pa.array([r.channel] * count, pa.string()).dictionary_encode(),
            "t_ns": r.trace.t_ns,
            "value": r.trace.value,
            "uncertainty_ns": r.trace.half_ns,
            "load": np.searchsorted(edges, r.trace.t_ns, "right") % 2 == 1,
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts).unify_dictionaries()


def markdown(rows: Rows) -> str:
    """A table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def amount(value: float | None, unit: str) -> str:
    """Three digits and a unit that suits them."""
    if value is None:
        return MISSING
    scale = scale_for(unit, [value])
    return f"{value * scale.factor:.3g} {scale.unit}"
