"""Logs of Inspect: `.json`, or `.eval`, which is a ZIP archive (of Zstandard, as a rule). Their accuracy, no energy."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_json import parsed
from ipw.foreign_zip import DAMAGED, member_of
from ipw.interchange.documents import Document, within
from ipw.interchange.imported import Imported, amount, word
from ipw.interchange.scored import Scored, as_run
from ipw.metrics.metric import number

SOURCE = "inspect"
CAVEAT = "its tokens and times include those of tools and of a model that judges"
RIGHT = ("accuracy", "mean", "pass_at_1")
"""Its metrics that are a share of right answers where they lie between 0 and 1, in the order in which one is taken."""
HEADER = "header.json"
MOST_HEADER = 64 << 20
COPIED = "was the file copied whole?"


def read_inspect(found: Sequence[Document], name: str) -> list[Imported] | None:
    """Read every log; `None` where it is another's. Raises UsageError for what cannot be."""
    return [_run(log, name) for log in found if within(log, "eval").get("task") and "status" in log] or None


def header_of(path: Path) -> Document | None:
    """Read the header of an `.eval` archive; `None` for another file. Raises UsageError for a damaged one."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if HEADER not in archive.namelist():
                raise UsageError(f"{path} is an archive without {HEADER}: its evaluation did not end", COPIED)
            value = parsed(member_of(archive, archive.getinfo(HEADER), path, MOST_HEADER))
    except DAMAGED as error:
        raise UsageError(f"{path} cannot be read: {str(error)[:120]}", COPIED) from None
    return value if isinstance(value, dict) else {}


def _run(log: Document, name: str) -> Imported:
    evaluation, results, status = within(log, "eval"), within(log, "results"), str(log.get("status"))
    task = word(evaluation.get("task")) or "task"
    where = f"{name}, task {task}: "
    scores = [each for each in _list(results.get("scores")) if isinstance(each, dict)]
    metrics = [(str(score.get("name")), within(score, "metrics")) for score in scores]
    taken = next(
        ((scorer, metric, told) for metric in RIGHT for scorer, told in metrics if _share(told, metric) is not None),
        None,
    )
    total = amount(results.get("total_samples"), f"{where}total_samples")
    done = amount(results.get("completed_samples"), f"{where}completed_samples")
    usage = [each for each in within(log, "stats", "model_usage").values() if isinstance(each, dict)]
    names = ", ".join(f"{scorer}/{metric}" for scorer, told in metrics for metric in told)[:200] or "no score"
    error = word(within(log, "error").get("message"))
    return as_run(
        Scored(
            source=SOURCE,
            version=word(within(evaluation, "packages").get("inspect_ai")),
            model=word(evaluation.get("model")) or "model",
            task=task,
            asked=None if total is None else int(total),
            accuracy=_share(taken[2], taken[1]) if taken else None,
            stderr=_stderr(taken[2]) if taken else None,
            scorer=f"{taken[0]}/{taken[1]}" if taken else None,
            why_none=f"Inspect tells {names}, none of which is a share of right answers",
            failed=None if total is None or done is None else max(int(total - done), 0),
            stopped=None if status == "success" else f"its status is {status}" + (f": {error}" if error else ""),
            tokens=(_sum(usage, "input_tokens", where), _sum(usage, "output_tokens", where)),
            duration_s=_seconds(within(log, "stats")),
            started=word(within(log, "stats").get("started_at")) or word(evaluation.get("created")),
            parameters={"limit": number(within(evaluation, "config").get("limit"))},
            told={"status": status, "model_usage": within(log, "stats").get("model_usage")},
        ),
        CAVEAT,
    )


def _share(told: Mapping[str, Any], metric: str) -> float | None:
    value = number(within(told, metric).get("value"))
    return value if value is not None and 0 <= value <= 1 else None


def _stderr(told: Mapping[str, Any]) -> float | None:
    value = number(within(told, "stderr").get("value"))
    return value if value is not None and value >= 0 else None


def _sum(usage: Sequence[Mapping[str, Any]], name: str, where: str) -> float | None:
    """Tokens of the only model; of several, one may be the judge's."""
    return amount(usage[0].get(name), where + name) if len(usage) == 1 else None


def _seconds(stats: Mapping[str, Any]) -> float | None:
    try:
        start, end = (dt.datetime.fromisoformat(str(stats.get(name))) for name in ("started_at", "completed_at"))
        return (end - start).total_seconds() if end > start else None
    except (ValueError, TypeError):
        return None


def _list(x: object) -> list[Any]:
    return x if isinstance(x, list) else []
