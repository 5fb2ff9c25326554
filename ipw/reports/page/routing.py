"""The routing section of a page: how local a model's routing is, and what cache of experts that asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.charts.axes import SERIES
from ipw.reports.charts.curves import Bar, CurveLine, Mark, Point, Texts, bars, curves, routing_map
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import chart, grid, section
from ipw.reports.page.view import View
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

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
MAP_TOKENS = 72
MOST_DOMAINS = 24


def routing(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """Charts and tables of every run that captured routing; nothing where none did."""
    found = [view for view in views if Recorded(view.manifest).kind == "routing"]
    parts = [part for view in found if (part := _one_run(view, several=len(found) > 1)) is not None]
    lead = """Local routing consistency: whether the experts that a token uses are also used by the tokens around it. \
Where they are, a cache of a few experts in fast memory serves most tokens."""
    return section("routing", "Expert routing", *parts, lead=lead) if parts else None


def routing_part(run: RunDir, metrics: Mapping[str, Any], manifest: dict[str, Any], key: str) -> Markup | None:
    """All that is shown of one run, from its tables; `None` where it has none."""
    rows = {name: _rows(run, name) for name in ("srp", "cache", "offload", "example", "findings")}
    if not rows["srp"] and not rows["cache"]:
        return None
    makers: tuple[Callable[[], Markup | None], ...] = (
        lambda: _summary(metrics, manifest, rows["cache"]),
        lambda: _srp_by_length(rows["srp"], key),
        lambda: _hits_by_size(rows["cache"], metrics, key, corrected=True),
        lambda: _hits_by_size(rows["cache"], metrics, key, corrected=False),
        lambda: _pooled(rows["cache"]),
        lambda: _by_layer(rows["srp"], rows["cache"], key),
        lambda: _by_domain(rows["srp"], key),
        lambda: _map(rows["example"], rows["cache"], key),
        lambda: _findings(rows["findings"]),
        lambda: _offload(rows["offload"], key),
    )
    return join(make() for make in makers)


def _one_run(view: View, *, several: bool) -> Markup | None:
    metrics = Derived(view.summary).metrics
    part = routing_part(RunDir(Path(view.path)), metrics, view.manifest, view.key)
    return part if part is None or not several else join([tag("h3", view.name), part])


def _rows(run: RunDir, name: str) -> list[Row]:
    table = run.read_table(f"routing_{name}")
    return [] if table is None else table.to_pylist()


def _of_model(rows: Sequence[Row], level: str = "model") -> list[Row]:
    return [row for row in rows if row["level"] == level]


# --- what cache size ------------------------------------------------------------------------------------------------


def _summary(metrics: Mapping[str, Any], manifest: dict[str, Any], cache: Sequence[Row]) -> Markup | None:
    """Answer the question that the section is about, in a sentence."""
    knee = number(metrics.get("cache_knee_experts", {}).get("value"))
    lru = [row for row in _of_model(cache) if row["policy"] == "lru" and row["corrected"]]
    at = next((row for row in lru if row["cache_size"] == knee), None)
    if knee is None or at is None:
        return None
    everything = max(row["cache_size"] for row in lru)
    layers = len({row["index"] for row in cache if row["level"] == "layer"})
    expert_bytes = number(Recorded(manifest).model.get("expert_bytes"))
    memory = ""
    if expert_bytes:
        share, whole = (count * layers * expert_bytes for count in (knee, everything))
        memory = f" That is {_megabytes(share)} of the {_megabytes(whole)} that all experts take."
    answer = f"What cache size should I use? {knee:.0f} of {everything} experts a layer."
    why = f""" With LRU they hit {at["hit_rate"]:.1%} of accesses, first uses counted as misses. Behind this size the \
curve bends: every further expert helps less than the average one.{memory}"""
    return tag("p", tag("b", answer), why)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.3g} MB" if count < 1e9 else f"{count / 1e9:,.3g} GB"


# --- charts ---------------------------------------------------------------------------------------------------------


def _srp_by_length(srp: Sequence[Row], key: str) -> Markup | None:
    rows = sorted(_of_model(srp), key=lambda row: int(row["segment_length"]))
    if not rows:
        return None
    points = [Point(row["segment_length"], row["srp"], row["low"], row["high"]) for row in rows]
    told = "; ".join(f"{p.x} tokens: {p.y:.3f}" for p in points)
    texts = Texts("SRP against segment length", "segment length, tokens", "SRP", told)
    table = grid(
        ["Segment length", "SRP", "95 % interval", "Size ratio"],
        [[f"{row['segment_length']}", f"{row['srp']:.4f}", _interval(row), f"{row['size_ratio']:.2f}"] for row in rows],
        "numbers",
    )
    lead = tag("p", """SRP: F1 score of the best yes-or-no a segment that predicts the experts of all its tokens. The \
