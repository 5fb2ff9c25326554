"""What a run will ask, and how it is judged: checked before anything is started."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from ipw.errors import UsageError
from ipw.workloads.lm.http.url import server_url
from ipw.workloads.lm.parameters import Parameters, latency_targets
from ipw.workloads.lm.scoring.answers import check_scorer
from ipw.workloads.texts.datasets import Dataset, load
from ipw.workloads.texts.questions import together


class Plan(NamedTuple):
    """What will be asked, and how it is judged: checked, before anything is started."""

    parameters: Parameters
    dataset: Dataset
    scorer: str

    @property
    def scorer_reason(self) -> str:
        """Why this scorer, in words."""
        return "as was asked" if self.parameters.scorer else self.dataset.scorer_reason


def plan(parameters: Parameters) -> Plan:
    """Load the data set, check the scorer and the latency targets. Raises UsageError."""
    if parameters.slo:
        latency_targets(parameters.slo)
    if parameters.judge_url:
        server_url(parameters.judge_url)  # which refuses one with a secret in it, before it is written anywhere
    dataset = load(
        parameters.dataset,
        limit=parameters.limit,
        seed=parameters.seed,
        columns=parameters.columns,
        answer_is=parameters.answer_is,
    )
    scorer = parameters.scorer or dataset.scorer_default
    if scorer != "none" and not any(question.graded for question in dataset.questions):
        raise UsageError(f"{dataset.name} has no answers to score by {scorer!r}", "leave --scorer out")
    check_scorer(scorer, dataset.questions)
    if parameters.api == "completions" and any(question.messages for question in dataset.questions):
        raise UsageError("prompts of chat messages cannot be asked by --api completions", "leave --api out")
    if parameters.retries and any(question.conversation for question in dataset.questions):
        raise UsageError("a turn of a conversation is not asked again by itself", "leave --retries out")
    if parameters.shard:
        part, parts = shard(parameters.shard)
        mine = list(together(dataset.questions))[part - 1 :: parts]
        dataset = replace(dataset, questions=[question for each in mine for question in each])
        if not dataset.questions:
            raise UsageError(f"shard {parameters.shard} holds no question", "take fewer shards")
    return Plan(parameters, dataset, scorer)


def shard(text: str) -> tuple[int, int]:
    """Read `2/4`: which part, and of how many. Raises UsageError."""
    found = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise UsageError(f"{text!r} is not a shard", "--shard 2/4 is the second of four")
    return int(found[1]), int(found[2])
