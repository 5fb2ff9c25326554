"""The index of a site: one table a group of runs that can be compared, with filters; whole without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ipw.metrics.accounting_text import marks
from ipw.metrics.metric import number
from ipw.reports.markup import Markup, tag
from ipw.reports.page.page import CSP, STYLE, TABLES
from ipw.reports.page.results import head
from ipw.reports.ranking import Group, Row, groups
from ipw.reports.site.facets import facets, questions
from ipw.reports.tables.runs import Column, columns, notes
from ipw.reports.text import MISSING, interval_text

SITE_STYLE, SITE_SCRIPT = (Path(__file__).with_name(name) for name in ("site.css", "site.js"))
DATA = {"data/runs.json": "JSON", "data/runs.parquet": "Parquet", "data/runs.csv": "CSV"}
LEAD = """Runs stand in one table where they did the same work and their joules have the same basis. Measured ones are
ranked by accuracy per joule (IPJ); accuracy per watt (IPW) alone rewards slowness. Estimates, figures of other tools
and runs that are not valid have no rank. Brackets hold 95 % intervals."""


class Entry(NamedTuple):
    """One run of the site."""

    folder: str
    """Below `runs/`, where its page is."""
    summary: Mapping[str, Any]


def index(entries: Sequence[Entry], title: str) -> str:
    """Make the index as text: the same runs give the same."""
    script = TABLES.read_text(encoding="utf-8") + SITE_SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=CSP.format(digest)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE.read_text(encoding="utf-8") + SITE_STYLE.read_text(encoding="utf-8"))),
    )
    found = groups([entry.summary for entry in entries])
    links = [tag("a", name, href=path) for path, name in DATA.items()]
    data = tag("p", "The figures as data: ", *_between(links), ".", class_="note")
    header = tag(
        "header",
        tag("p", "intelligence per watt", class_="overline"),
        tag("h1", title),
        tag("p", f"{len(entries)} run{'s' * (len(entries) != 1)}", class_="lede"),
    )
    filters = tag("form", class_="tools", id="filters", hidden="")
    sections = [_section(group, entries) for group in found]
    main = tag("main", header, tag("p", LEAD, class_="lead"), data, filters, *sections)
    body = tag("body", main, tag("footer", "Made by ipw from the run directories."), tag("script", Markup(script)))
    return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"


def _section(group: Group, entries: Sequence[Entry]) -> Markup:
    shown = columns(group)
    heads = [tag("th", "Run", scope="col"), *(head(column) for column in shown)]
    rows = [_row(row, entries[row.position], shown) for row in group.rows]
    start = tag("thead", tag("tr", *heads))
    table = tag("div", tag("table", start, tag("tbody", *rows), class_="numbers sortable"), class_="scroll", tabindex=0)
    said = [tag("p", note, class_="note") for note in notes(group) if group.estimated or group.source]
    return tag("section", tag("h2", group.title), table, *said, class_="group")


def _row(row: Row, entry: Entry, shown: Sequence[Column]) -> Markup:
    told = facets(entry.summary)
    rank = tag("span", f"{row.rank}", class_="rank") if row.rank else tag("span", class_="rank")
    link = tag("a", tag("bdi", row.name), href=f"runs/{quote(entry.folder)}/index.html")
    marked = [tag("small", mark, class_="bad") for mark in marks(entry.summary)]
    parts = [told["hardware"], told["load"], questions(entry.summary)]
    about = tag("small", " · ".join(part for part in parts if part != MISSING))
    attributes = {f"data_{name.replace(' ', '_')}": value for name, value in told.items()}
    cells = [_cell(column, row) for column in shown]
    return tag("tr", tag("th", rank, link, *marked, about, scope="row"), *cells, **attributes)


def _cell(column: Column, row: Row) -> Markup:
    metric = column.metric(row)
    interval, value = interval_text(metric, column.scale), number(metric.get("value"))
    small = tag("small", interval) if interval else None
    label = f"{column.label}, {column.unit}" if column.unit else column.label
    told = tag("span", column.value(row))
    return tag("td", told, small, data_value="" if value is None else repr(value), data_label=label)


def _between(links: Sequence[Markup]) -> list[object]:
    return [part for place, link in enumerate(links) for part in ((", ", link) if place else (link,))]