size ratio tells how many times the active experts it keeps on hand.""", class_="note")  # fmt: skip
    drawn = (
        chart(curves([CurveLine("SRP", points, SERIES[0])], texts, f"{key}-srp", log_x=True)) if len(rows) > 1 else None
    )
    return join([tag("h3", "SRP against segment length"), lead, drawn, table])


def _hits_by_size(cache: Sequence[Row], metrics: Mapping[str, Any], key: str, *, corrected: bool) -> Markup | None:
    shown = []
    for (policy, name), series in zip(POLICIES.items(), SERIES, strict=False):
        rows = [
            row
            for row in _of_model(cache)
            if row["policy"] == policy
            and row["corrected"] == corrected
            and row["segment_length"] in {None, MAIN_LENGTH}
        ]
        points = [Point(row["cache_size"], row["hit_rate"], row["low"], row["high"]) for row in rows]
        if points:
            shown.append(CurveLine(name, points, series, dashed=policy == "belady"))
    if not shown:
        return None
    title = "Hits by cache size" if corrected else "The same, as the reference implementation counts"
    said = (
        "First uses are misses, and the experts of one token do not evict one another: what a real cache does."
        if corrected
        else """First uses are free while the cache has room, and experts of one token may evict one another, so that \
Belady is no upper bound: comparable with published figures."""
    )
    knee = number(metrics.get("cache_knee_experts", {}).get("value"))
    mark = Mark(knee, f"knee: {knee:.0f}") if corrected and knee is not None else None
    told = "; ".join(f"{c.name}: {c.points[0].y:.2f} at {c.points[0].x}, {c.points[-1].y:.2f} at all" for c in shown)
    texts = Texts(title, "experts cached in each layer", "hit rate", told)
    drawn = chart(curves(shown, texts, f"{key}-hits-{'corrected' if corrected else 'reference'}", mark=mark))
    return join([tag("h3", title), tag("p", said, class_="note"), drawn])


def _pooled(cache: Sequence[Row]) -> Markup | None:
    """SCH at twice the active experts by segment length: a cache a layer, and one pool for all layers."""
    at = {
        (row["level"], row["segment_length"]): row
        for row in cache
        if row["policy"] == "sch" and not row["corrected"] and abs(row["cache_ratio"] - MAIN_RATIO) < 1e-9
    }
    lengths = sorted({m for level, m in at if level == "pool" and ("model", m) in at})
    if not lengths:
        return None
    cells = [
        [f"{m}", *(text for level in ("model", "pool") for text in (_share(at[level, m]["hit_rate"]),
                                                                    _interval(at[level, m])))] for m in lengths
    ]  # fmt: skip
    heads = ["Segment length", "A cache in each layer", "95 % interval", "One pool for all layers", "95 % interval"]
    said = f"""SCH, {MAIN_RATIO} times the active experts cached, as the reference implementation counts. The paper's \
tables print the pool's."""
    return join([tag("h3", "One cache for all layers"), tag("p", said, class_="note"), grid(heads, cells, "numbers")])


def _by_layer(srp: Sequence[Row], cache: Sequence[Row], key: str) -> Markup | None:
    layers = [row for row in _of_model(srp, "layer") if row["segment_length"] == MAIN_LENGTH]
    double = [
        row
        for row in _of_model(cache, "layer")
        if row["policy"] == "sch" and abs(row["cache_ratio"] - MAIN_RATIO) < 1e-9
    ]
    shown = [
        CurveLine(
            name, [Point(row["index"], row[value], row["low"], row["high"]) for row in rows], series, dashed=dashed
        )
        for name, rows, value, series, dashed in (
            (f"SRP, {MAIN_LENGTH} tokens", layers, "srp", SERIES[0], False),
            (f"SCH, {MAIN_RATIO} times the active experts cached", double, "hit_rate", SERIES[1], True),
        )
        if rows
    ]
    if not shown or len(shown[0].points) < 2:
        return None
    told = "; ".join(f"layer {p.x}: {p.y:.3f}" for p in shown[0].points)
    texts = Texts("By layer", "routed layer, from the first", "SRP and hit rate", told)
    return join([tag("h3", "By layer"), chart(curves(shown, texts, f"{key}-layers"))])


def _by_domain(srp: Sequence[Row], key: str) -> Markup | None:
    rows = [row for row in _of_model(srp, "domain") if row["segment_length"] == MAIN_LENGTH]
    if len(rows) < 2:
        return None
    rows = sorted(rows, key=lambda row: -float(row["srp"]))[:MOST_DOMAINS]
    shown = [Bar(row["name"], Point(0, row["srp"], row["low"], row["high"])) for row in rows]
    told = "; ".join(f"{bar.name}: {bar.value.y:.3f}" for bar in shown)
    texts = Texts("SRP by domain", f"SRP, {MAIN_LENGTH} tokens", "", told)
    return join([tag("h3", "By domain"), chart(bars(shown, texts, f"{key}-domains"))])


def _map(example: Sequence[Row], cache: Sequence[Row], key: str) -> Markup | None:
    layers = sorted({row["layer_index"] for row in example})
    sizes = [row["cache_size"] for row in _of_model(cache)]
    if not layers or not sizes:
        return None
    layer = layers[len(layers) // 2]
    rows = sorted((row for row in example if row["layer_index"] == layer), key=lambda row: int(row["position"]))
    rows = rows[:MAP_TOKENS]
    drawn = routing_map(
        [row["piece"] for row in rows],
        [row["experts"] for row in rows],
        max(sizes),
        f"Experts of the tokens of one text in layer {layer}",
        f"{key}-map",
    )
    said = f"""Routed layer {layer} of {len(layers)}, counted from 0: the experts that each token of the first text \
