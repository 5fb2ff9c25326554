"""Tasks of lm-evaluation-harness: its prompts, its filters, its scoring; the requests are ours."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.texts.questions import Question
from ipw.workloads.texts.values import NotReadableError, texts_of

PREFERRED = ("exact_match", "acc", "em", "f1")
"""Metrics of a task, of which the first that it has is the score; else its first."""

SEED = 1234
"""Of the choice of examples in a prompt: that of the harness."""


class Task:
    """One task that generates text: its questions, what requests must say, and what it makes of the answers."""

    def __init__(self, name: str, limit: int | None = None) -> None:
        """Load a task by name, or by the path of its YAML file. Raises MissingExtraError and UsageError."""
        with _quiet():
            self._task = _loaded(name)
            self._task.set_fewshot_seed(SEED)
            self._task.build_all_requests(limit=limit, rank=0, world_size=1)
        self._instances = {str(instance.doc_id): instance for instance in self._task.instances}
        found = self._task.instances[0]
        self.questions: Sequence[Question] = [
            Question(key, None, instance.args[0], first, aliases=tuple(others))
            for key, instance in self._instances.items()
            for first, *others in [_targets(self._task.doc_to_target(instance.doc))]
        ]
        self.request = _request(found.args[1])

    def score(self, query_id: str, response: str) -> float:
        """Score one answer as the harness does, through the filters of the task."""
        instance = self._instances[query_id]
        instance.resps, instance.filtered_resps = [response], {}
        with _quiet():
            everything, self._task._instances = self._task._instances, [instance]  # noqa: SLF001 (filters see one)
            try:
                self._task.apply_filters()
            finally:
                self._task._instances = everything  # noqa: SLF001
            answer = next(iter(instance.filtered_resps.values()))
            metrics = self._task.process_results(instance.doc, [answer])
        name = next((name for name in PREFERRED if name in metrics), next(iter(metrics)))
        return min(max(float(metrics[name]), 0.0), 1.0)


def _targets(target: object) -> tuple[str, ...]:
    """Read what a task holds to be right, for people: the task itself scores."""
    try:
        return texts_of(target)
    except NotReadableError:
        return (str(target),)


def _loaded(name: str) -> Any:
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise MissingExtraError("a task of lm-evaluation-harness", "lm-eval") from None
    local = Path(name).suffix in {".yaml", ".yml"}
    if local and not Path(name).is_file():
        raise UsageError(f"task {name} is not there", "give lm-eval:TASK the path of a YAML file, or a task's name")
    try:
        tasks = TaskManager(include_defaults=not local).load(str(Path(name).resolve()) if local else name)["tasks"]
    except Exception as error:  # noqa: BLE001 (a task is anybody's YAML, and may load its data from a network)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"task {name} cannot be loaded: {reason[:200]}", "`lm_eval ls tasks` lists them") from None
    if len(tasks) != 1:
        shown = ", ".join(list(tasks)[:6])
        raise UsageError(f"{name} is a group of {len(tasks)} tasks: {shown}, …", "measure one of them at a time")
    task = next(iter(tasks.values()))
    if task.OUTPUT_TYPE != "generate_until":
        raise UsageError(
            f"task {name} needs log-likelihoods of given texts ({task.OUTPUT_TYPE}), which no streamed answer holds",
            "choose a variant of it that generates, often called NAME_gen or NAME_cot",
        )
    return task


def _request(options: dict[str, Any]) -> dict[str, Any]:
    """What the task's `generation_kwargs` mean in a request; OpenAI's API takes four stops."""
    until = options.get("until") or []
    stops = [stop for stop in ([until] if isinstance(until, str) else until) if stop][:4]
    request: dict[str, Any] = {"stop": stops} if stops else {}
    if most := options.get("max_gen_toks"):
        request["max_tokens"] = int(most)
    if options.get("do_sample") and "temperature" in options:
        request["temperature"] = float(options["temperature"])
    return request


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep bars and logs of the harness from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
