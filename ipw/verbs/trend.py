"""`ipw trend RUN…`: one metric over stored runs, what was expected of the last one, and where the level stepped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ipw.errors import UsageError
from ipw.gate.trend import Prediction, Step, predict, steps
from ipw.metrics.accounting_text import marks
from ipw.metrics.definitions import Definition, definition_of, definitions_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.reports.charts.plot import Value
from ipw.reports.ranking import Summary
from ipw.runs.owner import BusyError
from ipw.studies.chosen import Chosen, chosen
from ipw.verbs.common.options import JSON, TOML
from ipw.verbs.common.several import readable

SCHEMA_VERSION = 1
ALPHA = 0.05
Entry = dict[str, Any]
"""`run_id`, `started`, `marks` (what sets it apart), `value`, `low`, `high`."""


def trend(*, runs: Sequence[Path], metric: str | None, chart: Path | None, as_json: bool) -> int:
    """Show a metric over time; runs that are invalid, lack it or cannot be read are left out and named."""
    from ipw.metrics.summary import stored_summary
    from ipw.pipeline import derive

    summaries, busy = [], []

    def read(one: Chosen) -> None:
        run = one.open()
        started = str(run.manifest().get("started") or "")
        try:
            summaries.append((started, stored_summary(run) or derive(run)))
        except BusyError as error:  # it is still being measured
            busy.append({"run_id": run.path.name, "started": started or None, "reason": error.message})

    _, code = readable(chosen(runs), read)
    summaries.sort(key=lambda each: each[0])
    busy.sort(key=lambda each: str(each["started"]))
    if not summaries:
        raise UsageError("none of the runs has ended", "ipw watch")
    _check_alike([summary for _, summary in summaries])
    definition = _definition(metric, summaries[-1][1])
    estimated = definition.is_energy and any(Derived(summary).is_estimated for _, summary in summaries)
    entries, left_out = _entries(summaries, definition.name)
    left_out += busy
    if len(entries) < 2:
        why = f": {left_out[0]['run_id']}: {left_out[0]['reason']}" if left_out else ""
        raise UsageError(f"a trend of {definition.name} needs two runs that have it{why}")
    values = [entry["value"] for entry in entries]
    earlier = steps(values[:-1])
    since = earlier[-1].at if earlier else 0
    expected, found = predict(values[since:-1], ALPHA), steps(values)
    if chart is not None:
        _draw(chart, definition, entries, found, expected, estimated=estimated)
    if as_json:
        told = _document(definition, summaries[-1][1], entries, left_out, found, expected)
        click.echo(json.dumps(told | {"estimated": estimated}))
    else:
        _show(definition, entries, left_out, found, expected, estimated=estimated)
    return code


def _check_alike(summaries: Sequence[Summary]) -> None:
    def dataset(summary: Summary) -> object:
        return Derived(summary).parameters.get("dataset")

    def kind(summary: Summary) -> object:
        return Derived(summary).kind

    def basis(summary: Summary) -> object:
        return summary.get("basis")

    for what, read in (("bases", basis), ("workloads", kind), ("data sets", dataset)):
        told = sorted({str(read(summary) or "none") for summary in summaries})
        if len(told) > 1:
            raise UsageError(f"the runs are of different {what}: {', '.join(told)}", "show those of one kind")


def _definition(metric: str | None, summary: Summary) -> Definition:
    has = Derived(summary).metrics
    name = metric or ("energy_per_query_j" if "energy_per_query_j" in has else "energy_j")
    found = definition_of(name)
    if found is None:
        raise UsageError(f"there is no metric {name!r}", f"one of {', '.join(definitions_of(Derived(summary).kind))}")
    return found


def _entries(summaries: Sequence[tuple[str, Summary]], name: str) -> tuple[list[Entry], list[Entry]]:
    entries, left_out = [], []
    for started, summary in summaries:
        entry = Derived(summary).metric(name)
        value = number(entry.get("value"))
        about = {"run_id": summary.get("run_id"), "started": started or None, "marks": marks(summary)}
        if not summary.get("valid"):
            left_out.append(about | {"reason": "the measurement is not valid"})
        elif value is None or value <= 0:
            left_out.append(about | {"reason": str(entry.get("reason") or f"no positive {name}")})
        else:
            entries.append(about | {"value": value, "low": number(entry.get("low")), "high": number(entry.get("high"))})
    return entries, left_out


def _outside(entries: Sequence[Entry], expected: Prediction | None) -> str | None:
    last = entries[-1]["value"]
    if expected is None or expected.low <= last <= expected.high:
        return None
    return "higher" if last > expected.high else "lower"


def _document(
    definition: Definition,
    summary: Summary,
    entries: list[Entry],
    left_out: list[Entry],
    found: Sequence[Step],
    expected: Prediction | None,
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "metric": definition.name,
        "unit": definition.unit,
        "better": definition.better,
        "basis": summary.get("basis"),
        "runs": entries,
        "left_out": left_out,
        "expected": expected._asdict() if expected else None,
        "reason": None if expected else "too few runs at this level to expect anything of the last one",
        "last_is": _outside(entries, expected),
        "steps": [{"run_id": entries[step.at]["run_id"], "change": step.change, **step._asdict()} for step in found],
    }


def _draw(
    chart: Path,
    definition: Definition,
    entries: Sequence[Entry],
    found: Sequence[Step],
    expected: Prediction | None,
    *,
    estimated: bool,
) -> None:
    from ipw.gate.trend_chart import trend_chart
    from ipw.runs.files import replacing

    values = [
        Value(e["value"], e["value"] if e["low"] is None else e["low"], e["value"] if e["high"] is None else e["high"])
        for e in entries
    ]
    with replacing(chart, "is there such a folder?") as file:
        file.write(str(trend_chart(definition, values, found, expected, "trend", estimated=estimated)).encode())


def _show(
    definition: Definition,
    entries: Sequence[Entry],
    left_out: Sequence[Entry],
    found: Sequence[Step],
    expected: Prediction | None,
    *,
    estimated: bool,
) -> None:
    from rich.text import Text

    from ipw.printable import clean
    from ipw.reports.tables.fitted import fitted
    from ipw.reports.text import quantity, scale_for
    from ipw.verbs.common.terminal import output

    out = output()
    scale = scale_for(definition.unit, [entry["value"] for entry in entries])
    at = {step.at: step for step in found}
    label, digits = (f"{definition.label} (estimated)", 0) if estimated else (definition.label, 1)
    rows = []
    for index, entry in enumerate(entries):
        step = f"{100 * at[index].change:+.{digits}f} % (p = {at[index].p:.2g})" if index in at else ""
        shown = "\n".join([quantity(entry | {"unit": definition.unit}, scale), *entry["marks"]])
        rows.append([*map(Text, (clean(entry["run_id"], 60), clean(entry["started"] or "", 20), shown, step))])
    out.print(definition.formula, markup=False)
    heads = [Text(head) for head in ("run", "started", label, "step")]
    for line in fitted(heads, rows, out.width, drop=[1], left=[1, 2, 3]):
        out.print(line)
    for entry in left_out:
        out.print(f"left out: {clean(entry['run_id'], 60)}: {clean(entry['reason'])}", markup=False, soft_wrap=True)
    if expected is None:
        out.print("too few runs at this level to expect anything of the last one", markup=False)
        return
    if estimated:
        out.print("mind: estimated from load, not measured: a step may be the load of the machine", markup=False)
    bounds = [f"{scale.factor * end:.4g}" for end in (expected.low, expected.high)]
    judged = _outside(entries, expected)
    told = f"the last run is {judged} than expected" if judged else "the last run is as expected"
    out.print(
        f"{told}: {bounds[0]} to {bounds[1]} {scale.unit} (95 %, from the runs before it)", markup=False, soft_wrap=True
    )


@click.command("trend")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--metric", help="Default: energy_per_query_j, or energy_j where there are no queries.")
@click.option("--chart", type=TOML, help="Write the chart to this SVG file.")
@JSON
def command(**options: Any) -> int:
    """One metric over stored runs: what was expected of the last one, and where the level stepped."""
    return trend(**options)
