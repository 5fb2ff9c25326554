"""The routing section of a page: how local a model's routing is, and what cache of experts that asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.charts.plot import Bars, Plot
from ipw.reports.charts.routing_map import routing_map
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page.results import chart, drawn, grid, section
from ipw.reports.plots.routing import (
    MAIN_RATIO,
    OFFLOADED,
    Row,
    by_domain,
    by_layer,
    consistency,
    consistency_plot,
    hits,
    of_level,
    offloaded,
    routed,
    rows,
)
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING
from ipw.reports.view import View
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

MAP_TOKENS = 72


def routing(views: Sequence[View], _groups: Sequence[Group]) -> Markup | None:
    """Charts and tables of every run that captured routing; nothing where none did."""
    found = [view for view in views if Recorded(view.manifest).kind == "routing"]
    parts = [part for view in found if (part := _one_run(view, several=len(found) > 1)) is not None]
    lead = """Local routing consistency: whether the experts that a token uses are also used by the tokens around it. \
Where they are, a cache of a few experts in fast memory serves most tokens."""
    return section("routing", "Expert routing", *parts, lead=lead) if parts else None


def routing_part(run: RunDir, metrics: Mapping[str, Any], manifest: dict[str, Any], key: str) -> Markup | None:
    """All that is shown of one run, from its tables; `None` where it has none."""
    found, example, findings = routed(run), rows(run, "example"), rows(run, "findings")
    if not found.srp and not found.cache:
        return None
    makers: tuple[Callable[[], Markup | None], ...] = (
        lambda: _summary(metrics, manifest, found.cache),
        lambda: _srp_by_length(found.srp, key),
        lambda: _hits_by_size(found.cache, metrics, key, corrected=True),
        lambda: _hits_by_size(found.cache, metrics, key, corrected=False),
        lambda: _pooled(found.cache),
        lambda: _titled("By layer", by_layer(found.srp, found.cache), f"{key}-layers"),
        lambda: _titled("By domain", by_domain(found.srp), f"{key}-domains"),
        lambda: _map(example, found.cache, key),
        lambda: _findings(findings),
        lambda: _offload(found.offload, key, estimated=Recorded(manifest).is_estimated),
    )
    return join(make() for make in makers)


def _one_run(view: View, *, several: bool) -> Markup | None:
    metrics = Derived(view.summary).metrics
    part = routing_part(RunDir(Path(view.path)), metrics, view.manifest, view.key)
    return part if part is None or not several else join([tag("h3", view.name), part])


def _titled(title: str, shown: Plot | Bars | None, key: str) -> Markup | None:
    return join([tag("h3", title), drawn(shown, key)]) if shown else None


# --- what cache size ------------------------------------------------------------------------------------------------


def _summary(metrics: Mapping[str, Any], manifest: dict[str, Any], cache: Sequence[Row]) -> Markup | None:
    """Answer the question that the section is about, in a sentence."""
    knee = number(metrics.get("cache_knee_experts", {}).get("value"))
    lru = [row for row in of_level(cache) if row["policy"] == "lru" and row["corrected"]]
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
    why = f""" With LRU they hit {_share(at["hit_rate"])} of accesses, first uses counted as misses. Behind this size \
the curve bends: every further expert helps less than the average one.{memory}"""
    return tag("p", tag("b", answer), why)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.3g} MB" if count < 1e9 else f"{count / 1e9:,.3g} GB"


# --- charts ---------------------------------------------------------------------------------------------------------


def _srp_by_length(srp: Sequence[Row], key: str) -> Markup | None:
    rows = sorted(of_level(srp), key=lambda row: int(row["segment_length"]))
    if not rows:
        return None
    table = grid(
        ["Segment length", "SRP", "95 % interval", "Size ratio"],
        [[f"{row['segment_length']}", f"{row['srp']:.4f}", _interval(row), f"{row['size_ratio']:.2f}"] for row in rows],
        "numbers",
    )
    lead = tag("p", """SRP: F1 score of the best yes-or-no a segment that predicts the experts of all its tokens. The \