uses, darker where ranked higher. Horizontal bars are local consistency."""
    return join([tag("h3", "Routing map"), tag("p", said, class_="note"), chart(drawn)])


# --- what to keep --------------------------------------------------------------------------------------------------


def _findings(rows: Sequence[Row]) -> Markup | None:
    """Whether there is a skew, and whether a static set is as good as LRU: of the whole trace, and by domain."""
    if not rows:
        return None
    lead = """Judged on texts that the experts were not chosen on; 95 % over texts. What to do about it for a memory \
and a link: ipw experts advise, with this run."""
    cells = [
        [row["finding"], row["domain"] or "all", f"{row['value']:.3f}", _interval(row), clean(row["text"], 300)]
        for row in rows
    ]
    table = grid(["Finding", "Domain", "Value", "95 %", "In words"], cells, "numbers")
    return join([tag("h3", "Which experts to keep"), tag("p", lead, class_="note"), table])


# --- offload --------------------------------------------------------------------------------------------------------


def _offload(rows: Sequence[Row], key: str) -> Markup | None:
    cached = [row for row in rows if row["policy"]]
    if not cached:
        return None
    shown = []
    for policy, series in zip(dict.fromkeys(row["policy"] for row in cached), SERIES, strict=False):
        mine = [row for row in cached if row["policy"] == policy]
        name = OFFLOADED.get(policy, policy)
        measured = [Point(row["cache_size"], row["tokens_per_s"]) for row in mine]
        expected = [
            Point(row["cache_size"], row["tokens_per_s_expected"]) for row in mine if row["tokens_per_s_expected"]
        ]
        shown.append(CurveLine(f"{name}, measured", measured, series))
        if expected:
            shown.append(CurveLine(f"{name}, expected", expected, series, dashed=True))
    told = "; ".join(f"{c.name}: {c.points[0].y:.0f} at {c.points[0].x}" for c in shown)
    texts = Texts("Decoding with offloaded experts", "experts cached in each layer", "tokens per second", told)
    heads = ["Cache", "Experts a layer", "Memory", "Hits", "Expected", "Tokens/s", "Expected", "J/token", "Expected",
             "Same output"]  # fmt: skip
    table = grid(heads, (_offload_cells(row) for row in rows), "numbers")
    lead = """A loader kept so many experts of every layer in fast memory and fetched the others when they were \
chosen. Expected: hits from the routing alone; speed and energy from those hits and the price of a token and of a \
byte, fitted to all rows."""
    drawn = chart(curves(shown, texts, f"{key}-offload"))
    return join([tag("h3", "Decoding with offloaded experts"), tag("p", lead, class_="note"), drawn, table])


def _offload_cells(row: Row) -> list[object]:
    return [
        OFFLOADED.get(row["policy"], row["policy"]) if row["policy"] else "none: all in fast memory",
        f"{row['cache_size']}",
        _megabytes(row["memory_bytes"]),
        _share(row["hit_rate"]),
        _share(row["hit_rate_expected"]),
        f"{row['tokens_per_s']:.1f}",
        _plain(row["tokens_per_s_expected"]),
        _plain(row["energy_per_token_j"]),
        _plain(row["energy_per_token_expected_j"]),
        "yes" if row["same_output"] else "no",
    ]


def _interval(row: Row) -> str:
    low, high = number(row["low"]), number(row["high"])
    return MISSING if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"


def _plain(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"
