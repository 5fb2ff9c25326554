"""Tables of a diffusion run of one method: every answer with its share of the energy, and what each step did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.queries.phases import Ints, query_spans
from ipw.attribution.queries.tables import query_energy, query_parts, read_finished, span_parts
from ipw.attribution.queries.windows import Window, measured_windows
from ipw.attribution.run import Attributed, attribute_run, unread
from ipw.energy.curve import coverage, energy_between, lost_j
from ipw.energy.timeline import Spans
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.workloads.diffusion.run import OTHERS

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]
STEPS = "diffusion_steps"


def derive_diffusion(run: RunDir) -> None:
    """Write `queries.parquet`, `spans.parquet` and `diffusion_steps.parquet`, and the totals to the manifest."""
    recorded = Recorded.of(run)
    finished, records, marked = read_finished(run), list(counted(run)), list(run.journal("span"))
    later = {record["query_id"]: record["agrees"] for record in run.journal("agreement")}
    records = [record | {"agrees": later.get(record.get("query_id"), record.get("agrees"))} for record in records]
    windows = measured_windows(marked, finished.timing)
    computed = np.array([sum(record.get("computed") or ()) for record in records], np.float64)
    spans = replace(query_spans(finished.timing), work=computed)
    others = [(int(s["start_ns"]), int(s["end_ns"])) for s in marked if s.get("phase") == OTHERS]
    attributed = _attributed(recorded, spans, windows, others) if windows else None
    run.update_manifest(
        attribution=attributed.facts if attributed else None,
        attribution_reason=None if attributed else unread(recorded) if windows else "the measured window holds nothing",
    )
    columns = query_energy(finished.timing, spans, attributed) | pass_columns(records)
    run.write_parts("queries", query_parts(run, columns, finished.kept, parsed=finished.parsed))
    run.write_parts("spans", span_parts(recorded, finished.query_id, marked, spans, attributed))
    run.write_table(STEPS, steps_table(records))


def pass_columns(records: Sequence[Record]) -> dict[str, npt.NDArray[np.float64]]:
    """What an answer's forward passes did, a row an answer; NaN for one that failed."""

    def column(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
        return np.array([np.nan if value is None else float(value) for value in values])

    ok = [record if record.get("status") == "ok" else {} for record in records]
    forwards = column([record.get("forwards") for record in ok])
    committed, computed = (column([_sum(record.get(name)) for record in ok]) for name in ("committed", "computed"))
    positions = column([record.get("positions") for record in ok])
    length = positions - column([record.get("prompt_tokens") for record in ok])
    agrees = column([record.get("agrees") for record in ok])
    found = {
        "forwards": forwards,
        "committed": committed,
        "computed": computed,
        "computable": forwards * positions,
        "answer_length": length,
        "spared": length - forwards,
        "agrees": agrees,
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        found["computed_share"] = computed / found["computable"]
        found["tokens_per_forward"] = committed / forwards
    return found


def _sum(values: Sequence[float] | None) -> float | None:
    return None if values is None else float(sum(values))


def steps_table(records: Sequence[Record]) -> pa.Table:
    """For each step by its number: answers still being written, and means over those of what the step did."""
    import pyarrow as pa

    ok = [record for record in records if record.get("status") == "ok" and record.get("committed")]
    most = max((len(record["committed"]) for record in ok), default=0)
    running = np.zeros(most, np.int64)
    sums = {name: np.zeros(most) for name in ("committed", "computed", "sure", "masked")}
    told = np.zeros(most, np.int64)
    for record in ok:
        steps = len(record["committed"])
        running[:steps] += 1
        sums["committed"][:steps] += record["committed"]
        sums["computed"][:steps] += record["computed"]
        left = record["positions"] - record["prompt_tokens"] - np.cumsum([0, *record["committed"][:-1]])
        sums["masked"][:steps] += left
        sure = np.array([np.nan if one is None else one for one in record.get("sure") or [None] * steps])
        told[:steps] += np.isfinite(sure)
        sums["sure"][:steps] += np.nan_to_num(sure)
    means = {f"mean_{name}": total / running for name, total in sums.items() if name != "sure"}
    sure_mean = np.divide(sums["sure"], told, out=np.full(most, np.nan), where=told > 0)
    # Answers that are whole have no masks left: the mean over all answers is what a chart of masks shows.
    means["mean_masked_of_all"] = sums["masked"] / max(len(ok), 1)
    columns = {"step": np.arange(most), "running": running, **means, "mean_confidence": sure_mean}
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})


