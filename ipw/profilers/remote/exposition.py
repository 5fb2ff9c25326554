"""The text in which exporters tell their metrics, and choosing among its series by labels.

The format is Prometheus' (version 0.0.4): a line a series, `name{label="value",…} number`, and comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from ipw.shapes import finite

LONGEST_LINE = 8192
SERIES = re.compile(r"([A-Za-z_:][\w:]*)(?:\s*\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*", re.ASCII)
LABEL = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.ASCII)
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
ALIASES = {
    "pod": ("pod", "exported_pod", "pod_name"),
    "namespace": ("namespace", "exported_namespace", "pod_namespace"),
    "container": ("container", "exported_container", "container_name"),
}
"""Labels of Kubernetes by the names that exporters and Prometheus give them."""


class Series(NamedTuple):
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: float


def series_of(text: str) -> Iterator[Series]:
    """Yield the series of a text whose values are finite; a line that cannot be read is left out."""
    for line in text.splitlines():
        if not line or line[0] == "#" or len(line) > LONGEST_LINE:
            continue
        told = SERIES.fullmatch(line)
        labels = _labels(told[2] or "") if told else None
        value = _number(told[3]) if told else None
        if told and labels is not None and value is not None:
            yield Series(told[1], labels, value)


def chosen(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether labels are those that are wanted, whose values may have `*` in them."""
    return all(
        any(fnmatchcase(labels[each], pattern) for each in ALIASES.get(name, (name,)) if each in labels)
        for name, pattern in wanted.items()
    )


def _labels(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    place = 0
    while place < len(text.rstrip()):
        label = LABEL.match(text, place)
        if label is None:
            return None
        found[label[1]] = re.sub(r"\\.", lambda each: ESCAPED.get(each[0], each[0]), label[2])
        place = label.end()
    return found


def _number(text: str) -> float | None:
    try:
        return finite(float(text))
    except ValueError:
        return None
