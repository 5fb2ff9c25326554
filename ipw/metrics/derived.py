"""A run as it was derived: what its summary says, with types. Anybody may have written a summary (recorded.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipw.runs.recorded import Facts, part_of

Metrics = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Derived(Facts):
    """A run's summary."""

    @property
    def metrics(self) -> Metrics:
        """Every metric, by name."""
        return objects(self.entries, "metrics")

    def metric(self, name: str) -> Mapping[str, Any]:
        """Give one metric; where there is none, one without entries."""
        return part_of(part_of(self.entries, "metrics"), name)

    @property
    def by_subject(self) -> Metrics:
        """The metrics of each subject."""
        return objects(self.entries, "by_subject")

    @property
    def by_method(self) -> Metrics:
        """Of training: how each method ended, and its metrics."""
        return objects(self.entries, "by_method")

    @property
    def questions(self) -> Mapping[str, Any]:
        """What became of the questions."""
        return self._part("questions")

    @property
    def files(self) -> Mapping[str, Any]:
        """Digests of the files that the numbers were made from."""
        return self._part("files")

    @property
    def other_load(self) -> Mapping[str, Any]:
        """How much else the machine did."""
        return self._part("other_load")

    @property
    def other_gpu_load(self) -> Mapping[str, Any]:
        """What others used the GPUs for."""
        return self._part("other_gpu_load")


def objects(entries: Mapping[str, Any], name: str) -> Metrics:
    """Give the objects of an entry that should be an object of objects."""
    return {key: value for key, value in part_of(entries, name).items() if isinstance(value, Mapping)}
