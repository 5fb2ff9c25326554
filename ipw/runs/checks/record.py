"""Whether what is on disk is what the run left: its record, held against its manifest. Pure functions.

The manifest says how many questions were to be asked and which, how the run ended, how long the journal was then and
its digest, and how many readings the sampler wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.registry import answers_questions, workload
from ipw.runs.recorded import Recorded, part_of

Ints = npt.NDArray[np.int64]
NEAR_NS = 1000
"""Times went through floating-point numbers on their way here."""
NO_DIGESTS = "it was written by an ipw that kept no digests: a change of its files could not be seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies in a run's folder."""

    journal: Mapping[str, Any]
    """`bytes` and `sha256` of the journal."""
    lines: Mapping[str, int]
    """Whole lines of the journals, by kind."""
    damaged: int = 0
    """Lines that are not whole."""
    unknown: Collection[str] = ()
    """Kinds that no version of ipw has written."""
    windows: Sequence[tuple[int, int]] = ()
    """Measured windows, as marked."""
    steps: Sequence[tuple[str, int]] = ()
    """Method and number of each training step."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """How many lines of a kind could be read, where that was tried."""
    query_id: Sequence[str] = ()
    """Of the questions that count, with their times; of several tries of one, the last counts."""
    start_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    end_ns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    readings: int = 0
    readings_sha256: str = ""
    altered: Sequence[str] = ()
    """What is no longer as it was written, of the files beside journal and readings."""
    manifest_is_whole: bool = True
    cut_bytes: int = 0
    """Behind the last whole record of `power.bin`."""


class Verdict(NamedTuple):
    """What speaks against the record."""

    errors: list[str]
    """With one of these, nothing that was derived can be believed."""
    told: list[str]
    """What a reader should know all the same."""


def held(manifest: Mapping[str, Any], found: Found) -> Verdict:
    """Hold what was found against the manifest. What an older version did not write down yet is not asked for."""
    return Verdict(
        [*_ending(manifest, found), *_lines(manifest, found), *_arrivals(manifest), *_questions(manifest, found),
         *_times(manifest, found), *_steps(manifest, found), *_readings(manifest, found), *found.altered],
        [*_told(manifest, found)],
    )  # fmt: skip


def ids_digest(names: Iterable[str]) -> str:
    """Digest of the questions' names, in whatever order they were asked."""
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()


def _ending(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    if not found.manifest_is_whole:
        yield "the manifest is not as ipw wrote it: an entry was changed"
    if manifest.get("status") == "running":
        yield "the run never ended: it was killed, or the machine went down"


def _lines(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    if found.damaged:
        yield f"{_counted(found.damaged, 'line')} of the journal {_are(found.damaged)} not whole"
    for kind, count in found.rows.items():
        unread = found.lines.get(kind, 0) - count
        if unread:
            yield f"{_counted(abs(unread), 'line')} of kind {kind} cannot be read"
    if found.unknown:
        yield f"the journal has lines of unknown kinds: {_first(sorted(found.unknown))}"
    then = part_of(Recorded(manifest).left_at_the_end, "journal")
    if then and dict(then) != dict(found.journal):
        now = found.journal["bytes"]
        yield f"the journal is not as the run left it: it has {now} bytes, and had {then.get('bytes')}"


def _arrivals(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Say of how many requests the chunks could not be read that the journal points at, when it was derived."""
    if missing := Recorded(manifest).arrivals.get("missing"):
        yield f"{_counted(missing, 'request')} {_are(missing)} without the arrivals that the journal points at"


def _questions(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    names, dataset = found.query_id, Recorded(manifest).dataset
    most = _askable(manifest)
    twice = [name for name, count in Counter(names).items() if count > most]
    if twice:
        yield f"{_counted(len(twice), 'question')} {_are(len(twice))} there more than once: {_first(twice)}"
    planned = dataset.get("questions")
    if "tasks" in dataset:  # of several requests each, which are called by the task and a number
        names, planned = sorted({name.rpartition("/")[0] for name in names}), dataset["tasks"]
    if not answers_questions(Recorded(manifest).kind) or type(planned) is not int:
        return
    short = len(names) < planned and manifest.get("status") != "interrupted"
    if short or len(names) > planned:
        yield f"{len(names)} of {planned} questions are in the journal"
    elif len(names) == planned and not twice and dataset.get("ids_digest") not in {None, ids_digest(names)}:
        yield "the questions in the journal are not those that were asked"


def _times(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    if manifest.get("status") == "complete" and workload(Recorded(manifest).kind) and not found.windows:
        yield "the mark of the measured window is missing"
    start, end = found.start_ns, found.end_ns
    backwards = int((end < start).sum())
    if backwards:
        yield f"{_counted(backwards, 'question')} ended before {_they(backwards)} began"
    if not found.windows or manifest.get("status") != "complete":
        return
    inside = np.zeros(start.size, bool)
    for first, last in found.windows:
        inside |= (start >= first - NEAR_NS) & (end <= last + NEAR_NS)
    outside = int((~inside).sum())
    if outside:
        yield f"{_counted(outside, 'question')} {_are(outside)} outside the measured windows"


def _steps(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    if Recorded(manifest).kind != "train":
        return
    by_method: dict[str, list[int]] = {}
    for method, step in found.steps:
        by_method.setdefault(method, []).append(step)
    for method, steps in by_method.items():
        if sorted(steps) != list(range(len(steps))):
            yield f"the steps of {method} are not one after the other: {len(steps)} of {max(steps) + 1}"


def _readings(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    recorded = Recorded(manifest).left_at_the_end
    written = recorded.get("readings")
    if type(written) is int and written != found.readings:
        yield f"{found.readings} of {written} readings are there"
    elif recorded.get("readings_sha256") not in {None, found.readings_sha256}:
        yield "the readings are not as the run left them"


def _told(manifest: Mapping[str, Any], found: Found) -> Iterator[str]:
    if "recorded" in manifest and not Recorded(manifest).left_at_the_end.get("journal"):
        yield NO_DIGESTS
    if stalls := found.lines.get("stall"):
        times = "once" if stalls == 1 else f"{stalls} times"
        yield f"the disk was full for a moment, {times}: what was in flight then was read late"
    if found.cut_bytes:
        yield f"the last reading was cut off after {found.cut_bytes} bytes"
    arrivals = Recorded(manifest).arrivals
    if torn := arrivals.get("torn_bytes") or arrivals.get("cut_bytes"):
        yield f"the arrivals of a request that was on its way were cut off after {torn} bytes"


def _askable(manifest: Mapping[str, Any]) -> int:
    """How often one name may stand there: parts of different data sets may share names."""
    merged = manifest.get("merged")
    return len(merged) if isinstance(merged, list) and manifest.get("mismatched") else 1


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _they(count: int) -> str:
    return "it" if count == 1 else "they"


def _first(names: Sequence[str]) -> str:
    """Name the first three."""
    return ", ".join(str(name)[:40] for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
