"""Scores the answers of a stored run, by any scorer, without asking its model again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import Any, NamedTuple

from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.runs.scores import ScoreFile, keep_digest, open_scores
from ipw.variables import JUDGE_KEY
from ipw.workloads.lm.http.client import Limits, ask
from ipw.workloads.lm.http.refusals import hint
from ipw.workloads.lm.http.reply import Answer
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import ServerUrl, server_url
from ipw.workloads.lm.parameters import from_manifest
from ipw.workloads.lm.plan import plan
from ipw.workloads.lm.scoring import judge
from ipw.workloads.lm.scoring.answers import DEFERRED, Scored, check_scorer, scored
from ipw.workloads.lm.servers.endpoint import api_key, find_model
from ipw.workloads.texts.identity import questions_digest
from ipw.workloads.texts.questions import Question

JUDGES = tuple(judge.PROMPTS)
BRING_BACK = "bring back the file that it was"
JUDGE_LIMITS = Limits(timeout_s=600.0, stall_s=120.0, max_tokens=2048, temperature=0.0, seed=None)
LONGEST_KEPT = 4000
"""Characters of what a judge said."""
PAUSES_S = (0.5, 5.0)
"""Before a judge that failed is asked again."""
FLUSH = 1000
"""Rows."""

Record = Mapping[str, Any]
Told = Callable[[int], None]
"""Called with the number of rows that are scored."""


class Judge(NamedTuple):
    """Who judges."""

    url: str
    model: str | None
    concurrency: int = 4


def score_run(run: RunDir, scorer: str, by: Judge | None = None, told: Told = lambda _: None) -> None:
    """Score every query of `run` into a new file of scores, which from then on is what counts.

    Raises UsageError where the scorer is not known or needs what is not there, IpwError where the judge is not,
    BusyError where another process works on the run.
    """
    check_scorer(scorer, ())
    if scorer in JUDGES:
        if by is None:
            raise UsageError(f"the scorer {scorer!r} asks a model", "give its server with --judge-url")
        with Owner(run.path, "scored"):
            asyncio.run(_judge(run, scorer, by, told))
        return
    with Owner(run.path, "scored"), ExitStack() as stack:
        one = _scorer(run, scorer, stack)
        scores = open_scores(run, {"scorer": scorer})
        stack.callback(scores.close)
        for record in islice(run.journal("query"), scores.done, None):
            mine = _worth_nothing(record) or one(record)
            _append(scores, record, mine, {})
            if scores.done % FLUSH == 0:
                scores.flush()
                told(scores.done)
        scores.close()
        keep_digest(run, scores.path)


def _scorer(run: RunDir, scorer: str, stack: ExitStack) -> Callable[[Record], Scored]:
    """Make a function from a journal record to its score."""
    if scorer == "math":
        from ipw.workloads.lm.scoring.math import MathScorer

        by_meaning = stack.enter_context(MathScorer())
        return lambda record: by_meaning(_text(record, "response"), *_question(record).answers)
    if scorer == "lm-eval":
        from ipw.workloads.texts.harness import Task

        parameters = from_manifest(run.manifest(), run)
        name = parameters.dataset
        if not name.startswith("lm-eval:"):
            raise UsageError("this run did not ask a task of lm-evaluation-harness", "choose another --scorer")
        task = Task(name.removeprefix("lm-eval:"), parameters.limit)
        return lambda record: Scored(task.score(str(record.get("query_id")), _text(record, "response")))
    known = asked(run) if scorer == "choice" else {}

    def one(record: Record) -> Scored:
        question = known.get(_name(record)) or _question(record)
        return scored(scorer, _text(record, "response"), question)

    for record in run.journal("query"):
        if record.get("graded") is not False:
            check_scorer(scorer, [_question(record)])
    return one


def asked(run: RunDir) -> dict[str, Question]:
    """Questions of the run by id. Raises UsageError where its data set is no longer what it was."""
    manifest = run.manifest()
    parameters = from_manifest(manifest, run)
    questions = plan(parameters).dataset.questions
    then = (manifest.get("dataset") or {}).get("questions_digest")
    if then is not None and then != questions_digest(questions):
        raise UsageError(f"data set {parameters.dataset} is not what this run asked", BRING_BACK)
    return {question.id: question for question in questions}


async def _judge(run: RunDir, scorer: str, by: Judge, told: Told) -> None:
    url, key = server_url(by.url), api_key(JUDGE_KEY)
    model = await asyncio.to_thread(find_model, url, by.model, key)
    questions = asked(run)
    facts = {"scorer": scorer, "judge": {"url": str(url), "model": model, "prompt_digest": judge.DIGESTS[scorer]}}
    scores = open_scores(run, facts)

    async def one(transport: Transport, record: Record) -> tuple[Record, Scored, dict[str, Any]]:
        if nothing := _worth_nothing(record):
            return record, nothing, {}
        question = questions.get(_name(record))
        if question is None:
            raise UsageError(f"{run} asked {record.get('query_id')!r}, which its data set does not have", BRING_BACK)
        reference = question.answer if scorer == "judge-pair" else "\nor: ".join(question.answers)
        case = judge.Case(question.prompt, reference, _text(record, "response"))
        answers = [await _asked(transport, url, model, prompt, key) for prompt in judge.prompts(scorer, case)]
        verdict, verdicts = judge.verdict(scorer, [answer.response for answer in answers])
        said = [answer.response[-LONGEST_KEPT:] for answer in answers]
        return record, verdict, {"verdicts": verdicts, "said": said}

    try:
        async with Transport(url, key) as transport:
            for batch in _batches(islice(run.journal("query"), scores.done, None), by.concurrency):
                for record, mine, more in await asyncio.gather(*(one(transport, record) for record in batch)):
                    _append(scores, record, mine, more)
                scores.flush()
                told(scores.done)
    finally:
        scores.close()
    keep_digest(run, scores.path)


def _name(record: Record) -> str:
    """Name the question of a request: of a task, each request has a name of its own."""
    return str(record.get("question_id", record.get("query_id")))


def _worth_nothing(record: Record) -> Scored | None:
    """Score what no scorer looks at: a turn in which nothing can be right, and a query that failed."""
    if record.get("graded") is False:
        return Scored(None)
    if record.get("stopped"):  # a task that ended at a limit
        return Scored(0.0)
    return None if record.get("status") == "ok" else Scored(0.0)


async def _asked(transport: Transport, url: ServerUrl, model: str | None, prompt: str, key: str | None) -> Answer:
    """Ask the judge, a few times where it fails: that is no fault of the answer's. Raises IpwError in the end."""
    for pause_s in (*PAUSES_S, None):
        answer = await ask(transport, model, prompt, JUDGE_LIMITS, key)
        if answer.status == "ok" or pause_s is None:
            break
        await asyncio.sleep(pause_s)
    if answer.status != "ok":
        remedy = hint(answer.error or "", url, key=key is not None, variable=JUDGE_KEY)
        goes_on = "the same `ipw score` goes on where this one stopped"
        raise IpwError(f"the judge fails: {answer.error}", f"{remedy}; {goes_on}" if remedy else goes_on)
    return answer


def _batches(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while batch := list(islice(records, size)):
        yield batch


def _append(scores: ScoreFile, record: Record, mine: Scored, more: Mapping[str, Any]) -> None:
    scores.append({"query_id": record.get("query_id"), "score": mine.score, "parsed": mine.parsed, **more})


def _question(record: Record) -> Question:
    aliases = record.get("aliases")
    texts = tuple(alias for alias in aliases if isinstance(alias, str)) if isinstance(aliases, list) else ()
    return Question(str(record.get("query_id")), None, "", _text(record, "answer"), aliases=texts)


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


def scored_later(scorer: str) -> bool:
    """Whether a run's own scorer has to wait until the measured window has closed, and needs nobody else then."""
    return scorer in DEFERRED and scorer not in JUDGES
