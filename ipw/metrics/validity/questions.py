"""Whether a run's answers can be believed: too many without one, not scored, not understood, not what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ipw.metrics.accounting import NO_SCORER, Questions, account, commonest
from ipw.metrics.accounting_text import LONGEST_REASON, misunderstanding, shortfall
from ipw.metrics.metric import mappings
from ipw.metrics.outcomes import Outcomes, load_outcomes
from ipw.metrics.validity.check import Check, made
from ipw.printable import clean
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

MOST_DOUBTED = 0.01
"""Of the answers: where something speaks against the server's own count of tokens in more of them, it is told."""
FEWEST, MOST_ALIKE = 10, 0.9
"""Answers of which so many are one and the same text, and most of them wrong, are hardly answers to the questions."""
TOLD_FIRST = QUESTIONS, UNDERSTOOD, ALIKE = "questions", "answers understood", "answers alike"
"""Names of the checks that are told before any number; the first one makes a run not valid."""


def with_questions(summary: Mapping[str, Any], run: RunDir, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a summary what became of the questions, and what that says of the run.

    Raises ValueError or OSError where the table of the queries is damaged.
    """
    outcomes = load_outcomes(run)
    told = account(outcomes, manifest)
    checks = list(check_questions(told, outcomes, manifest))
    names = {check["check"] for check in checks}
    others = [check for check in mappings(summary.get("validity")) if check.get("check") not in names]
    return {
        **summary,
        "valid": bool(summary.get("valid")) and not told.invalid,
        "validity": [*checks, *others],
        "questions": told.as_dict(),
    }


def check_questions(told: Questions, outcomes: Outcomes, manifest: Mapping[str, Any]) -> Iterator[Check]:
    """All checks of what became of the questions."""
    if told.asked:
        yield _whole(told, manifest)
    if told.scorer != NO_SCORER and told.answered:
        detail = f"{told.unscored} of {told.answered} answers were not scored: {told.unscored_because}"
        yield made("scores", not told.unscored, detail if told.unscored else f"by {told.scorer}")
    if told.unparsed is not None:
        detail = misunderstanding(told) or f"{told.answered - told.unparsed} of {told.answered}"
        yield made(UNDERSTOOD, not told.not_understood, detail)
    yield from _odd_answers(outcomes)
    doubts = [each for each in outcomes.usage_doubt[outcomes.status == "ok"].tolist() if each]
    if doubts:
        detail = f"of {len(doubts)} of {told.answered} answers the server's count is doubtful: {commonest(doubts)[0]}"
        yield made("token counts", len(doubts) <= MOST_DOUBTED * told.answered, detail)
    if Recorded(manifest).parameters.get("logprobs") is True and told.answered:
        known = int((outcomes.logprob_tokens[outcomes.status == "ok"] > 0).sum())
        detail = f"the server sent them for {known} of {told.answered} answers"
        yield made("log-probabilities", known == told.answered, detail)


def _odd_answers(outcomes: Outcomes) -> Iterator[Check]:
    """Find what is seen of all answers together: one text to every question, and ends that differ."""
    ok = outcomes.status == "ok"
    answered, alike = int(ok.sum()), ok & (outcomes.usual != "")
    right = outcomes.score[alike & np.isfinite(outcomes.score)]
    if answered >= FEWEST and alike.sum() >= MOST_ALIKE * answered and np.mean(right if right.size else [1]) < 0.5:
        shown = clean(outcomes.usual[alike][0], 60)
        yield made(ALIKE, ok=False, detail=f"{alike.sum()} of {answered} answers are one and the same, {shown!r}")
    bare = int((ok & (outcomes.finish_reason == "")).sum())
    if bare and bare < answered:
        detail = f"{bare} of {answered} answers ended without one, and may be broken off: the others have one"
        yield made("reasons to finish", bare <= MOST_DOUBTED * answered, detail)


def _longer(manifest: Mapping[str, Any]) -> str:
    """Say what lets an answer be longer."""
    parameters = Recorded(manifest).parameters
    if "answer_length" in parameters:
        return "give a larger --answer-length"
    return "give a larger --max-tokens, or the server a longer context"


def _whole(told: Questions, manifest: Mapping[str, Any]) -> Check:
    remedy, longer = Recorded(manifest).progress.get("remedy"), _longer(manifest)
    detail = shortfall(told) or f"{told.answered} of {told.asked} answered"
    if told.failed and isinstance(remedy, str):
        detail += f"; try: {clean(remedy, LONGEST_REASON)}"
    if told.cut and told.cut_is_fault:
        detail += f": {longer}"
    if told.invalid:
        option = ", --max-failed" if "max_failed_percent" in Recorded(manifest).parameters else ""
        detail += f" (more than {told.max_failed_percent:g} % of the questions{option})"
    return made(QUESTIONS, not told.told_first, detail, "error" if told.invalid else "warning")