def _attributed(
    recorded: Recorded, spans: Spans, windows: Sequence[Window], others: Sequence[Window]
) -> Attributed | None:
    """Attribute the time from the first turn to the last to all answers, and tell what the run's own turns drew.

    Turns of other methods lie between them: those are spans of their own, and their joules are nobody's here. So are
    the moments of its own turns in which no answer was being written, whose joules the method does bear.
    """
    whole = windows[0][0], windows[-1][1]
    inside = [each for each in others if each[0] >= whole[0] and each[1] <= whole[1]]
    count = spans.owner.size
    found = attribute_run(recorded, _with(spans, between(windows, spans), inside), whole)
    if found is None:
        return None
    turns = attribute_run(recorded, _turns(windows, inside), whole)
    assert turns is not None
    first = found.first(count, count)
    attributed, idle = float(first.owners.energy_j.sum()), float(found.owners.energy_j[count])
    measured = attributed + idle
    # How far a sum over turns may be off is told by turns as a whole: errors of neighbouring answers cancel.
    errors = [float(abs(turns.owners.energy_j[0] - bound[0])) for bound in (turns.owners.low_j, turns.owners.high_j)]
    seconds = np.array([(end - start) / 1e9 for start, end in windows])
    channels = {name: curve for name, curve in recorded.curves.items() if curve.t_ns.size}
    names = [name for name in found.facts["channels"] if name in channels]
    total = [c["name"] for c in recorded.in_total if c["name"] in channels]
    starts, ends = ([window[k] for window in windows] for k in (0, 1))
    covers = [min(coverage(channels[name], *window)[0] for name in total) for window in windows]
    covered_s = float(np.array(covers) @ seconds)
    facts = found.facts | {
        "window_ns": list(whole),
        "windows_ns": [list(window) for window in windows],
        "coverage": covered_s / float(seconds.sum()) if found.facts["coverage"] else 0.0,
        "mean_power_w": measured / covered_s if covered_s else None,
        "measured_j": measured,
        "measured_error_j": errors,
        "lost_j": sum(lost_j(channels[name], *window) for name in total for window in windows),
        "attributed_j": attributed,
        "idle_j": idle,
        "channels": {name: float(energy_between(channels[name], starts, ends)[0].sum()) for name in names},
    }
    return first._replace(facts=facts)


def between(windows: Sequence[Window], spans: Spans) -> list[Window]:
    """List the stretches of the windows in which no span is: harness, and what a batch waits for."""
    found = []
    order = np.argsort(spans.start_ns, kind="stable")
    starts, ends = spans.start_ns[order], np.maximum.accumulate(spans.end_ns[order])
    for first, last in windows:
        mine = slice(np.searchsorted(starts, first), np.searchsorted(starts, last))
        edges = [first, *np.stack([starts[mine], ends[mine]], axis=1).ravel().tolist(), last]
        found += [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
    return found


def _with(spans: Spans, gaps: Sequence[Window], others: Sequence[Window]) -> Spans:
    """Put behind the answers the gaps between them, which are one owner, and the turns of other methods, another."""
    starts, ends = _ints([*gaps, *others])
    count = spans.owner.size
    whose = np.array([0] * len(gaps) + [1] * len(others), np.int64)
    return Spans(
        start_ns=np.concatenate([spans.start_ns, starts]),
        end_ns=np.concatenate([spans.end_ns, ends]),
        phase=np.concatenate([spans.phase, len(spans.phases) + whose]),
        phases=(*spans.phases, "between", OTHERS),
        owner=np.concatenate([spans.owner, count + whose]),
        work=np.concatenate([spans.work, (ends - starts).astype(np.float64)]),
        owners=count + 2,
    )


def _turns(mine: Sequence[Window], others: Sequence[Window]) -> Spans:
    """All turns as spans of two owners: 0 is the run's own method."""
    starts, ends = _ints([*mine, *others])
    whose = np.array([0] * len(mine) + [1] * len(others), np.int64)
    return Spans(starts, ends, whose, ("measure", OTHERS), whose, (ends - starts).astype(np.float64), owners=2)


def _ints(windows: Sequence[Window]) -> tuple[Ints, Ints]:
    pairs = np.array(windows, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
