"""What lm-evaluation-harness leaves (`results_….json`): a run for each task, with its accuracy, and no energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ipw.interchange.documents import Document, first_text, moment, within
from ipw.interchange.imported import Imported, amount, word
from ipw.interchange.scored import Scored, as_run
from ipw.metrics.metric import number

SOURCE = "lm-eval"
CAVEAT = "it tells the mean score of a task, and not what was answered or how long that took"
RIGHT = ("acc", "exact_match", "pass@1", "em")
"""Its metrics that are a share of right answers, in the order in which one is taken."""
NEEDED = {"results", "versions"}


class Told(NamedTuple):
    """One metric of a task."""

    name: str
    value: float
    stderr: float | None


def read_lm_eval(found: Sequence[Document], name: str) -> list[Imported] | None:
    """Read every task of every file; `None` where it is another's. Raises UsageError for what cannot be."""
    runs = [run for each in found if set(each) >= NEEDED for run in _tasks(each, name)]
    return runs or None


def _tasks(document: Document, name: str) -> list[Imported]:
    results, counts = within(document, "results"), within(document, "n-samples")
    tasks = [task for task in results if task in counts] or [t for t in results if t not in within(document, "groups")]
    return [as_run(_task(document, task, f"{name}, task {task}: "), CAVEAT) for task in tasks]


def _task(document: Document, task: str, where: str) -> Scored:
    found = _metrics(within(document, "results", task), where)
    taken = next((each for wanted in RIGHT for each in found if each.name.partition(",")[0] == wanted), None)
    others = ", ".join(each.name for each in found[:8]) or "nothing"
    count = within(document, "n-samples", task)
    asked = amount(count.get("effective", count.get("original")), f"{where}n-samples")
    date, model = number(document.get("date")), first_text(document, "model_name", "pretrained", "model_args")
    config = within(document, "config")
    return Scored(
        source=SOURCE,
        version=word(document.get("lm_eval_version")),
        model=model or word(config.get("model")) or "model",
        task=task,
        asked=None if asked is None else int(asked),
        accuracy=taken.value if taken else None,
        stderr=taken.stderr if taken else None,
        scorer=taken.name if taken else None,
        why_none=f"lm-eval tells {others}, none of which is a share of right answers",
        started=moment(date),
        parameters={"shots": number(within(document, "n-shot").get(task)), "limit": number(config.get("limit"))},
        told={each.name: each.value for each in found},
    )


def _metrics(row: Mapping[str, Any], where: str) -> list[Told]:
    """Metrics are called `name,filter`; beside each stands `name_stderr,filter`, a number or "N/A".

    Before version 0.4 they had no filter.
    """
    found = []
    for key, value in row.items():
        name, comma, rest = key.partition(",")
        if name.endswith("_stderr") or number(value) is None or (not comma and f"{name}_stderr" not in row):
            continue
        stderr = number(row.get(f"{name}_stderr{comma}{rest}"))
        known = amount(value, f"{where}{key}") if name in RIGHT else float(value)
        found.append(Told(key, known or 0.0, stderr if stderr is not None and stderr >= 0 else None))
    return found
