"""One self-contained page for one run or several side by side: no network, no other file, whole without a script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from ipw.errors import IpwError
from ipw.foreign_json import read_json
from ipw.metrics.derived import Derived
from ipw.metrics.metric import sensors
from ipw.printable import clean
from ipw.registry import load, workload, workloads
from ipw.reports.facts import NO_FACTS, Facts
from ipw.reports.markup import Markup, join, tag
from ipw.reports.page import details
from ipw.reports.page import results as sections
from ipw.reports.page import tokens as token_sections
from ipw.reports.page.banners import banners, distinct
from ipw.reports.page.carbon import carbon
from ipw.reports.page.costs import costs
from ipw.reports.page.headline import headline
from ipw.reports.page.isolated import isolated
from ipw.reports.page.series import series
from ipw.reports.page.studies import studies
from ipw.reports.ranking import groups
from ipw.reports.view import View, load_views, workload_of
from ipw.runs.directory import RunDir
from ipw.runs.files import replacing
from ipw.runs.recorded import Recorded

STYLE, TABLES, SCRIPT = (Path(__file__).with_name(name) for name in ("style.css", "tables.js", "page.js"))
HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>')
FEWEST_LISTED = 4
STUDY = "study.json"
"""Beside the runs of a study, with its name."""
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
    script = TABLES.read_text(encoding="utf-8") + SCRIPT.read_text(encoding="utf-8")
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
    top = tag(
        "header",
        tag("p", _overline(views), class_="overline"),
        tag("h1", isolated(title, (row.name for group in found for row in group.rows))),
        lede,
        *banners(views),
    )
    own = [load(target) for entry in workloads().values() for target in entry.sections]
    results = [make(views, found) for make in (*FIRST, *own, *RESULTS, sections.wrong_answers)]
    beyond = [make(views, found, facts) for make in (studies, carbon)]
    shown = [part for part in (*results, *beyond, *(make(views, found) for make in BACKGROUND)) if part]
    main = tag("main", top, tiles, _contents(shown), *shown)
    foot = tag(
        "footer", "Made by ipw from the run directories: ", join((tag("code", v.directory) for v in views), ", ")
    )
    body = tag("body", main, foot, tag("script", Markup(script)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _contents(sections_: Sequence[Markup]) -> Markup | None:
    """List the sections with links to them, where there are enough to get lost in."""
    heads = [(found[1], found[2]) for part in sections_ if (found := HEADING.search(part))]
    if len(heads) < FEWEST_LISTED:
        return None
    links = (tag("a", Markup(title), href=f"#{key}") for key, title in heads)
    return tag("nav", *links, class_="contents", aria_label="Contents")


def _overline(views: Sequence[View]) -> str:
    """Name the study where all runs are of one."""
    folders = {Path(view.path).resolve().parent for view in views if not view.called}
    name = _study(next(iter(folders)) / STUDY) if len(folders) == 1 else None
    return f"intelligence per watt · {clean(name, 80)}" if name else "intelligence per watt"


def _study(path: Path) -> str | None:
    try:
        told = read_json(path) if path.is_file() else None
    except IpwError:
        return None
    name = told.get("name") if isinstance(told, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def _asked(view: View) -> str:
    """What the rows of a run's table of queries are."""
    entry = workload(Derived(view.summary).kind)
    if entry is not None and entry.tasks:
        return "requests"
    return "questions" if entry is None or entry.answers else "sequences"


def _lede(views: Sequence[View]) -> str:
    """What was measured, on what, by which sensors, when."""
    parts = []
    datasets = distinct(workload_of(view).get("dataset") for view in views)
    for what in dict.fromkeys(map(_asked, views)):
        counts = distinct(f"{len(view.queries):,}" for view in views if len(view.queries) and _asked(view) == what)
        named = f" ({', '.join(datasets)})" if datasets and what == "questions" else ""
        parts += [f"{' / '.join(counts)} {what}{named}"] if counts else []
    machines = distinct(Recorded(view.manifest).host.get("cpu") for view in views)
    parts += [f"on {', '.join(machines)}"] if machines else []
    channels = distinct(c.get("name") for view in views for c in sensors(view.manifest) if c.get("in_total"))
    verb = "estimated by" if all(view.estimated for view in views) else "from"
    parts.append(f"energy {verb} {', '.join(channels)}" if channels else "no energy")
    days = distinct(str(view.manifest.get("started") or "")[:10] for view in views)
    return " · ".join([*parts, *days])
