"""What a reader of a page must know before any number, each said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ipw.metrics.accounting_text import unfinished
from ipw.metrics.metric import mappings, sensors
from ipw.printable import clean
from ipw.reports.markup import Markup, join, remedy, tag
from ipw.reports.names import row_names
from ipw.reports.view import View

MOST_NAMED = 12
FEW_TEXTS = 2
"""So many versions of one warning stand in boxes of their own."""
MOST_DISTINCT = 6


class Said(NamedTuple):
    """What is to be said of a run."""

    head: str
    topic: str
    """The name of the check; '' where there is none."""
    text: str
    bad: bool

    @property
    def whole(self) -> str:
        """The text with its topic."""
        return f"{self.topic}: {self.text}" if self.topic else self.text


def banners(views: Sequence[View]) -> Iterator[Markup]:
    """Yield a box for each thing, with the names of all runs that it holds for, the gravest first."""
    if not views:
        yield tag("p", "No run was given.", class_="banner")
        return
    yield from _estimates(views)
    names = row_names([view.summary for view in views])
    topics: dict[tuple[str, str, bool], dict[Said, list[str]]] = {}
    for view, name in zip(views, names, strict=True):
        for said in _of_run(view):
            key = (said.head, said.topic or said.text, said.bad)
            topics.setdefault(key, {}).setdefault(said, []).append(name)
    together: dict[tuple[str, bool, tuple[str, ...]], list[str]] = {}
    apart = []
    for (head, _, bad), found in topics.items():
        if len(found) <= FEW_TEXTS:
            for said, whom in found.items():  # what holds for the same runs stands in one box
                together.setdefault((head, bad, tuple(whom)), []).append(said.whole)
        else:
            apart.append((bad, _each(found, len(views))))
    boxes = [(bad, _box(head, whom, texts, len(views), bad=bad)) for (head, bad, whom), texts in together.items()]
    yield from (box for _, box in sorted([*boxes, *apart], key=lambda pair: not pair[0]))


def _box(head: str, whom: Sequence[str], texts: Sequence[str], count: int, *, bad: bool) -> Markup:
    named = tag("b", *([head, ": "] if head else []), _named(whom, count), ". ")
    return tag("p", named, "; ".join(texts), class_="banner bad" if bad else "banner", role="note")


def _each(found: Mapping[Said, Sequence[str]], count: int) -> Markup:
    """Say a thing that is a little different for each run: of the first, and of the others where somebody looks."""
    (first, whom), *others = found.items()
    concerned = sum(map(len, found.values()))
    runs = f"all {count} runs" if concerned == count else f"{concerned} of {count} runs"
    lines = [tag("p", _named(names, count + 1), ": ", said.text) for said, names in others]
    more = tag("details", tag("summary", f"and of {concerned - len(whom)} more"), *lines)
    opening = tag("b", f"{first.head}: {first.topic}, {runs}. ")
    inside = tag("p", opening, _named(whom, count + 1), ": ", first.text)
    return tag("div", inside, more, class_="banner bad" if first.bad else "banner", role="note")


def _named(names: Sequence[str], count: int) -> Markup:
    if len(names) == count and count > 1:
        return join(["all runs"])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return join([join((tag("bdi", name) for name in names[:MOST_NAMED]), ", "), more])


def _estimates(views: Sequence[View]) -> Iterator[Markup]:
    if not any(view.estimated for view in views):
        return
    missing = [c for view in views if view.estimated for c in sensors(view.manifest) if c.get("status") != "ok"]
    hints = distinct((c.get("hint") for c in missing), most=160)
    remedies = [" To measure: ", join(map(remedy, hints), "; "), "."] if hints else []
    said = " Joules and watts of these runs come from a model of the load, good to ±50 % at best."
    yield tag("p", tag("b", "Estimated, not measured."), said, *remedies, class_="banner estimate", role="note")


def _of_run(view: View) -> Iterator[Said]:
    for check in mappings(view.summary.get("validity")):
        if not check.get("ok"):
            bad = check.get("level", "error") == "error"
            yield Said("Not valid" if bad else "Mind", str(check.get("check")), str(check.get("detail")), bad)
    status = view.manifest.get("status")
    if status not in {None, "complete", "imported"}:
        stopped = unfinished(view.summary) or clean(status, 30)
        yield Said("", "", f"This run is {stopped}; what had finished is shown.", bad=False)
    for problem in view.problems:
        yield Said("", "", problem, bad=True)


def distinct(values: Iterable[object], most: int = 60) -> list[str]:
    """Give the first few values that differ, as text."""
    shown = [clean(value, most) for value in values if value]
    return list(dict.fromkeys(shown))[:MOST_DISTINCT]
