"""What runs are called wherever they are shown: by their labels, or else by what tells them apart.

A name is the model's, and behind it what differs among the runs that are shown: two models, or one at several loads. A
label may name settings in braces: `{model} at {rate}`. No name holds a path.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ipw.metrics.derived import Derived
from ipw.metrics.metric import number
from ipw.printable import clean
from ipw.registry import workload as known_workload
from ipw.reports.text import MISSING
from ipw.runs.recorded import part_of

Summary = Mapping[str, Any]
"""Or a manifest: both say what was measured in the same entries."""
TIMES = "\N{MULTIPLICATION SIGN}"
LONGEST, LONGEST_PART = 60, 40
BRACES = re.compile(r"\{(\w+)\}")
PATH = re.compile(r"^(/|~|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\|file:)")
HUB_FOLDER = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
"""How the hub's cache calls the folder of a model `owner/name`."""
SHARD = re.compile(r"-\d{5}-of-\d{5}$")
DIGEST = re.compile(r"^(sha256[-:])?[0-9a-f]{32,}$")
NEVER_TELLING = {"model", "idle_s", "repetition", "serve_timeout_s", "server_here", "sensors_of", "command", "block"}
"""Parameters that are named elsewhere, or do not change what is measured."""
BY_THEMSELVES = {"concurrency", "rate", "base_url", "serve", "methods", "dataset", "engine", "device"}
"""Parameters with a facet of their own."""


