"""What became of the questions: one record, which stands under every result and decides whether it can be believed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.metrics.outcomes import Bools, Outcomes
from ipw.runs.recorded import Recorded

CUT = {"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "model_context_window_exceeded"}
"""What servers give as the reason (`finish_reason`) why an answer ended before its end."""
MOST_FAILED_PERCENT = 5.0
"""Where the run says nothing else (`--max-failed`)."""
TOLD_PERCENT = 1.0
"""Of the questions: where more have no whole answer, the first line says so."""
AGAIN = ("transport", "server", "client")
"""What a question may fail by (`failure`) that can be answered another time."""
NO_SCORER = "none"
NOT_UNDERSTOOD_PERCENT = 5.0
"""Of the answers: a model now and then says neither A nor B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What became of the questions of one run: `questions` in `summary.json`.

    Every question that was asked either failed or was answered; of the answered, some are empty and some were cut off.
    """

    planned: int | None
    """How many the run set out to ask; `None` where it does not say."""
    asked: int
    """How many were asked in the measured window, and ended there."""
    answered: int
    failed: int
    """Ended in an error or a timeout."""
    failed_because: str | None
    """The commonest reason, in the words of the first question that failed so."""
    failed_because_count: int
    failed_on_the_way: int
    """Of the failed, those to which no whole answer came, or whose server says that it failed by itself: `ipw resume`
    asks them again."""
    empty: int
    """Answered with no text, and not cut off."""
    cut: int
    """Cut off before their end (`finish_reason`), with or without text."""
    cut_thinking: int
    """Of those, the ones that held thinking and no answer yet."""
    cut_is_fault: bool
    """Whether a cut answer is no whole answer; not where answers were asked to be of that length."""
    max_tokens: int | None
    """Where answers were cut, unless the context of the server was full before."""
    unparsed: int | None
    """Answers in which the scorer found nothing to judge; `None` for scorers that look for nothing."""
    unscored: int
    """Answers that nobody scored."""
    unscored_because: str | None
    scorer: str | None
    tokens_by_usage: int
    """Answers whose tokens are those that the server told, and those whose chunks were counted."""
    tokens_counted: int
    max_failed_percent: float
    """Of the questions: where more have no whole answer, the run is not valid."""

    @property
    def without_answer(self) -> int:
        """How many questions have no whole answer."""
        return self.failed + self.empty + (self.cut if self.cut_is_fault else 0)

    @property
    def told_first(self) -> bool:
        """Whether so many have none that it must be said before any number."""
        return self._above(TOLD_PERCENT) or self.invalid

    @property
    def invalid(self) -> bool:
        """Whether so many have none that the run cannot be believed."""
        return self._above(self.max_failed_percent)

    @property
    def not_understood(self) -> int:
        """Whole answers in which the scorer found nothing to judge, if many: it may not suit the questions."""
        found = (self.unparsed or 0) - self.empty - self.cut
        return found if 100 * found > NOT_UNDERSTOOD_PERCENT * self.answered else 0

    def as_dict(self) -> dict[str, Any]:
        """For `summary.json`."""
        return asdict(self)

    def _above(self, percent: float) -> bool:
        return 100 * self.without_answer > percent * self.asked


def account(outcomes: Outcomes, manifest: Mapping[str, Any]) -> Questions:
    """Count what became of the questions; `manifest` says what was planned, and how it was scored."""
    parameters = Recorded(manifest).parameters
    dataset = Recorded(manifest).dataset
    ok = outcomes.status == "ok"
    planned, most = number(dataset.get("questions")), number(parameters.get("max_tokens"))
    cut = ok & _cut(outcomes, most)
    limit = number(parameters.get("max_failed_percent"))
    scorer = Recorded(manifest).scoring.get("scorer") or dataset.get("scorer") or parameters.get("scorer")
    parsed = outcomes.parsed[ok]
    unscored = int((np.isnan(outcomes.score) & (outcomes.graded != 0))[ok].sum())
    because, count = commonest(outcomes.error[~ok].tolist())
    sources = Counter(outcomes.tokens_source[ok].tolist())
    return Questions(
        planned=None if planned is None else int(planned),
        asked=len(ok),
        answered=int(ok.sum()),
        failed=int((~ok).sum()),
        failed_because=because,
        failed_because_count=count,
        failed_on_the_way=int((~ok & np.isin(outcomes.failure, AGAIN)).sum()),
        empty=int((ok & ~cut & outcomes.blank).sum()),
        cut=int(cut.sum()),
        cut_thinking=int((cut & outcomes.blank & outcomes.thinking).sum()),
        cut_is_fault=not _lengths_were_asked_for(parameters, scorer),
        max_tokens=None if most is None else int(most),
        unparsed=int((parsed == 0).sum()) if np.isfinite(parsed).any() else None,
        unscored=unscored,
        unscored_because=_why_unscored(scorer, manifest.get("scoring_reason")) if unscored else None,
        scorer=None if scorer is None else str(scorer),
        tokens_by_usage=sources["usage"],
        tokens_counted=sources["counted"],
        max_failed_percent=MOST_FAILED_PERCENT if limit is None else limit,
    )


def _cut(outcomes: Outcomes, most: float | None) -> Bools:
    """Which answers ended before their end: as the server says, or, where it gives no reason, by their length."""
    reasons = outcomes.finish_reason
    said = np.isin(reasons, [reason for reason in set(reasons.tolist()) if reason.casefold() in CUT])
    by_length = (reasons == "") & (outcomes.completion_tokens >= (np.inf if most is None else most))
    return np.asarray(said | by_length)


def _lengths_were_asked_for(parameters: Mapping[str, Any], scorer: object) -> bool:
    """Whether a cut answer is what was asked for: nothing can be right, or one token says all that is wanted.

    One token is a letter to choose, or a log-probability for perplexity.
    """
    one_token = parameters.get("max_tokens") == 1 and (scorer == "choice" or parameters.get("logprobs") is True)
    return scorer == NO_SCORER or str(parameters.get("dataset")).startswith("fixed:") or one_token


def _why_unscored(scorer: object, reason: object) -> str:
    if reason:
        return str(reason)
    if scorer == NO_SCORER:
        return "nothing can be right in this data set"
    if str(scorer).startswith("judge"):
        return f"the scorer {scorer} asks a model: ipw score RUN --scorer {scorer} --judge-url URL"
    return f"ipw score RUN --scorer {scorer or 'NAME'}"


def commonest(reasons: Iterable[str]) -> tuple[str | None, int]:
    """Find the commonest reason, and how often it came; those that differ in numbers and identities alone are one."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reason in reasons:
        alike = DIFFERS.sub("#", reason)
        first.setdefault(alike, reason)
        counts[alike] += 1
    if not counts:
        return None, 0
    ((alike, count),) = counts.most_common(1)
    return first[alike] or "no reason was told", count


DIFFERS = re.compile(r"(?<!HTTP )\b[\w.:-]*\d[\w.:-]*")
"""A word with a digit in it, but for the status of HTTP: an identity, a moment, a length of time."""


def questions_of(summary: Mapping[str, Any]) -> Questions | None:
    """Read the record back from a summary; `None` where there is none, or nothing that could be one."""
    stored = Derived(summary).questions
    known: dict[str, Any] = {field.name: stored.get(field.name) for field in fields(Questions)}
    if any(number(known[field.name]) is None for field in fields(Questions) if field.type in {"int", "float"}):
        return None
    return Questions(**known)
