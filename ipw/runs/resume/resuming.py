"""Whether a run that was cut short can go on as it began, what of it is finished, and what its next part is told."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ipw.clock import boot_id
from ipw.errors import IpwError, UsageError
from ipw.runs.checks.survey import recorded
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.runs.resume.reopen import mark
from ipw.system import command_line, process_created_s

NEW_RUN = "start a new run: what had finished stays in the old one"


def process_facts() -> dict[str, Any]:
    """Which process measures, so that no other takes the run for one that has ended."""
    return {"process": {"pid": os.getpid(), "created_s": process_created_s(os.getpid()), "boot_id": boot_id()}}


def close(opened: RunDir, run: Path) -> None:
    """Call a run complete of which nothing is left to ask. Raises UsageError where it was already."""
    if opened.manifest()["status"] == "complete":
        failed = sum(record.get("status") != "ok" for record in counted(opened))
        again = f"ipw resume {shlex.quote(str(run))} --retry-failed all, since {failed} questions failed"
        raise UsageError(f"{run} is complete: nothing is left to ask", again if failed else f"ipw report {run}")
    mark(opened)
    opened.update_manifest(status="complete", recorded=recorded(opened, None))


def settled(run: RunDir, retry_failed: str) -> set[str]:
    """Find the ids of the questions that are not asked (again): what was answered, and what shall stay failed."""
    found: set[str] = set()
    answered: set[str] = set()
    for record in run.journal("query"):
        if record.get("final") is False:
            continue  # of a task that went on
        name = _question_of(record)
        if record.get("status") == "ok":
            answered.add(name)
        # Of earlier versions, records do not say how they failed: asking again costs time, and no truth.
        elif retry_failed == "all" or (retry_failed == "transport" and record.get("failure", "transport") != "answer"):
            found.discard(name)
        else:
            found.add(name)
    return found | answered


def asked_now(run: RunDir, questions: int, finished: Collection[str]) -> str:
    """Say what is asked now."""
    left = questions - len(finished)
    failed = len({_question_of(record) for record in run.journal("query")} - set(finished))
    again = f", {failed:,} of them again, since they failed" if failed else ""
    return f"{len(finished):,} of {questions:,} questions are done: {left:,} are asked{again}"


def _question_of(record: Mapping[str, Any]) -> str:
    """Name the question of a request: of a task, each request has a name of its own."""
    return str(record.get("question_id", record.get("query_id")))


def check_ended(manifest: Mapping[str, Any], run: Path) -> None:
    """Raise where the run still goes on, or its clock does not."""
    process = manifest.get("process") or {}
    if process.get("boot_id") != boot_id():
        raise IpwError(
            f"the machine was started anew since {run}: its clock began again, and both parts have no common time",
            NEW_RUN,
        )
    if _going_on(process) and manifest["status"] == "running":
        raise UsageError(f"{run} still goes on, as process {process['pid']}", "wait for its end, or end it")


def _going_on(process: Mapping[str, Any]) -> bool:
    """Whether the process that began a run is there still; another may have its number by now."""
    pid, began_s = process.get("pid"), process.get("created_s")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    created_s = process_created_s(pid)
    if created_s is None or not isinstance(began_s, int | float):  # the system does not tell: what runs there does
        return any("ipw" in word for word in command_line(pid))
    return abs(created_s - began_s) < 1


def check_same(began: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> None:
    """Raise where model, data set or scorer are not those that the run began with."""
    for part, names in (("model", None), ("tools", None), ("dataset", ("digest", "questions_digest", "scorer"))):
        was, are = began.get(part, {}), now.get(part, {})
        different = [name for name in names or sorted(was.keys() & are.keys()) if was.get(name) != are.get(name)]
        if different:
            name = different[0]
            said = f"its {name.replace('_', ' ')} was {was.get(name)}, and is {are.get(name)}"
            raise UsageError(f"the {part} is not the one that {run} began with: {said}", NEW_RUN)


def continued(manifest: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the next part, which remembers how the one before ended."""
    of_the_part = ("status_reason", "ended_ns", "sampler", "outage", "progress")
    ended = {name: manifest[name] for name in ("status", *of_the_part) if name in manifest}
    derived = ("attribution", "attribution_reason", *of_the_part)
    kept = {name: value for name, value in manifest.items() if name not in derived}
    if "ended" in kept.get("server", ()):
        ended["server"] = kept["server"]
        kept["server"] = {name: value for name, value in kept["server"].items() if name != "ended"}
    for part in ("workload", "server"):
        if part in now:
            kept[part] = kept[part] | now[part]
    return kept | {"resumed": [*manifest.get("resumed", []), ended]} | process_facts()
