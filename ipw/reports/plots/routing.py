"""Expert routing: how local it is by segment length, and how often a cache of so many experts is hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ipw.metrics.metric import number
from ipw.reports.charts.axes import SERIES, series_of
from ipw.reports.charts.plot import AxisPlan, Bar, Bars, CurveLine, Mark, Plot, Point, plan
from ipw.runs.directory import RunDir

Row = dict[str, Any]
MAIN_LENGTH, MAIN_RATIO = 16, 2
POLICIES = {"sch": "SCH, 16 tokens ahead", "lru": "LRU", "lfu": "LFU", "belady": "Belady"}
OFFLOADED = POLICIES | {
    "lfru": "LFRU",
    "slru": "segmented LRU",
    "static": "pins",
    "lru-bounded": "LRU, bounded, misses where they lie",
    "lru+layer": "LRU, guessed from the layer before",
    "lru+token": "LRU, guessed from the token before",
}
MOST_DOMAINS = 24


class Routed(NamedTuple):
    """The tables of one run."""

    srp: Sequence[Row]
    cache: Sequence[Row]
    offload: Sequence[Row]


def routed(run: RunDir) -> Routed:
    """Read them; an empty one where a table is not there."""
    return Routed(*(rows(run, name) for name in Routed._fields))


def rows(run: RunDir, name: str) -> list[Row]:
    """Read one table."""
    table = run.read_table(f"routing_{name}")
    return [] if table is None else table.to_pylist()


def of_level(found: Sequence[Row], level: str = "model") -> list[Row]:
    """Rows of the whole model, of layers, of domains or of the pool."""
    return [row for row in found if row["level"] == level]


def consistency(srp: Sequence[Row], name: str = "SRP") -> CurveLine | None:
    """One model's SRP by segment length; `None` where fewer than two lengths are known."""
    found = sorted(of_level(srp), key=lambda row: int(row["segment_length"]))
    points = [Point(row["segment_length"], row["srp"], row["low"], row["high"]) for row in found]
    return CurveLine(name, points) if len(points) > 1 else None


def consistency_plot(curves: Sequence[CurveLine]) -> Plot | None:
    """SRP against segment length, one line a run."""
    if not curves:
        return None
    xs = [point.x for curve in curves for point in curve.points]
    return Plot(
        "SRP against segment length",
        AxisPlan("segment length, tokens", min(xs) / 1.15, max(xs) * 1.15, log=True, marks=tuple(sorted(set(xs)))),
        plan("SRP", _ends(curves)),
        curves,
        "; ".join(f"{p.x} tokens: {p.y:.3f}" for curve in curves for p in curve.points),
    )


def hits(cache: Sequence[Row], metrics: Mapping[str, Any], *, corrected: bool, prefix: str = "") -> Plot | None:
    """Hit rate by experts cached, one line a policy, with the knee."""
    shown = []
    for (policy, name), series in zip(POLICIES.items(), SERIES, strict=False):
        points = [
            Point(row["cache_size"], row["hit_rate"], row["low"], row["high"])
            for row in of_level(cache)
            if row["policy"] == policy
            and row["corrected"] == corrected
            and row["segment_length"] in {None, MAIN_LENGTH}
        ]
        if points:
            shown.append(CurveLine(prefix + name, points, series, dashed=policy == "belady"))
    if not shown:
        return None
    knee = number(metrics.get("cache_knee_experts", {}).get("value"))
    return Plot(
        "Hits by cache size" if corrected else "Hits by cache size, as the reference implementation counts",
        _counts("experts cached in each layer", shown),
        plan("hit rate", _ends(shown)),
        shown,
        "; ".join(f"{c.name}: {c.points[0].y:.2f} at {c.points[0].x}, {c.points[-1].y:.2f} at all" for c in shown),
        Mark(knee, f"knee: {knee:.0f}") if corrected and knee is not None else None,
    )


def by_layer(srp: Sequence[Row], cache: Sequence[Row]) -> Plot | None:
    """SRP, and SCH of a cache of twice the active experts, in each routed layer."""
    layers = [row for row in of_level(srp, "layer") if row["segment_length"] == MAIN_LENGTH]
    double = [
        row
        for row in of_level(cache, "layer")
        if row["policy"] == "sch" and abs(row["cache_ratio"] - MAIN_RATIO) < 1e-9
    ]
    shown = [
        CurveLine(
            name, [Point(row["index"], row[value], row["low"], row["high"]) for row in found], series, dashed=dashed
        )
        for name, found, value, series, dashed in (
            (f"SRP, {MAIN_LENGTH} tokens", layers, "srp", SERIES[0], False),
            (f"SCH, {MAIN_RATIO} times the active experts cached", double, "hit_rate", SERIES[1], True),
        )
        if found
    ]
    if not shown or len(shown[0].points) < 2:
        return None
    told = "; ".join(f"layer {p.x}: {p.y:.3f}" for p in shown[0].points)
    x = _counts("routed layer, from the first", shown)
    return Plot("By layer", x, plan("SRP and hit rate", _ends(shown)), shown, told)


def by_domain(srp: Sequence[Row]) -> Bars | None:
    """SRP of each domain, the most local first."""
    found = [row for row in of_level(srp, "domain") if row["segment_length"] == MAIN_LENGTH]
    if len(found) < 2:
        return None
    found = sorted(found, key=lambda row: -float(row["srp"]))[:MOST_DOMAINS]
    bars = [Bar(row["name"], [row["srp"]], row["low"], row["high"]) for row in found]
    x = plan(f"SRP, {MAIN_LENGTH} tokens", [v for bar in bars for v in (*bar.parts, bar.high)], zero=True)
    return Bars("SRP by domain", x, bars, "; ".join(f"{bar.name}: {bar.parts[0]:.3f}" for bar in bars))


def offloaded(found: Sequence[Row]) -> Plot | None:
    """Tokens per second with so many experts in fast memory, measured and as expected."""
    cached = [row for row in found if row["policy"]]
    if not cached:
        return None
    shown = []
    for index, policy in enumerate(dict.fromkeys(row["policy"] for row in cached)):
        mine = [row for row in cached if row["policy"] == policy]
        name, series = OFFLOADED.get(policy, policy), series_of(index)
        shown.append(CurveLine(f"{name}, measured", [Point(r["cache_size"], r["tokens_per_s"]) for r in mine], series))
        expected = [
            Point(row["cache_size"], row["tokens_per_s_expected"]) for row in mine if row["tokens_per_s_expected"]
        ]
        if expected:
            shown.append(CurveLine(f"{name}, expected", expected, series, dashed=True))
    told = "; ".join(f"{c.name}: {c.points[0].y:.0f} at {c.points[0].x}" for c in shown)
    x = _counts("experts cached in each layer", shown)
    return Plot("Decoding with offloaded experts", x, plan("tokens per second", _ends(shown)), shown, told)


def _counts(title: str, curves: Sequence[CurveLine]) -> AxisPlan:
    xs = [point.x for curve in curves for point in curve.points]
    low, high = min(xs), max(xs)
    return AxisPlan(title, low, high if high > low else low + 1, whole=True)


def _ends(curves: Sequence[CurveLine]) -> list[float | None]:
    return [end for curve in curves for p in curve.points for end in (p.y, p.low, p.high)]
