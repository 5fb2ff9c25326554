"""Damaged runs, and what is silently wrong of them: other numbers than before, and no word of it.

The runs are those of tests/runs, derived with today's code, so that they have the digests that runs of today have.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ipw.errors import IpwError

if TYPE_CHECKING:
    from ipw.runs.directory import RunDir

ROOT = Path(__file__).parent.parent
FIRST = ROOT / "tests" / "runs" / "version-1"
FACTS = ("status", "basis", "method", "model", "workload", "devices")
"""Of a summary, beside its numbers."""
SAME_REL = 1e-6


class Case(NamedTuple):
    """What is damaged, and how it is read."""

    name: str
    make: Callable[[Path], Path]
    """Write the whole thing into a folder; returns the file or folder to damage."""
    read: Callable[[Path], object]
    """Raises IpwError where it tells what is wrong; whatever else it raises is a fault."""
    needs: tuple[str, ...] = ()
    """Whole runs that it is held against."""


@functools.cache
def _scratch() -> Path:
    folder = tempfile.mkdtemp(prefix="ipw-fuzz-runs-")
    atexit.register(_removed, folder, os.getpid())
    return Path(folder)


def _removed(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def whole(kind: str) -> Path:
    """Make a run as the code of today leaves it: one of the first version's, or one that was scored again."""
    from ipw.clock import boot_id
    from ipw.pipeline import derive
    from ipw.runs.checks.survey import recorded
    from ipw.runs.directory import RunDir
    from ipw.runs.merge import merge_runs
    from ipw.workloads.lm.scored_again import score_run

    if kind == "merged":
        merged = merge_runs([RunDir.open(whole("lm")), RunDir.open(whole("lm"))], _scratch() / kind, mismatched=True)
        derive(merged)
        return merged.path
    first = {"scored": "lm", "arrivals": "lm", "steps": "command", "ranks": "command"}.get(kind, kind)
    path = Path(shutil.copytree(FIRST / first, _scratch() / kind))
    run = RunDir(path)
    if kind in {"steps", "ranks"}:
        _with_steps(run, ranks=kind == "ranks")
    if kind == "arrivals":
        _with_arrivals(run)
    run.update_manifest(recorded=recorded(run, run.reading_count()), process={"boot_id": boot_id()})
    if kind == "scored":
        score_run(run, "exact")
    derive(run)
    return path


def _with_arrivals(run: Any) -> None:
    """Let the chunks of each answer have come one after the other, as today's runs keep them."""
    from ipw.runs.arrivals import encoded
    from ipw.runs.arrivals_file import ArrivalsFile
    from ipw.runs.journal import Journal
    from ipw.runs.journal_lines import JOURNAL

    lines = [json.loads(line) for line in (run.path / JOURNAL).read_text().splitlines()]
    (run.path / JOURNAL).unlink()
    with Journal(run) as journal, ArrivalsFile(run, journal) as arrivals:
        for line in lines:
            kind, first_ns = line.pop("kind"), line.get("first_token_ns")
            if first_ns:
                step_ns = (line["end_ns"] - first_ns) // 8
                stamps = [first_ns + step_ns * number for number in range(8)]
                line["arrivals"] = arrivals.append(encoded(line["start_ns"], stamps, [1, 2] * 4))
            journal.append(kind, line)


