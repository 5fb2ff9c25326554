"""Energy per output token against throughput, as more requests are in flight; and where more of them stop helping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ipw.metrics.accounting_text import short_mark
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.charts.axes import MUTED, Series
from ipw.reports.charts.plot import CurveLine, Plot, Point, plan
from ipw.reports.names import model_name
from ipw.reports.text import scale_for
from ipw.reports.view import View, workload_of
from ipw.runs.recorded import Recorded

RATE, JOULES = "output_tokens_per_s", "energy_per_output_token_j"
TIMES = "\N{MULTIPLICATION SIGN}"
NEAR = 1.1
"""Times what a token costs at its cheapest: so near to it a level is as good."""


class Level(NamedTuple):
    """The runs of one number of requests in flight, together."""

    in_flight: int
    rate: float
    joules: float
    low: float | None
    high: float | None
    """From the lowest to the highest end of the runs' intervals."""


class Sweep(NamedTuple):
    """One model at several numbers of requests in flight, the fewest first."""

    name: str
    levels: Sequence[Level]
    series: Series
    estimated: bool
    left_out: Sequence[tuple[Level, str]] = ()
    """Runs that are not valid, each with its mark: shown, and in no mean."""

    @property
    def knee(self) -> int | None:
        """Fewest in flight at which a token costs at most `NEAR` times the least; `None` where that is the last level.

        There a token may still get cheaper with more.
        """
        least = min(level.joules for level in self.levels)
        first = next(level for level in self.levels if level.joules <= NEAR * least)
        return first.in_flight if first is not self.levels[-1] else None


def sweeps(views: Sequence[View]) -> list[Sweep]:
    """Put runs together that differ in the requests in flight."""
    groups: dict[tuple[str, ...], list[View]] = {}
    for view in views:
        if number(workload_of(view).get("concurrency")) and not workload_of(view).get("rate"):
            groups.setdefault(_alike(view), []).append(view)
    found = []
    for members in groups.values():
        valid, bad = ([view for view in members if view.valid is fit] for fit in (True, False))
        levels = list(_levels(valid))
        if len(levels) > 1:
            left_out = [(level, short_mark(view.summary)) for view in bad for level in _levels([view])]
            estimated = any(view.estimated for view in members)
            found.append(Sweep(model_name(members[0].summary), levels, members[0].series, estimated, left_out))
    return found


def _alike(view: View) -> tuple[str, ...]:
    identity = Recorded(view.manifest).series.get("id")
    if isinstance(identity, str):
        return (identity,)
    model = Derived(view.summary).model
    told = (model.get("name"), model.get("quantisation"), view.manifest.get("basis"), workload_of(view).get("dataset"))
    return tuple(clean(part, 80) for part in told)


def _levels(views: Sequence[View]) -> Iterator[Level]:
    by_level: dict[int, list[tuple[float, Mapping[str, object]]]] = {}
    for view in views:
        metrics = Derived(view.summary).metrics
        rate, joules = (number(metrics.get(name, {}).get("value")) for name in (RATE, JOULES))
        if rate and joules and joules > 0:
            count = int(number(workload_of(view).get("concurrency")) or 1)
            by_level.setdefault(count, []).append((rate, metrics[JOULES]))
    for count in sorted(by_level):
        rates, entries = zip(*by_level[count], strict=True)
        values, lows, highs = ([number(e.get(end)) for e in entries] for end in ("value", "low", "high"))
        yield Level(
            count,
            float(np.mean(rates)),
            float(np.mean([value for value in values if value is not None])),
            None if None in lows else min(low for low in lows if low is not None),
            None if None in highs else max(high for high in highs if high is not None),
        )


def energy_load(found: Sequence[Sweep]) -> Plot | None:
    """Joules per output token against throughput: a line a model, a point a level, the knee named."""
    if not found:
        return None
    every = [level for sweep in found for level in (*sweep.levels, *(bad for bad, _ in sweep.left_out))]
    scale = scale_for("J", [level.joules for level in every])
    estimated = ", estimated" if any(sweep.estimated for sweep in found) else ""
    unsure = " (estimated)" if estimated else ""
    curves = []
    for sweep in found:
        points = [_point(each, scale.factor) for each in sweep.levels]
        knee = {sweep.knee: " knee"}
        beside = [f"{TIMES}{each.in_flight}{knee.get(each.in_flight, '')}" for each in sweep.levels]
        curves.append(CurveLine(sweep.name, points, sweep.series, estimated=sweep.estimated, beside=beside))
        if sweep.left_out:
            points = [_point(each, scale.factor) for each, _ in sweep.left_out]
            beside = [f"{TIMES}{each.in_flight}{mark}" for each, mark in sweep.left_out]
            curves.append(CurveLine(sweep.name, points, (MUTED, sweep.series[1]), "spots", beside=beside, listed=False))
    ends = [y for curve in curves for p in curve.points for y in (p.y, p.low, p.high)]
    return Plot(
        "Energy per output token against throughput",
        plan("output tokens per second", [0.0, *(level.rate for level in every)], zero=True),
        plan(f"energy per output token, {scale.unit}{estimated}", [0.0, *ends], zero=True),
        curves,
        "; ".join(f"{s.name}: {e.in_flight} in flight{mark}: {e.rate:.4g} tokens/s at {e.joules:.3g} J{unsure}"
                  for s in found for e, mark in (*((level, "") for level in s.levels), *s.left_out)),
    )  # fmt: skip


def _point(level: Level, factor: float) -> Point:
    low, high = (None if end is None else factor * end for end in (level.low, level.high))
    return Point(level.rate, factor * level.joules, low, high)


def knee_notes(found: Sequence[Sweep]) -> Iterator[str]:
    """Say in words where each model's knee is."""
    for sweep in found:
        estimated = ", as estimated" if sweep.estimated else ""
        if sweep.knee is None:
            yield f"{sweep.name}: a token is cheapest at the last level{estimated}: more in flight may still help."
        else:
            yield (
                f"{sweep.name}: the knee is at {sweep.knee} in flight: the fewest at which a token costs at most "
                f"{100 * (NEAR - 1):.0f} % more than at its cheapest level{estimated}."
            )
