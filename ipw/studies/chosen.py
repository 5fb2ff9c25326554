"""Which runs people mean: RUN, NAME=RUN, the folder of a study, or a folder of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ipw.errors import UsageError
from ipw.runs.directory import MANIFEST, RunDir
from ipw.studies.book import STUDY, read_study

PAGES = {".html", ".htm"}
"""`runs/*` holds the pages of series beside the runs, and a study's folder its state."""


class Chosen(NamedTuple):
    """One run."""

    path: Path
    called: str | None = None
    """Its name on this occasion."""

    def open(self) -> RunDir:
        """Open it under its name. Raises UsageError where there is no run."""
        run = RunDir.open(self.path)
        run.called = self.called
        return run


def chosen(arguments: Sequence[Path]) -> list[Chosen]:
    """List the runs, each once, in the order given; what is no run is listed too, for `open` to say so.

    Raises UsageError for a name without a run, or for one name of several runs.
    """
    found = {each.path: each for argument in arguments for each in _of(argument)}
    pages = [path for path in found if (path.suffix in PAGES or path.name == STUDY) and path.is_file()]
    return [each for path, each in found.items() if path not in pages or len(pages) == len(found)]


def one_run(argument: Path) -> RunDir:
    """Open the one run that an argument means. Raises UsageError where that is several, or none."""
    found = chosen([argument])
    if len(found) > 1:
        raise UsageError(f"{argument} holds {len(found)} runs", "name one of them")
    return found[0].open()


def runs_below(folder: Path) -> list[Chosen]:
    """List the runs in a folder and in the studies in it, in the order of their names."""
    found: list[Chosen] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / MANIFEST).is_file():
            found.append(Chosen(path))
        elif (path / STUDY).is_file():
            try:
                found += of_study(path)
            except UsageError:
                found.append(Chosen(path))  # whoever opens it is told
    return found


def of_study(folder: Path) -> list[Chosen]:
    """List the runs of a study that are done, by the labels of its suite. Raises UsageError where it is none."""
    cells = [cell for cell in read_study(folder)["cells"] if cell["status"] == "done" and cell.get("run")]
    return [Chosen(folder / str(cell["run"]), cell.get("label")) for cell in cells]


def _of(argument: Path) -> Iterator[Chosen]:
    name, path = _parted(argument)
    if (path / MANIFEST).is_file() or not path.is_dir():
        yield Chosen(path, name)
        return
    several = of_study(path) if (path / STUDY).is_file() else runs_below(path)
    if name is not None and several:
        raise UsageError(f"{path} holds {len(several)} runs, which cannot all be called {name!r}", "NAME=RUN for each")
    if not several and (path / STUDY).is_file():
        raise UsageError(f"the study {path} has no run that is done", f"ipw watch {path}")
    yield from several or [Chosen(path, name)]


def _parted(argument: Path) -> tuple[str | None, Path]:
    """Part NAME=RUN; a NAME may hold a `=` itself, and so may the path of a RUN, where that is there."""
    text = str(argument)
    if "=" not in text or argument.exists():
        return None, argument
    places = [place for place, c in enumerate(text) if c == "="]
    there = next((place for place in places if text[place + 1 :] and Path(text[place + 1 :]).exists()), places[0])
    name, rest = text[:there], text[there + 1 :]
    if not name.strip() or not rest:
        raise UsageError(f"{str(argument)!r} is not of the form NAME=RUN", "NAME=RUN, as in 'ours=runs/A'")
    return name.strip(), Path(rest)
