"""One self-contained page for one run or several side by side: no network, no other file, whole without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ipw.metrics.accounting_text import unfinished
from ipw.metrics.metric import mappings, sensors
from ipw.printable import clean
from ipw.registry import load, workloads
from ipw.reports.facts import NO_FACTS, Facts
from ipw.reports.markup import Markup, join, tag
from ipw.reports.names import row_names
from ipw.reports.page import details
from ipw.reports.page import results as sections
from ipw.reports.page import tokens as token_sections
from ipw.reports.page.carbon import carbon
from ipw.reports.page.costs import costs
from ipw.reports.page.headline import headline
from ipw.reports.page.series import series
from ipw.reports.page.studies import studies
from ipw.reports.page.view import View, load_views, workload_of
from ipw.reports.ranking import groups
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.runs.recorded import Recorded

STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("style.css", "page.js"))
CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{}'"
"""Nothing is fetched, and the one script that runs is the page's own."""
FIRST = (sections.ranking, series)
RESULTS = (
    sections.tradeoff,
    sections.power,
    sections.by_subject,
    sections.latency,
    token_sections.phases,
    token_sections.tokens,
    costs,
)
BACKGROUND = (details.all_metrics, details.measured_how, details.definitions)
"""All in the order of the page; what a workload adds comes behind the first.

Each takes the runs and their groups, and gives `None` where it has nothing to say.
"""


def write_page(runs: Sequence[RunDir], path: Path, facts: Facts = NO_FACTS) -> None:
    """Write the page of `runs` to `path`, whole or not at all. Raises IpwError where that cannot be written."""
    text = page(load_views(runs), facts)
    with replacing(path, "choose another place with --page") as file:
        file.write(text.encode())


def page(views: Sequence[View], facts: Facts) -> str:
    """Make the page as text: the same runs give the same page."""
    found = groups([view.summary for view in views])
    title = headline(found)
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=CSP.format(digest)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · ipw"),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    lede = tag("p", _lede(views), class_="lede")
    tiles = sections.tiles(views[0]) if len(views) == 1 else None
    top = tag("header", tag("p", "intelligence per watt", class_="overline"), tag("h1", title), lede, *_banners(views))
    own = [load(target) for entry in workloads().values() for target in entry.sections]
    results = [make(views, found) for make in (*FIRST, *own, *RESULTS, sections.wrong_answers)]
    beyond = [make(views, found, facts) for make in (studies, carbon)]
    main = tag("main", top, tiles, *results, *beyond, *(make(views, found) for make in BACKGROUND))
    foot = tag("footer", "Made by ipw from the run directories: ", join((tag("code", v.path) for v in views), ", "))
    body = tag("body", main, foot, tag("script", Markup(script)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _lede(views: Sequence[View]) -> str:
    """What was measured, on what, by which sensors, when."""
    parts = []
    datasets = _distinct(workload_of(view).get("dataset") for view in views)
    counts = _distinct(f"{len(view.queries):,}" for view in views if len(view.queries))
    if counts:
        parts.append(f"{' / '.join(counts)} questions{' (' + ', '.join(datasets) + ')' if datasets else ''}")
    machines = _distinct(Recorded(view.manifest).host.get("cpu") for view in views)
    parts += [f"on {', '.join(machines)}"] if machines else []
    channels = _distinct(c.get("name") for view in views for c in sensors(view.manifest) if c.get("in_total"))
    verb = "estimated by" if all(view.estimated for view in views) else "from"
    parts.append(f"energy {verb} {', '.join(channels)}" if channels else "no energy")
    days = _distinct(str(view.manifest.get("started") or "")[:10] for view in views)
    return " · ".join([*parts, *days])


def _distinct(values: Iterable[object], most: int = 60) -> list[str]:
    shown = [clean(value, most) for value in values if value]
    return list(dict.fromkeys(shown))[:6]


def _banners(views: Sequence[View]) -> Iterator[Markup]:
    """What a reader must know before any number."""
    if any(view.estimated for view in views):
        missing = [c for view in views if view.estimated for c in sensors(view.manifest) if c.get("status") != "ok"]
        hints = _distinct((c.get("hint") for c in missing), most=160)
        remedy = [" To measure: ", join((tag("code", hint) for hint in hints), ", "), "."] if hints else []
        said = " Joules and watts of these runs come from a model of the load, good to ±50 % at best."
        yield tag("p", tag("b", "Estimated, not measured."), said, *remedy, class_="banner estimate", role="note")
    names = row_names([view.summary for view in views])
    for view, name in zip(views, names, strict=True):
        named = tag("bdi", name)
        failed = [c for c in mappings(view.summary.get("validity")) if not c.get("ok")]
        errors = [f"{c.get('check')}: {c.get('detail')}" for c in failed if c.get("level", "error") == "error"]
        warnings = [f"{c.get('check')}: {c.get('detail')}" for c in failed if c.get("level", "error") != "error"]
        if errors:
            yield tag("p", tag("b", "Not valid: ", named, ". "), "; ".join(errors), class_="banner bad", role="note")
        if warnings:
            yield tag("p", tag("b", "Mind: ", named, ". "), "; ".join(warnings), class_="banner", role="note")
        status = view.manifest.get("status")
        if status not in {None, "complete", "imported"}:
            stopped = unfinished(view.summary) or clean(status, 30)
            what = f"This run is {stopped}; what had finished is shown."
            yield tag("p", tag("b", named, ". "), what, class_="banner", role="note")
        if view.problems:
            yield tag("p", tag("b", named, ". "), "; ".join(view.problems), class_="banner bad", role="note")
    if not views:
        yield tag("p", "No run was given.", class_="banner")
