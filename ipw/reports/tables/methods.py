"""Training methods side by side: which figures are shown, in which units, on the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.reports.text import Scale, interval_text, scale_for, spread_text, value_text
from ipw.runs.recorded import is_estimate, part_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Summary = Mapping[str, Any]
LOSS = Scale(1.0, "loss")


class MethodColumn(NamedTuple):
    """One figure, in one unit for all methods."""

    name: str
    label: str
    scale: Scale

    def metric(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find a method's figure; one without a value where it has none."""
        return part_of(part_of(entry, "metrics"), self.name) or {
            "value": None,
            "reason": "no step was finished",
        }

    def value(self, entry: Mapping[str, Any]) -> str:
        """Write it, without the unit."""
        return value_text(self.metric(entry), self.scale)

    def interval(self, entry: Mapping[str, Any]) -> str:
        """Write its interval, if it has one."""
        return interval_text(self.metric(entry), self.scale)

    def spread(self, entry: Mapping[str, Any]) -> str:
        """Write the larger side of its interval, if it has one."""
        return spread_text(self.metric(entry), self.scale)


def methods_of(summary: Summary) -> Mapping[str, Mapping[str, Any]]:
    """Entries of a run's methods by name; none for other workloads."""
    return Derived(summary).by_method


def columns(methods: Mapping[str, Mapping[str, Any]]) -> list[MethodColumn]:
    """Choose figures and units that suit all methods."""
    entries = list(methods.values())
    rate = "tokens_per_s" if any(_value(entry, "tokens_per_s") is not None for entry in entries) else "samples_per_s"
    target = next((t for entry in entries if (t := number(entry.get("target_loss"))) is not None), None)
    shown = [
        ("energy_per_step_j", "Step", "J"),
        ("step_time_s", "Step time", "s"),
        (rate, rate.partition("_")[0].capitalize(), "1/s"),
        ("training_memory_bytes", "Memory", "B"),
        ("final_loss", "Held-out", "loss"),
        ("energy_to_target_loss_j", f"To loss {target:.3g}" if target is not None else "To a loss", "J"),
    ]
    return [
        MethodColumn(name, label, _scale(unit, [_value(entry, name) for entry in entries]))
        for name, label, unit in shown
    ]


def training_table(summary: Summary, console: Console) -> None:
    """Print one line a method, fit for 80 columns, with the larger side of each interval below the value."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    methods = methods_of(summary)
    if not methods:
        return
    estimated = is_estimate(summary.get("method"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(Text("Method"), overflow="fold", min_width=14)
    shown = columns(methods)
    for column in shown:
        heading = Text(f"{column.label}\n").append(column.scale.unit, style="not bold dim")
        if estimated and column.name.startswith("energy"):
            heading.append("\nestimated", style="yellow")
        table.add_column(heading, justify="right", no_wrap=True)
    for name, entry in methods.items():
        table.add_row(Text(clean(name, 24)), *(_cell(column, entry) for column in shown))
    console.print(table)
    for name, entry in methods.items():
        if entry.get("reason"):
            console.print(Text(f"{clean(name, 24)}: {clean(entry['reason'])}", style="dim"))


def _cell(column: MethodColumn, entry: Mapping[str, Any]) -> Text:
    from rich.text import Text

    cell, spread = Text(column.value(entry)), column.spread(entry)
    return cell.append(f"\n{spread}", style="dim") if spread else cell


def _scale(unit: str, values: list[float | None]) -> Scale:
    if unit == "B":
        return Scale(1e-6, "MB")
    return LOSS if unit == "loss" else scale_for(unit, values)


def _value(entry: Mapping[str, Any], name: str) -> float | None:
    return number(part_of(part_of(entry, "metrics"), name).get("value"))
