"""Parts of one data set, measured on several machines, put together as one run: sums of joules and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipw.errors import IpwError, UsageError
from ipw.runs.arrivals import ARRIVALS
from ipw.runs.arrivals_file import ArrivalsFile
from ipw.runs.checks.record import held, ids_digest
from ipw.runs.checks.survey import recorded, survey_raw
from ipw.runs.checks.tries import CUT_OFF, counted, replaced
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.runs.journal import Journal
from ipw.runs.readings import READINGS, STATUS_CODES
from ipw.runs.recorded import Recorded

GAP_NS = 60_000_000_000
"""Between two parts: nobody knows what was drawn then, and nothing of it is counted."""
OWN = frozenset({"shard", "limit", "seed", "base_url", "serve", "max_failed_percent"})
"""Parameters in which parts of one data set may differ."""
NOT_GIVEN = json.dumps(None)
"""Of an option that an earlier version did not have."""


def merge_runs(parts: Sequence[RunDir], out: Path, *, mismatched: bool = False) -> RunDir:
    """Put the parts one behind the other on one axis of time, in the order given; times of each keep their distances.

    Raises UsageError where the parts are not of one study, or, unless `mismatched`, not of one model and data set;
    IpwError where the record of one cannot be believed.
    """
    if len(parts) < 2:
        raise UsageError("there is nothing to merge", "ipw merge RUN RUN …")
    manifests = [Recorded.of(part) for part in parts]
    _check(parts, manifests, mismatched=mismatched)
    for part, each in zip(parts, manifests, strict=True):
        if faults := held(each.entries, survey_raw(part)).errors:
            raise IpwError(f"the record of {part} cannot be believed: {faults[0]}", "leave it out, or measure it again")
    merged = RunDir.create(out, f"merged-{parts[0].path.name.partition('-')[2] or 'run'}")
    blocks = []
    end_ns: int | None = None
    with Journal(merged) as journal, ArrivalsFile(merged, journal) as arrivals:
        for part in parts:
            begin, size = arrivals.take(part.path / ARRIVALS)
            readings = part.readings().copy()
            first_ns, last_ns = _extent(part, readings)
            shift_ns = 0 if end_ns is None else end_ns + GAP_NS - first_ns
            gone, row = replaced(part), -1
            for record in part.journal():
                kind = record.pop("kind")
                row += kind == "query"
                if "arrivals" in record:
                    record["arrivals"] = begin + at if (at := record["arrivals"]) is not None and at < size else None
                # A try that was replaced in its part says here only what the devices were busy with.
                journal.append(CUT_OFF if kind == "query" and row in gone else kind, shifted(record, shift_ns))
            readings["t_ns"] += shift_ns
            blocks += [readings, _lost(readings)]
            end_ns = last_ns + shift_ns
    with replacing(merged.path / READINGS, durable=True) as file:
        file.write(np.concatenate(blocks).tobytes())
    manifest = _manifest(merged, parts, manifests, end_ns)
    recorded_then = recorded(merged, sum(block.size for block in blocks))
    merged.write_manifest(manifest | {"recorded": recorded_then, "mismatched": mismatched})
    return merged


def shifted(record: Mapping[str, Any], shift_ns: int) -> dict[str, Any]:
    """Move all moments of a journal record: every name that ends in `_ns` is one, or a list of them."""
    return {name: _moved(value, shift_ns) if name.endswith("_ns") else value for name, value in record.items()}


def _moved(value: Any, shift_ns: int) -> Any:
    if isinstance(value, list):
        return [_moved(each, shift_ns) for each in value]
    return value + shift_ns if isinstance(value, int) else value


def _extent(part: RunDir, readings: np.ndarray[Any, Any]) -> tuple[int, int]:
    """First and last moment of a part."""
    marks = [(span["start_ns"], span["end_ns"]) for span in part.journal("span")]
    times = [t for mark in marks for t in mark] + [int(t) for t in readings["t_ns"][[0, -1]]] * bool(readings.size)
    if not times:
        raise UsageError(f"{part} holds nothing that could be merged", "ipw list runs")
    return min(times), max(times)


def _lost(readings: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A record for each channel that it was lost where the part ends."""
    last = [readings[readings["channel"] == index][-1:] for index in np.unique(readings["channel"])]
    ends = np.concatenate([readings[:0], *last])
    ends["t_ns"] += 1
    ends["value"], ends["status"] = np.nan, STATUS_CODES["lost"]
    return ends


