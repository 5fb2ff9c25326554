"""Joules of a question: between prefill and decode, by method, and of the whole run as power over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.reports.charts.plot import Bar, Bars, CurveLine, Plot, Point, plan
from ipw.reports.text import scale_for
from ipw.reports.view import View

PREFILL, DECODE = "var(--s2,#d55e00)", "var(--s5,#56b4e9)"


def phase_means(view: View) -> tuple[float, float] | None:
    """Mean joules of a query up to its first token, and from there on."""
    columns = [view.queries.numbers[name] for name in ("prefill_energy_j", "decode_energy_j")]
    known = np.isfinite(columns[0]) & np.isfinite(columns[1])
    return (float(columns[0][known].mean()), float(columns[1][known].mean())) if known.any() else None


def phases(views: Sequence[View]) -> Bars | None:
    """Prefill and decode of a mean query, end to end, a bar a run."""
    known = [(view, means) for view in views if (means := phase_means(view))]
    if not known:
        return None
    scale = scale_for("J", [sum(means) for _, means in known])
    estimated = any(view.estimated for view, _ in known)
    bars = [Bar(view.name, [scale.factor * part for part in means]) for view, means in known]
    return Bars(
        "Prefill and decode",
        plan(f"mean energy of a query, {scale.unit}{', estimated' if estimated else ''}", map(_whole, bars), zero=True),
        bars,
        "; ".join(f"{v.name}: prefill {p:.3g} J, decode {d:.3g} J{_mark(v)}" for v, (p, d) in known[:20]),
        (("prefill", PREFILL), ("decode", DECODE)),
        estimated,
    )


def per_answer(views: Sequence[View], name: str, what: str) -> Bars | None:
    """One metric in joules with its interval, a bar a run."""
    entries = [(view, Derived(view.summary).metric(name)) for view in views]
    known = [(view, entry, value) for view, entry in entries if (value := number(entry.get("value"))) is not None]
    if not known:
        return None
    scale = scale_for("J", [value for *_, value in known])

    def end(entry: object) -> float | None:
        found = number(entry)
        return None if found is None else scale.factor * found

    bars = [Bar(v.name, [scale.factor * value], end(e.get("low")), end(e.get("high"))) for v, e, value in known]
    estimated = any(view.estimated for view, *_ in known)
    ends = [x for bar in bars for x in (_whole(bar), bar.high)]
    return Bars(
        what[:1].upper() + what[1:],
        plan(f"{what}, {scale.unit}{', estimated' if estimated else ''}", ends, zero=True),
        bars,
        "; ".join(f"{v.name}: {value:.3g} J{_mark(v)}" for v, _, value in known[:20]),
        estimated=estimated,
    )


def power(views: Sequence[View]) -> Plot | None:
    """Power over the run, from the start of the measured window, one line a run."""
    drawn = [(view, view.timeline) for view in views if view.timeline is not None]
    peaks = [float(np.nanmax(data.mean_w)) for _, data in drawn if np.isfinite(data.mean_w).any()]
    if not peaks:
        return None
    scale = scale_for("W", peaks)
    curves = []
    for view, data in drawn:
        middle = ((data.edges_s[:-1] + data.edges_s[1:]) / 2).tolist()
        points = [Point(x, scale.factor * y) for x, y in zip(middle, data.mean_w.tolist(), strict=True)]
        curves.append(CurveLine(view.name, points, view.series))
    estimated = ", estimated" if any(view.estimated for view, _ in drawn) else ""
    return Plot(
        "Power over time",
        plan("seconds from the start of the measured window", [p.x for c in curves for p in c.points]),
        plan(f"power, {scale.unit}{estimated}", [0.0, *(scale.factor * peak for peak in peaks)], zero=True),
        curves,
        "; ".join(
            f"{view.name}: {float(np.nanmean(data.mean_w)):.3g} W on average{_mark(view)}" for view, data in drawn[:20]
        ),
    )


def _mark(view: View) -> str:
    return " (estimated)" if view.estimated else ""


def _whole(bar: Bar) -> float:
    return sum(bar.parts)