size ratio tells how many times the active experts it keeps on hand.""", class_="note")  # fmt: skip
    line = consistency(srp)
    one = drawn(consistency_plot([line] if line else []), f"{key}-srp")
    return join([tag("h3", "SRP against segment length"), lead, one, table])


def _hits_by_size(cache: Sequence[Row], metrics: Mapping[str, Any], key: str, *, corrected: bool) -> Markup | None:
    shown = hits(cache, metrics, corrected=corrected)
    if shown is None:
        return None
    said = (
        "First uses are misses, and the experts of one token do not evict one another: what a real cache does."
        if corrected
        else """First uses are free while the cache has room, and experts of one token may evict one another, so that \
Belady is no upper bound: comparable with published figures."""
    )
    title = "Hits by cache size" if corrected else "The same, as the reference implementation counts"
    one = drawn(shown, f"{key}-hits-{'corrected' if corrected else 'reference'}")
    return join([tag("h3", title), tag("p", said, class_="note"), one])


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


def _map(example: Sequence[Row], cache: Sequence[Row], key: str) -> Markup | None:
    layers = sorted({row["layer_index"] for row in example})
    sizes = [row["cache_size"] for row in of_level(cache)]
    if not layers or not sizes:
        return None
    layer = layers[len(layers) // 2]
    rows = sorted((row for row in example if row["layer_index"] == layer), key=lambda row: int(row["position"]))
    rows = rows[:MAP_TOKENS]
    shown = routing_map(
        [row["piece"] for row in rows],
        [row["experts"] for row in rows],
        max(sizes),
        f"Experts of the tokens of one text in layer {layer}",
        f"{key}-map",
    )
    said = f"""Routed layer {layer} of {len(layers)}, counted from 0: the experts that each token of the first text \
uses, darker where ranked higher. Horizontal bars are local consistency."""
    return join([tag("h3", "Routing map"), tag("p", said, class_="note"), chart(shown)])


# --- what to keep --------------------------------------------------------------------------------------------------


def _findings(rows: Sequence[Row]) -> Markup | None:
    """Whether there is a skew, and whether a static set is as good as LRU: of the whole trace, and by domain."""
    if not rows:
        return None
    lead = """Judged on texts that the experts were not chosen on; 95 % over texts. What to do about it for a memory \
and a link: ipw experts advise, with this run."""
    cells = [
        [
            row["finding"],
            row["domain"] or "all",
            f"{row['value']:.3f}",
            _interval(row),
            tag("td", clean(row["text"], 300), class_="words"),
        ]
        for row in rows
    ]
    table = grid(["Finding", "Domain", "Value", "95 %", "In words"], cells, "numbers")
    return join([tag("h3", "Which experts to keep"), tag("p", lead, class_="note"), table])


# --- offload --------------------------------------------------------------------------------------------------------


def _offload(found: Sequence[Row], key: str, *, estimated: bool) -> Markup | None:
    shown = offloaded(found)
    if shown is None:
        return None
    joules = "J/token (estimated)" if estimated else "J/token"
    heads = ["Cache", "Experts a layer", "Memory", "Hits", "Expected", "Tokens/s", "Expected", joules, "Expected",
             "Same output"]  # fmt: skip
    table = grid(heads, (_offload_cells(row) for row in found), "numbers")
    lead = """A loader kept so many experts of every layer in fast memory and fetched the others when they were \
chosen. Expected: hits from the routing alone; speed and energy from those hits and the price of a token and of a \
byte, fitted to all rows."""
    one = drawn(shown, f"{key}-offload")
    return join([tag("h3", "Decoding with offloaded experts"), tag("p", lead, class_="note"), one, table])


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
    return MISSING if value is None else f"{100 * value:.1f} %"


def _plain(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4g}"
