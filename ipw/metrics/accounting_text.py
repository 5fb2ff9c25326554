"""What became of the questions, as people are told it: the line below a result, the first line, the marks in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ipw.metrics.accounting import Questions, questions_of
from ipw.printable import clean

LONGEST_REASON = 120
NOT_VALID = "not valid"
Summary = Mapping[str, Any]


def account_line(told: Questions) -> str:
    """Say what became of the questions, in one line."""
    planned = f" of {told.planned:,}" if told.planned is not None and told.planned > told.asked else ""
    parts = [
        f"{told.asked:,}{planned} asked",
        f"{told.answered:,} answered",
        f"{told.failed:,} failed{_because(told, ' ({})')}",
        f"{told.empty:,} empty",
        f"{told.cut:,} cut at {_length(told)}{'' if told.cut_is_fault else ' (as asked)'}",
        "" if told.unparsed is None else f"{told.unparsed:,} not understood by the scorer",
        f"{told.unscored:,} not scored ({clean(told.unscored_because, LONGEST_REASON)})" if told.unscored else "",
        f"scorer {clean(told.scorer, 40)}" if told.scorer else "",
        _tokens(told),
    ]
    return " · ".join(part for part in parts if part)


def shortfall(told: Questions) -> str:
    """Say how many questions have no whole answer, and why; '' where all have one."""
    parts = []
    if told.failed:
        some = "" if told.failed_because_count == told.failed else f", {told.failed_because_count:,} of them"
        parts.append(f"{told.failed:,} of {told.asked:,} questions failed{_because(told, some + ': {}')}")
    if told.empty:
        parts.append(f"{told.empty:,} of {told.asked:,} answers are empty")
    if told.cut and told.cut_is_fault:
        thinking = f", {told.cut_thinking:,} of them while the model still thought" if told.cut_thinking else ""
        parts.append(f"{told.cut:,} of {told.asked:,} answers were cut at {_length(told)}{thinking}")
    return "; ".join(parts)


def misunderstanding(told: Questions) -> str:
    """Say that the scorer found nothing to judge in many answers; '' where that is not so."""
    if not told.not_understood:
        return ""
    scorer = clean(told.scorer or "", 40)
    return f"in {told.unparsed:,} of {told.answered:,} answers the scorer {scorer} found nothing to judge"


def first_line(summary: Summary) -> str | None:
    """Say what must be known before any number: `None` where (nearly) every question has its whole answer."""
    told = questions_of(summary)
    if told is None:
        return None
    parts = [shortfall(told) if told.told_first else "", misunderstanding(told)]
    return "; ".join(filter(None, parts)) or None


def unfinished(summary: Summary) -> str | None:
    """Say where a run that did not come to its end stopped; `None` for one that did."""
    status, told = summary.get("status"), questions_of(summary)
    if told is None or told.planned is None:
        return None if status in ENDED else clean(STOPPED.get(str(status), status), 30)
    if status in ENDED and told.asked >= told.planned:
        return None
    how = "ended" if status in ENDED else clean(STOPPED.get(str(status), status), 30)
    return f"{how} after {told.asked:,} of {told.planned:,}"


ENDED = (None, "complete", "imported")
"""What `status` says of a run that came to its end, or of which nothing is known."""
STOPPED = {"running": "not ended", "invalid": "stopped"}
"""How the others are called in front of people."""


def marks(summary: Summary) -> list[str]:
    """Say in a word or two what sets a run apart from one that can be believed as it stands."""
    told = questions_of(summary)
    found = [] if told is None or not told.told_first else [_share(told)]
    stopped = unfinished(summary)
    return found + ([stopped] if stopped else []) + ([] if summary.get("valid") else [NOT_VALID])


def short_mark(summary: Summary) -> str:
    """The gravest mark behind a name in a chart, ` (not valid)`; '' where there is none."""
    if not summary.get("valid"):
        return f" ({NOT_VALID})"
    found = marks(summary)
    return f" ({found[0].partition(' after ')[0]})" if found else ""


def account_notes(summaries: Sequence[tuple[str, Summary]]) -> Iterator[str]:
    """Yield the line of each run by its name, once for runs of which it says the same."""
    lines: dict[str, list[str]] = {}
    for name, summary in summaries:
        told = questions_of(summary)
        if told is not None:
            lines.setdefault(account_line(told), []).append(name)
    for line, names in lines.items():
        alone = len(lines) == 1
        yield f"{'Each: ' if alone and len(names) > 1 else '' if alone else ', '.join(names) + ': '}{line}"


def _share(told: Questions) -> str:
    """The largest of the three shares, in a word."""
    cut = told.cut if told.cut_is_fault else 0
    count, word = max((told.failed, "failed"), (told.empty, "empty"), (cut, "cut"), key=lambda pair: pair[0])
    percent = 100 * count / told.asked
    return f"{percent:.{0 if percent >= 9.5 else 1}f} % {word}"


def _because(told: Questions, form: str) -> str:
    if not told.failed_because:
        return ""
    return form.format(clean(told.failed_because.removeprefix("the connection failed: "), LONGEST_REASON))


def _length(told: Questions) -> str:
    return "max-tokens" if told.max_tokens is None else f"max-tokens {told.max_tokens:,}"


def _tokens(told: Questions) -> str:
    unknown = told.answered - told.tokens_by_usage - told.tokens_counted
    ways = ((told.tokens_by_usage, "from usage"), (told.tokens_counted, "counted"), (unknown, "not known"))
    found = [(count, way) for count, way in ways if count > 0]
    if len(found) == 1:
        return f"tokens {found[0][1]}"
    return "tokens of " + ", of ".join(f"{count:,} {way}" for count, way in found) if found else ""
