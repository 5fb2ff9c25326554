"""The parts of a page that say how its numbers came about: machine, sensors, checks, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipw.metrics.definitions import definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import mappings, number, sensors
from ipw.printable import clean
from ipw.reports.markup import Markup, join, remedy, tag
from ipw.reports.page.results import grid, origin, section, swatch
from ipw.reports.ranking import Group
from ipw.reports.text import MISSING, interval_text, is_count, scale_for, value_text
from ipw.reports.view import View, workload_of
from ipw.runs.recorded import Recorded

INTERVALS = """Intervals hold the truth in 95 of 100 cases. Those of means and of ratios of means come from one \
bootstrap over queries for all metrics, 2000 replicates with a fixed seed, with the error of measurement in it. Energy \
that one query has too much its neighbour has too little, so all of them together are known better than each. Accuracy \
has Wilson's interval; percentiles are bounded by order statistics."""
GAIN = """A sensor's gain is common to the whole run: it is kept apart in runs on one device, and is part of the \
intervals where rows come from different devices, and of every estimate."""
FAILURES = """A query that failed or gave no answer scores 0 and stays in the denominator, with the joules that it \
took. Below resolution means that the measurement's own interval is wider than the value: only a bound is shown."""


def all_metrics(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Every metric of every run, with how it was made."""
    parts = [_folded(view, _metric_table(view), only=len(views) == 1) for view in views]
    lead = "Each with its 95 % interval, the count behind it, and where it comes from; or why it is missing."
    return section("metrics", "All metrics", *parts, lead=lead) if parts else None


def _metric_table(view: View) -> Markup:
    rows = []
    defined = definitions_of(Recorded(view.summary).kind)
    for name, entry in Derived(view.summary).metrics.items():
        metric, definition = entry, defined.get(name)
        counted = is_count(metric)
        scale = scale_for(str(metric.get("unit", "")), [number(metric.get(k)) for k in ("value", "high")][:1])
        value = value_text(metric, scale)
        unit = str(metric.get("unit") or "") if counted else scale.unit
        made = [str(x) for x in (metric.get("method"), metric.get("interval"), metric.get("reason")) if x]
        gain = number(metric.get("gain_rel"))
        if gain is not None and number(metric.get("value")) is not None:
            made.append(f"gain ±{100 * gain:.3g} %{' included' if view.estimated else ' apart'}")
        rows.append(
            [
                tag(
                    "th", definition.label if definition else name, scope="row", title=origin(name, metric, definition)
                ),
                tag("td", value, f" {unit}" if unit and value != MISSING else ""),
                tag("td", interval_text(metric, scale)),
                tag("td", MISSING if metric.get("n") is None else f"{number(metric.get('n')) or 0:,.0f}"),
                tag("td", "; ".join(made), class_="words"),
            ]
        )
    return grid(["Metric", "Value", "95 % interval", "n", "How"], rows, "numbers plain told")


def measured_how(views: Sequence[View], _found: Sequence[Group]) -> Markup | None:
    """Machine, model, settings, sensors and checks of every run."""
    only = len(views) == 1
    parts = [_folded(view, _facts(view), _checks(view), _sensors(view), only=only) for view in views]
    return section("measurement", "How it was measured", *parts) if parts else None


def _folded(view: View, *parts: object, only: bool) -> Markup:
    """Put a run's part behind its name, open where it is the only run."""
    named = tag("summary", swatch(view), tag("bdi", view.name))
    return tag("details", named, *parts, open="" if only else None)


def _facts(view: View) -> Markup:
    manifest, model = view.manifest, view.manifest.get("model")
    host = Recorded(manifest).host
    settings = {k: v for k, v in workload_of(view).items() if v is not None}
    memory = number(host.get("memory_bytes"))
    threads = f"{host['threads']} threads" if host.get("threads") else None
    size = f"{memory / 2**30:.0f} GiB" if memory else None
    machine = [host.get("cpu"), threads, size, host.get("system"), host.get("virtualisation")]
    facts = [
        ("Run", manifest.get("run_id") or view.directory),
        ("Label", manifest.get("label")),
        ("Command", manifest.get("command_line")),
        ("Started", manifest.get("started")),
        ("Status", " ".join(str(manifest[k]) for k in ("status", "status_reason") if manifest.get(k))),
        ("Model", _pairs(model) if isinstance(model, dict) else model),
        ("Settings", _pairs(settings)),
        ("Machine", ", ".join(str(x) for x in machine if x)),
        ("Host", host.get("name")),
        ("Software", _pairs(Recorded(manifest).software)),
        ("Basis", f"{manifest.get('basis')}, {view.summary.get('method')}" if manifest.get("basis") else "none"),
        ("Attribution", Recorded(manifest).attribution.get("rule")),
    ]
    return tag("dl", *(join([tag("dt", name), tag("dd", clean(value, 600))]) for name, value in facts if value))


def _pairs(items: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_brief(value)}" for key, value in items.items() if value is not None and value != "")


def _brief(value: object) -> str:
    if isinstance(value, list):
        return clean(" ".join(map(str, value)), 120)
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000
        else clean(value, 120)
    )


def _checks(view: View) -> Markup | None:
    checks = mappings(view.summary.get("validity"))
    if not checks:
        return None
    rows = []
    for check in checks:
        failed = not check.get("ok")
        verdict = "passed" if not failed else "failed" if check.get("level", "error") == "error" else "warning"
        rows.append([check.get("check"), tag("td", verdict, class_=verdict), check.get("detail")])
    return join([tag("h4", "Checks"), grid(["Check", "Result", "Detail"], rows, "words")])


def _sensors(view: View) -> Markup | None:
    rows = []
    for channel in sensors(view.manifest):
        if channel.get("kind") == "gauge" and channel.get("status") == "ok":
            continue
        used = "in the total" if channel.get("in_total") else "read" if "index" in channel else ""
        status = str(channel.get("status", ""))
        hint = remedy(str(channel["hint"])) if channel.get("hint") else None
        reason = " ".join(str(channel[key]) for key in ("reason", "note") if channel.get(key))
        rows.append(
            [
                tag("td", channel.get("name"), tag("small", clean(channel.get("device") or "", 80))),
                f"{channel.get('kind')}, {channel.get('scope')}",
                tag("td", used or status, class_="passed" if status == "ok" else "warning"),
                tag("td", reason, " " if hint else "", hint),
            ]
        )
    if not rows:
        return None
    return join([tag("h4", "Sensors"), grid(["Channel", "What", "Status", "Reason and remedy"], rows, "words")])


def definitions(views: Sequence[View], _found: Sequence[Group]) -> Markup:
    """What every metric means and how intervals are made."""
    kinds = dict.fromkeys(Derived(view.summary).kind for view in views)
    known = dict.fromkeys(d for kind in kinds for d in definitions_of(kind).values())
    rows = [[tag("th", d.label, scope="row"), tag("td", d.unit or "%"), tag("td", d.formula)] for d in known]
    table = grid(["Metric", "Unit", "Definition"], rows, "words")
    texts = [tag("p", text) for text in (INTERVALS, GAIN, FAILURES)]
    return section(
        "definitions", "How each number is made", *texts, tag("details", tag("summary", "Definitions"), table)
    )
