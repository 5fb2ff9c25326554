"""A site on disk. Runs are added to what is there: each keeps its summary beside its page; the index is made of all.

    index.html   data/runs.json, .parquet, .csv   runs/NAME/index.html, summary.json   site.json

Pages of runs that did not change are left as they are, and so are runs that are not named again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import UsageError
from ipw.foreign_json import read_json
from ipw.reports.facts import NO_FACTS
from ipw.reports.markup import Markup, tag
from ipw.reports.page.page import page
from ipw.reports.site.index import Entry, index
from ipw.reports.site.published import published
from ipw.reports.tables.written import as_csv, as_json, as_parquet
from ipw.reports.view import View, load_views
from ipw.runs.directory import SUMMARY, RunDir
from ipw.runs.files import make_folder, replacing
from ipw.runs.run_shapes import SUMMARY as SUMMARY_SHAPE
from ipw.shapes import misfit

SITE, RUNS, PAGE = "site.json", "runs", "index.html"
VERSION, PAGES = 1, 2
TITLE = "Runs measured with ipw"
HINT = "choose another folder with --out"
SEEN = "site_digest"
"""In the summary that the site keeps: of what its page was made from."""


class Added(NamedTuple):
    """What a call did."""

    new: int
    changed: int
    unchanged: int
    runs: int
    """On the site now."""


def write_site(runs: Iterable[tuple[RunDir, Mapping[str, Any]]], out: Path, title: str | None = None) -> Added:
    """Add runs, with their summaries, to the site in `out`; make it where there is none.

    Raises UsageError where the folder holds something else, IpwError where it cannot be written.
    """
    title = _opened(out, title)
    count = {"new": 0, "changed": 0, "unchanged": 0}
    for run, summary in runs:
        count[_add(run, summary, out)] += 1
    entries = _entries(out)
    summaries = [entry.summary for entry in entries]
    made = {
        "index.html": index(entries, title).encode(),
        "data/runs.json": as_json(summaries).encode(),
        "data/runs.csv": as_csv(summaries).encode(),
        "data/runs.parquet": as_parquet(summaries),
        SITE: (json.dumps({"site_version": VERSION, "title": title}) + "\n").encode(),
        ".nojekyll": b"",
    }
    for name, content in made.items():
        _write(out / name, content)
    return Added(**count, runs=len(entries))


def _opened(out: Path, title: str | None) -> str:
    """Check that the folder is a site or can be one; give its title."""
    make_folder(out, HINT)
    marker = out / SITE
    if marker.is_file():
        told = read_json(marker, HINT)
        if fault := misfit(told, {"site_version!": range(1, VERSION + 1), "title?": str}):
            raise UsageError(f"{marker} is of no site that this ipw knows: {fault}", HINT)
        return title or told.get("title") or TITLE
    if any(path.name not in {".git", ".nojekyll"} for path in out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no site", HINT)
    return title or TITLE


def _add(run: RunDir, summary: Mapping[str, Any], out: Path) -> str:
    folder = out / RUNS / _folder(run, summary)
    digest = _digest(summary)
    before = _summary(folder)
    if before is not None and before.get(SEEN) == digest and (folder / PAGE).is_file():
        return "unchanged"
    views = [_public(view, folder.name) for view in load_views([run])]
    back = tag("p", tag("a", "All runs", href="../../index.html"), class_="note")
    text = page(views, NO_FACTS).replace("<main>", Markup("<main>") + back, 1)
    _write(folder / PAGE, text.encode())
    _write(folder / SUMMARY, (json.dumps({**published(summary), SEEN: digest}) + "\n").encode(errors="replace"))
    return "new" if before is None else "changed"


def _public(view: View, name: str) -> View:
    """Give what the page shows of a run without where its files lie."""
    return dataclasses.replace(
        view, called=name, manifest=published(view.manifest), summary=published(view.summary), name=published(view.name)
    )


def _folder(run: RunDir, summary: Mapping[str, Any]) -> str:
    """Name a run alike whenever it is added, and unlike every other run: its identity, and when and where it was."""
    manifest = run.manifest()
    told = [summary.get("run_id"), manifest.get("started"), manifest.get("anchors"), manifest.get("imported")]
    host = manifest.get("host")
    told.append(host.get("name") if isinstance(host, dict) else None)
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode(errors="replace")).hexdigest()
    return re.sub(r"[^\w.-]+", "-", str(summary.get("run_id") or "run"))[:80].strip(".-") + f"-{digest[:8]}"


def _digest(summary: Mapping[str, Any]) -> str:
    """Sum up what a page is made from; a new `PAGES` makes the pages of all runs that are named anew."""
    return hashlib.sha256(f"{PAGES}{json.dumps(summary, sort_keys=True)}".encode(errors="replace")).hexdigest()


def _entries(out: Path) -> list[Entry]:
    """All runs of the site, in the order of their names; a folder without a summary was taken out by hand."""
    found = [(folder.name, _summary(folder)) for folder in sorted((out / RUNS).glob("*")) if folder.is_dir()]
    return [Entry(name, summary) for name, summary in found if summary is not None]


def _summary(folder: Path) -> dict[str, Any] | None:
    """Read the summary that the site keeps of a run. Raises UsageError where it is damaged."""
    path = folder / SUMMARY
    if not path.is_file():
        return None
    told = read_json(path, f"remove {folder}, and add the run again")
    if fault := misfit(told, SUMMARY_SHAPE):
        raise UsageError(f"{path} cannot be read: {fault}", f"remove {folder}, and add the run again")
    return dict(told)


def _write(path: Path, content: bytes) -> None:
    make_folder(path.parent, HINT)
    with replacing(path, HINT) as file:
        file.write(content)