def _manifest(
    merged: RunDir, parts: Sequence[RunDir], manifests: Sequence[Recorded], end_ns: int | None
) -> dict[str, Any]:
    """The first part's, with what all parts say together."""
    derived = {"attribution", "attribution_reason", "ended_ns", "process", "resumed", "progress"}
    derived |= {"arrivals", "server_metrics", "server_counts", "client"}
    kept = {name: value for name, value in manifests[0].entries.items() if name not in derived}
    hosts = list(dict.fromkeys(str(each.host.get("name")) for each in manifests))
    sensors = [dict(channel) for channel in manifests[0].sensors]
    for channel in sensors:
        devices = [c.get("device") for each in manifests for c in each.sensors if c.get("name") == channel["name"]]
        channel["device"] = "; ".join(dict.fromkeys(str(device) for device in devices if device)) or None
    unfinished = ", ".join(sorted({str(each.status) for each in manifests} - {"complete"}))
    questions = sum(int(each.dataset.get("questions") or 0) for each in manifests)
    clients = [part for each in manifests for part in each.entries.get("client") or []]
    outages = [each.entries["outage"] for each in manifests if each.entries.get("outage")]
    return kept | {
        **({"outage": outages[0]} if outages else {}),
        **({"client": clients} if clients else {}),
        "run_id": merged.path.name,
        "status": "interrupted" if unfinished else "complete",
        "status_reason": f"a part is {unfinished}" if unfinished else None,
        "host": {**manifests[0].host, "name": ", ".join(hosts)},
        "sensors": sensors,
        "dataset": {**manifests[0].dataset, "questions": questions, "ids_digest": ids_digest(_ids(parts))},
        "sampler": _samplers([each.sampler for each in manifests]),
        "anchors": kept.get("anchors", [])[:1],
        "ended_ns": end_ns,
        "merged": [
            {"run_id": each.run_id, "path": str(part), "host": each.host.get("name"),
             "started": each.entries.get("started")}
            for part, each in zip(parts, manifests, strict=True)
        ],
    }  # fmt: skip


def _samplers(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what the samplers counted."""
    names = dict.fromkeys(name for one in each for name, value in one.items() if type(value) in {int, float})
    sums = {name: sum(one.get(name) or 0 for one in each) for name in names}
    return dict(each[0]) | sums


# --- whether they belong together -----------------------------------------------------------------------------------


def _check(parts: Sequence[RunDir], manifests: Sequence[Recorded], *, mismatched: bool) -> None:
    kinds = [each.kind for each in manifests]
    for part, kind in zip(parts, kinds, strict=True):
        if kind != "lm":
            raise UsageError(f"{part} holds the workload {kind!r}", "language-model runs can be merged")
    for what, values in (("basis", [each.basis for each in manifests]),
                         ("channels", [_channels(each) for each in manifests])):  # fmt: skip
        if any(value != values[0] for value in values):
            told = " and ".join(sorted({str(value) for value in values}))
            raise UsageError(f"the {what} of the runs differ: {told}", "joules of one kind can be added up")
    if mismatched:
        return
    for path, what, one, other in _mismatches(parts, manifests):
        hint = "merge runs of one study, or say --mismatched"
        raise UsageError(f"{path} differs from {parts[0].path} in {what}: {other!r}, not {one!r}", hint)
    ids = _ids(parts)
    if len(ids) > len(set(ids)):
        twice = len(ids) - len(set(ids))
        raise UsageError(
            f"{twice} questions are in more than one run", "merge shards of a data set, or say --mismatched"
        )


def _ids(parts: Sequence[RunDir]) -> list[str]:
    return [str(query.get("query_id")) for part in parts for query in counted(part)]


def _mismatches(parts: Sequence[RunDir], manifests: Sequence[Recorded]) -> Iterator[tuple[Path, str, Any, Any]]:
    """What identifies the model, the data set and the way of asking, where a part has it otherwise than the first."""
    first = _identity(manifests[0])
    for part, each in zip(parts, manifests, strict=True):
        for what, value in _identity(each).items():
            if value != first.get(what, NOT_GIVEN):
                yield part.path, what, first.get(what), value


def _identity(part: Recorded) -> dict[str, Any]:
    options = {name: json.dumps(value) for name, value in part.parameters.items() if name not in OWN}
    return {
        "the model's name": part.model.get("name"),
        "the model's digest": part.model.get("digest"),
        "the data set's digest": part.dataset.get("digest"),
        "the scorer": part.dataset.get("scorer"),
        **{f"--{name.replace('_', '-')}": value for name, value in options.items()},
    }


def _channels(part: Recorded) -> list[tuple[str, int, bool]]:
    return [(c["name"], c["index"], bool(c.get("in_total"))) for c in part.sensors if "index" in c]