PLAIN = ("on ", "in ", "at ", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
"""What stands behind a name without a comma, though it is of several words."""


class Facet(NamedTuple):
    """One thing in which runs differ."""

    text: Callable[[Derived], str]
    """What it is for a run, as it stands in a name; '' where there is nothing to say."""
    always: bool = False
    """Whether it is said of every run of a workload as soon as two differ in it; else only where names are alike."""


def row_names(summaries: Sequence[Summary]) -> list[str]:
    """Name each run so that all can be told apart. The second of several that differ in nothing is `name #2`."""
    runs = [Derived(summary) for summary in summaries]
    names = [_head(run) for run in runs]
    for facet in FACETS:
        if facet.always:
            names = _told_always(runs, names, facet)
    for facet in [*FACETS, *_of_parameters(runs)]:
        names = _told_where_alike(runs, names, facet)
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return numbered


def plain_name(summary: Summary) -> str:
    """Name one run by itself."""
    return row_names([summary])[0]


def model_name(summary: Summary) -> str:
    """Name the model, or whatever else was measured: what facts of a model are found by."""
    run = Derived(summary)
    model, parameters = summary.get("model"), run.parameters
    named = model.get("name") if isinstance(model, Mapping) else model
    given = parameters.get("model")
    if isinstance(given, str) and given.lower().endswith(".gguf") and not _of_server(parameters):
        file = without_path(given)  # what a header calls itself is often the same for every quantisation
        named = named if named and DIGEST.match(file) else file
    command = parameters.get("command")
    words = map(without_path, map(str, command)) if isinstance(command, list) else [command or ""]
    named = named or parameters.get("block") or " ".join(words) or given or summary.get("run_id") or MISSING
    return clean(without_path(str(named)), LONGEST)


def without_path(text: str) -> str:
    """Give the last part of what is a path, or a model's name on the hub where it is of its cache; else the text."""
    text = text.strip()
    is_file = text.lower().endswith(".gguf")
    if not (is_file or PATH.match(text)):
        return text
    if not is_file and (found := HUB_FOLDER.search(text)):
        return f"{found[1]}/{found[2]}"
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return (SHARD.sub("", last[: -len(".gguf")]) if is_file else last) or text


def quantisation(summary: Summary) -> str | None:
    """How the weights are kept: as a GGUF's header says (`Q4_K_M`), else the type of most of them."""
    model = part_of(summary, "model")
    found = model.get("file_type") or model.get("quantisation")
    return str(found) if found else None


def host_of(summary: Summary) -> str | None:
    """Name the machine whose sensors were read."""
    host = part_of(summary, "host").get("name")
    devices = summary.get("devices")
    first = str(devices[0]).partition(": ")[0] if isinstance(devices, list) and devices else None
    return str(host or first) if host or first else None


# --- labels ---------------------------------------------------------------------------------------------------------


def filled(label: str, summary: Summary) -> str:
    """Put a run's settings where a label names them in braces; what is not known stays as it is."""
    run = Derived(summary)

    def setting(found: re.Match[str]) -> str:
        told = NAMED[found[1]](run) if found[1] in NAMED else run.parameters.get(found[1])
        return found[0] if told is None else without_path(_plain(told))

    return clean(BRACES.sub(setting, label), 2 * LONGEST)


def _in_flight(run: Derived) -> object:
    given = run.parameters.get("concurrency")
    return given if given is not None or "concurrency" not in run.parameters or run.parameters.get("rate") else 1


NAMED: dict[str, Callable[[Derived], object]] = {
    "model": lambda run: model_name(run.entries),
    "quantisation": lambda run: quantisation(run.entries),
    "concurrency": _in_flight,
    "method": lambda run: run.parameters.get("method") or run.parameters.get("methods"),
    "host": lambda run: host_of(run.entries),
    "basis": lambda run: run.basis,
    "workload": lambda run: run.kind,
}
"""What may stand in braces beside the parameters of a run."""


# --- what tells apart -----------------------------------------------------------------------------------------------


def _head(run: Derived) -> str:
    label = run.entries.get("label")
    if isinstance(label, str) and label.strip():
        return filled(label, run.entries)
    return _joined(model_name(run.entries), _method(run))


def _labelled(run: Derived) -> bool:
    return bool(run.entries.get("label"))


def _told_always(runs: Sequence[Derived], names: Sequence[str], facet: Facet) -> list[str]:
    """Add a facet to all runs without a label whose workload has runs that differ in it."""
    texts = [facet.text(run) for run in runs]
    seen: dict[object, set[str]] = {}
    for run, text in zip(runs, texts, strict=True):
        seen.setdefault(run.kind, set()).update(set() if _labelled(run) else {text} - {""})
    found = zip(runs, names, texts, strict=True)
    return [
        _joined(name, text) if not _labelled(run) and (len(seen[run.kind]) > 1 or _swept(run, facet)) else name
        for run, name, text in found
    ]


def _told_where_alike(runs: Sequence[Derived], names: Sequence[str], facet: Facet) -> list[str]:
    """Add a facet to runs that have one name and differ in it."""
    texts = [facet.text(run) for run in runs]
    seen: dict[str, set[str]] = {}
    for name, text in zip(names, texts, strict=True):
        seen.setdefault(name, set()).add(text)
    return [_joined(name, text) if len(seen[name]) > 1 else name for name, text in zip(names, texts, strict=True)]


def _joined(name: str, text: str) -> str:
    if not text or _squeezed(text) in _squeezed(name):
        return name
    return f"{name} {text}" if " " not in text or text.startswith(PLAIN) else f"{name}, {text}"


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.lower()) if not text.startswith(TIMES) else text


def _swept(run: Derived, facet: Facet) -> bool:
    return facet.text is _load and len(run.series.get("levels") or ()) > 1


def _load(run: Derived) -> str:
    """How the questions were sent: so many in flight, or so many a second."""
    given = run.parameters
    rate, most = number(given.get("rate")), given.get("concurrency")
    in_flight = f"{TIMES}{clean(most, 8)}" if most is not None else ""
    if rate is not None:
        return f"{rate:g}/s {in_flight}".strip()
    return in_flight or (f"{TIMES}1" if "concurrency" in given else "")


def _kind(run: Derived) -> str:
    entry = known_workload(run.kind)
    return "" if entry and entry.name == "lm" else clean(run.kind or "", LONGEST_PART)