def _with_steps(run: RunDir, *, ranks: bool) -> None:
    """Mark steps with losses in the measured window, of one process or of two ranks."""
    from ipw.runs.journal import Journal

    (window,) = [span for span in run.journal("span") if span["phase"] == "measure"]
    edges = [window["start_ns"] + k * (window["end_ns"] - window["start_ns"]) // 4 for k in range(5)]
    if ranks:
        run.update_manifest(ranks={"on_this_host": 2})
    for rank in (0, 1) if ranks else (None,):
        with Journal(run, rank, f"journal-rank{rank}.jsonl" if rank else "journal.jsonl") as journal:
            for step, (start_ns, end_ns) in enumerate(pairwise(edges)):
                journal.append("step", {"step": step, "start_ns": start_ns, "end_ns": end_ns, "samples": 4})
                journal.append("loss", {"step": step, "loss": 2.0 - step / 4})
            if ranks:
                for ended in (False, True):
                    journal.append("rank", {"devices": [], "ended": ended})


def runs() -> Iterator[Case]:
    """List the ways in which runs are read."""
    for kind in ("lm", "command", "train", "killed", "resumed", "scored", "arrivals", "steps", "ranks"):
        yield _of_run(kind, "again", _recomputed)
    for kind in ("lm", "command", "train", "routing", "scored"):
        yield _of_run(kind, "as it is", _looked_at)
    yield _of_run("lm", "scored anew", _scored)
    yield _of_run("lm", "merged", _merged)
    yield _of_run("command", "in a trend", _trend)
    yield _of_run("lm", "in Python", _in_python)
    yield _of_run("killed", "resumed", _resumed)
    yield Case("first version again", lambda folder: Path(shutil.copytree(FIRST / "lm", folder / "run")), _first_again)


def _of_run(kind: str, how: str, read: Callable[[str, Path], object]) -> Case:
    def make(folder: Path) -> Path:
        return Path(shutil.copytree(whole(kind), folder / "run"))

    more = {"scored anew": ("scored",), "merged": ("merged",)}.get(how, ())
    return Case(f"{kind} {how}", make, lambda path: read(kind, path), (kind, *more))


def verb(*words: object) -> None:
    """Run the command line, whose exit code says whether it was told."""
    from ipw.cli import cli

    code = cli.main([str(word) for word in words], prog_name="ipw", standalone_mode=False)
    if isinstance(code, int) and code not in {0, 2, 4, 5}:
        raise AssertionError(f"exit code {code}")


# --- what is silently wrong ------------------------------------------------------------------------------------------


def check(summary: Mapping[str, Any], kind: str, *, bounds: bool = True) -> None:
    """Raise AssertionError where a summary has other numbers or facts than that of the whole run, and tells nothing."""
    if is_told(summary):
        return
    before = json.loads((whole(kind) / "summary.json").read_bytes())
    for fact in FACTS if bounds else ():
        if summary.get(fact) != before.get(fact):
            raise AssertionError(f"silently wrong: {fact} is {summary.get(fact)!r}, and was {before.get(fact)!r}")
    for place, now, then in _numbers(summary, before, ("value", "low", "high") if bounds else ("value",)):
        if now is not then and (now is None or then is None or not math.isclose(now, then, rel_tol=SAME_REL)):
            raise AssertionError(f"silently wrong: {place} is {now}, and was {then}")


def is_told(summary: Mapping[str, Any]) -> bool:
    """Whether a run says that it cannot be believed, or that damage could not be seen."""
    records = [each for each in summary["validity"] if each["check"] == "record"]
    return not summary["valid"] or any(not each["ok"] for each in records)


def _numbers(
    summary: Mapping[str, Any], before: Mapping[str, Any], names: tuple[str, ...]
) -> Iterator[tuple[str, float | None, float | None]]:
    for table in ("metrics", "by_method", "by_subject"):
        now, then = summary.get(table) or {}, before.get(table) or {}
        if table == "by_method":
            now, then = ({key: each["metrics"] for key, each in found.items()} for found in (now, then))
        if table == "metrics":
            now, then = {"": now}, {"": then}
        for group in {*now, *then}:
            mine, theirs = now.get(group) or {}, then.get(group) or {}
            for metric in {*mine, *theirs}:
                for name in names:
                    found = ((each.get(metric) or {}).get(name) for each in (mine, theirs))
                    yield f"{group} {metric} {name}", next(found), next(found)


# --- how runs are read -----------------------------------------------------------------------------------------------


def _recomputed(kind: str, path: Path) -> None:
    from ipw.pipeline import derive
    from ipw.runs.directory import RunDir

    verb("report", path, "--recompute", "--page", path.parent / "page.html")
    check(derive(RunDir.open(path)), kind)


def _looked_at(kind: str, path: Path) -> None:
    from ipw.metrics.summary import stored_summary
    from ipw.runs.directory import RunDir

    other = shutil.copytree(whole(kind), path.parent / "other")
    page = path.parent / "page.html"
    for words in (
        ("list", "runs", "--out", path.parent),
        ("watch", path, "--once"),
        ("report", path, other, "--page", page),
        ("report", path, "--page", page, "--table", "csv"),
        ("export", path, "--format", "prometheus"),
        ("export", path, "--format", "codecarbon"),
        ("compare", path, other),
    ):
        with contextlib.suppress(IpwError):
            verb(*words)
    summary = stored_summary(RunDir.open(path))
    if summary is not None:
        check(summary, kind)


def _scored(kind: str, path: Path) -> None:
    from ipw.metrics.summary import stored_summary
    from ipw.runs.directory import RunDir

    verb("score", path, "--scorer", "exact")
    check(stored_summary(RunDir.open(path)) or {"valid": False, "validity": []}, "scored" if kind == "lm" else kind)


def _merged(kind: str, path: Path) -> None:
    from ipw.runs.directory import RunDir

    other = shutil.copytree(whole(kind), path.parent / "other")
    verb("merge", path, other, "--mismatched", "--out", path.parent / "merged")
    (made,) = (path.parent / "merged").iterdir()
    summary = RunDir.open(made).summary()
    assert summary is not None
    if is_told(summary):
        return
    check(summary, "merged", bounds=False)


def _trend(kind: str, path: Path) -> None:
    others = [shutil.copytree(whole(kind), path.parent / name) for name in ("b", "c")]
    verb("trend", path, *others, "--metric", "energy_j", "--chart", path.parent / "trend.svg")


def _in_python(kind: str, path: Path) -> None:
    import warnings

    import ipw

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run = ipw.load_run(path)
    _ = run.queries, run.spans, run.metrics, run._repr_html_(), repr(run)
    if not warned:
        check(run.summary, kind)


def _resumed(_: str, path: Path) -> None:
    verb("resume", path, "--base-url", "http://127.0.0.1:9/v1")


def _first_again(path: Path) -> None:
    from ipw.pipeline import derive
    from ipw.runs.directory import RunDir

    summary = derive(RunDir.open(path))
    if not is_told(summary):
        raise AssertionError("silently wrong: it does not say that damage could not be seen")
