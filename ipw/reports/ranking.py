"""Which runs may stand beside one another, and in what order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ipw.metrics.accounting import questions_of
from ipw.metrics.accounting_text import marks
from ipw.metrics.definitions import definition_of
from ipw.metrics.derived import Derived
from ipw.metrics.metric import IMPORTED, Metric, number
from ipw.metrics.stats import in_quadrature
from ipw.printable import clean
from ipw.reports.names import row_names
from ipw.reports.text import MISSING
from ipw.runs.readings import is_estimate
from ipw.runs.recorded import part_of

RANKED_BY = "accuracy_per_joule"
OTHER_QUESTIONS = "other questions"
"""Of a row whose questions are not those of most rows beside it."""
Summary = Mapping[str, Any]


class Row(NamedTuple):
    """One run in a table."""

    position: int
    """Its place among the runs that were given."""
    name: str
    summary: Summary
    metrics: dict[str, Metric]
    rank: int | None
    """`None` for estimates, imports and invalid runs, and where there is nothing to compare with."""
    apart: tuple[str, ...] = ()
    """What sets its questions apart from those of the rows beside it, with how many they are."""

    @property
    def told(self) -> list[str]:
        """All that sets the run apart from one that can be believed, or compared, as it stands."""
        return [*self.apart, *marks(self.summary)]

    @property
    def marked(self) -> str:
        """The name with that behind it."""
        return f"{self.name} ({', '.join(self.told)})" if self.told else self.name


class Group(NamedTuple):
    """Runs of one workload and data set whose joules have the same basis, all measured or all estimated."""

    kind: str
    dataset: str
    basis: str
    estimated: bool
    across_devices: bool
    """Whether the intervals of joules include the sensors' gain, since the rows come from different devices."""
    rows: list[Row]

    @property
    def source(self) -> str | None:
        """The tool that measured the rows, where that was not this one."""
        return self.basis.removeprefix(IMPORTED) if self.basis.startswith(IMPORTED) else None

    @property
    def title(self) -> str:
        """What the rows have in common."""
        made = "Estimated, not measured" if self.estimated else "Measured" if self.basis != MISSING else "No energy"
        basis = f"basis {self.basis}" if self.basis != MISSING else ""
        if self.source:
            made, basis = f"Imported from {self.source}", "estimated, not measured" if self.estimated else ""
        kind = "" if self.kind in {"lm", ""} else self.kind
        parts = [made, basis, ": ".join(part for part in (kind, self.dataset) if part)]
        return " · ".join(part for part in parts if part)


def groups(summaries: Sequence[Summary]) -> list[Group]:
    """Sort runs into groups that can be compared, measurements first and ranked by accuracy per joule."""
    members: dict[tuple[bool, str, str, str], list[int]] = {}
    for index, summary in enumerate(summaries):
        members.setdefault(_key(summary), []).append(index)
    names = row_names(summaries)
    found = []
    for key in sorted(members, key=lambda k: (k[3].startswith(IMPORTED), k[0], k[3] == MISSING, k[1] != "lm", *k)):
        estimated, kind, dataset, basis = key
        across = len({str(summaries[i].get("devices")) for i in members[key]}) > 1
        rows = [Row(i, names[i], summaries[i], _metrics(summaries[i], across=across), None) for i in members[key]]
        rows = _ranked(rows) if not estimated and not basis.startswith(IMPORTED) else _by_level(rows)
        found.append(Group(kind, dataset, basis, estimated, across, _with_questions(rows)))
    return found


def _with_questions(rows: Sequence[Row]) -> list[Row]:
    """Give each row its n, and a mark where its questions are not those of most, if rows were asked other questions."""
    told = [questions_of(row.summary) for row in rows]
    asked = [None if each is None else each.asked for each in told]
    digests = [part_of(row.summary, "dataset").get("questions_digest") for row in rows]
    sets = Counter(digest for digest in digests if isinstance(digest, str))
    if len(rows) < 2 or (len({*asked} - {None}) < 2 and len(sets) < 2 and not any(marks(row.summary) for row in rows)):
        return list(rows)
    usual = sets.most_common(1)[0][0] if sets else None

    def apart(n: int | None, digest: object) -> tuple[str, ...]:
        other = isinstance(digest, str) and digest != usual
        return (*([] if n is None else [f"n {n:,}"]), *([OTHER_QUESTIONS] if other else []))

    return [row._replace(apart=apart(n, digest)) for row, n, digest in zip(rows, asked, digests, strict=True)]


def _by_level(rows: Sequence[Row]) -> list[Row]:
    """Put the runs of one sweep in the order of their requests in flight; all else stays as it was given."""
    firsts: dict[str, int] = {}
    for row in rows:
        identity = Derived(row.summary).series.get("id")
        firsts.setdefault(str(identity) if isinstance(identity, str) else f"{row.position}", row.position)

    def place(row: Row) -> tuple[int, float]:
        run = Derived(row.summary)
        identity = run.series.get("id")
        if not isinstance(identity, str):
            return row.position, 0.0
        return firsts[identity], number(run.parameters.get("concurrency")) or 1.0

    return sorted(rows, key=place)


def clearly_ahead(first: Row, second: Row, name: str = RANKED_BY) -> bool:
    """Whether the intervals of a metric where more is better do not touch: a cautious way to call a winner."""
    low, high = number(first.metrics.get(name, {}).get("low")), number(second.metrics.get(name, {}).get("high"))
    return low is not None and high is not None and low > high


def _key(summary: Summary) -> tuple[bool, str, str, str]:
    workload = Derived(summary).workload
    dataset = part_of(workload, "parameters").get("dataset") or ""
    estimated = is_estimate(summary.get("method"))
    return estimated, str(workload.get("kind", "")), clean(dataset, 60), clean(summary.get("basis") or MISSING, 40)


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Put valid rows in order and number them, where there is more than one; the others come behind."""
    values = [number(row.metrics.get(RANKED_BY, {}).get("value")) for row in rows]
    fit = [
        (value, row) for value, row in zip(values, rows, strict=True) if value is not None and row.summary.get("valid")
    ]
    fit.sort(key=lambda pair: -pair[0])
    numbered = [row._replace(rank=place if len(rows) > 1 else None) for place, (_, row) in enumerate(fit, start=1)]
    placed = {row.position for row in numbered}
    return numbered + [row for row in rows if row.position not in placed]


def _metrics(summary: Summary, *, across: bool) -> dict[str, Metric]:
    found = Derived(summary).metrics
    metrics = {name: dict(entry) for name, entry in found.items() if isinstance(entry, dict)}
    return {name: _with_gain(name, entry) for name, entry in metrics.items()} if across else metrics


def _with_gain(name: str, entry: Metric) -> Metric:
    """Put the sensor's gain into an interval of joules; an estimate's holds it already."""
    value, low, high, gain = (number(entry.get(key)) for key in ("value", "low", "high", "gain_rel"))
    definition = definition_of(name)
    if definition is None or not definition.is_energy or is_estimate(entry.get("method")):
        return entry
    if value is None or low is None or high is None or gain is None:
        return entry
    low, high = in_quadrature(value, value - low, high - value, gain)
    return entry | {"low": low, "high": high}