def _method(run: Derived) -> str:
    entry = known_workload(run.kind)
    told = run.parameters.get(entry.named_by) if entry and entry.named_by else None
    return "" if isinstance(told, list) else clean(_plain(told), LONGEST_PART)


def _methods(run: Derived) -> str:
    return clean(_plain(run.parameters.get("methods")), LONGEST)


def _engine(run: Derived) -> str:
    told = run.parameters.get("engine") or run.model.get("engine")
    return clean(told, LONGEST_PART) if told else ""


def _device(run: Derived) -> str:
    return clean(run.model.get("device") or run.parameters.get("device") or "", LONGEST_PART)


def _dataset(run: Derived) -> str:
    return clean(without_path(str(run.parameters.get("dataset") or "")), LONGEST_PART)


def _host(run: Derived) -> str:
    told = host_of(run.entries)
    return f"on {clean(told, LONGEST_PART)}" if told else ""


def _sensors(run: Derived) -> str:
    return f"basis {clean(run.basis, LONGEST_PART)}" if run.basis else ""


def _measured(run: Derived) -> str:
    return "estimated" if run.is_estimated else ""


def _folder(run: Derived) -> str:
    """Name the folder of a model's file, where two files have one name."""
    given = run.parameters.get("model")
    parts = re.split(r"[/\\]", str(given).rstrip("/\\")) if isinstance(given, str) else []
    return f"in {clean(parts[-2], LONGEST_PART)}" if len(parts) > 1 and parts[-2] else ""


def _weights(run: Derived) -> str:
    digest = run.model.get("digest")
    return clean(str(digest).removeprefix("sha256:"), 8).rstrip("…") if digest else ""


def _server(run: Derived) -> str:
    """Name the server by its address, without what only a browser needs."""
    given = run.parameters.get("base_url")
    return "at " + clean(re.sub(r"^\w+://([^/@]*@)?|/v1/?$", "", given), LONGEST_PART) if isinstance(given, str) else ""


FACETS = (
    Facet(_kind),
    Facet(lambda run: clean(quantisation(run.entries) or "", LONGEST_PART), always=True),
    Facet(_load, always=True),
    Facet(_method),
    Facet(_methods),
    Facet(_engine),
    Facet(_device),
    Facet(_dataset),
    Facet(_host),
    Facet(_sensors),
    Facet(_measured),
)
"""In the order in which they stand in a name, the plainest first."""
LAST = (Facet(_folder), Facet(_weights), Facet(_server))
"""Where the parameters too are the same."""


def _of_parameters(runs: Sequence[Derived]) -> Iterable[Facet]:
    """Make a facet of each other parameter in which any two runs differ, `serve` by the words that are its own."""
    keys = dict.fromkeys(key for run in runs for key in run.parameters)
    served = [_words(run.parameters.get("serve")) for run in runs]
    common = set.intersection(*map(set, served)) if served else set()
    for key in keys:
        named_by = {entry.named_by for run in runs if (entry := known_workload(run.kind))}
        if key not in NEVER_TELLING | BY_THEMSELVES | named_by:
            yield Facet(partial(_of_parameter, key))
    yield Facet(lambda run: clean(" ".join(w for w in _words(run.parameters.get("serve")) if w not in common), 40))
    yield from LAST


def _of_parameter(key: str, run: Derived) -> str:
    return _parameter(key, run.parameters.get(key))


def _words(command: object) -> list[str]:
    return [without_path(word) for word in command.split()] if isinstance(command, str) else []


def _parameter(key: str, value: object) -> str:
    if value is None or value is False or value in ([], {}, ""):
        return ""
    name = clean(key.removesuffix("_s").removesuffix("_j").replace("_", "-"), LONGEST_PART)
    return name if value is True else f"{name} {clean(without_path(_plain(value)), LONGEST_PART)}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def _of_server(parameters: Mapping[str, Any]) -> bool:
    return bool(parameters.get("base_url") or parameters.get("serve"))
