"""A run as it was recorded: what its manifest says, with types, and its readings and curves, loaded once.

Anybody may have written a manifest. Here an entry is what it should be, or it is not there: who needs to know something
of a run asks this, and opens no dictionary again. Entries that this version does not know are kept in `entries`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ipw.runs.readings import is_estimate
from ipw.runs.unseen import unseen

if TYPE_CHECKING:
    from ipw.energy.curve import Curve
    from ipw.runs.directory import RunDir
    from ipw.runs.readings import Readings


@dataclass(frozen=True)
class Facts:
    """What a run's manifest says, and its summary repeats."""

    entries: Mapping[str, Any]
    """All of them, also those that are not known here."""

    @property
    def run_id(self) -> str | None:
        """The folder's name when the run began."""
        return self._text("run_id")

    @property
    def status(self) -> str | None:
        """How it ended."""
        return self._text("status")

    @property
    def kind(self) -> str | None:
        """Which workload."""
        kind = self.workload.get("kind")
        return kind if isinstance(kind, str) else None

    @property
    def workload(self) -> Mapping[str, Any]:
        """Kind, parameters, and what else says how it was measured."""
        return self._part("workload")

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The options of the workload."""
        return part_of(self.workload, "parameters")

    @property
    def series(self) -> Mapping[str, Any]:
        """Of which series the run is a member."""
        return part_of(self.workload, "series")

    @property
    def model(self) -> Mapping[str, Any]:
        """Name, digest, engine and what else is known of it."""
        return self._part("model")

    @property
    def basis(self) -> str | None:
        """Which channels make up the joules."""
        return self._text("basis")

    @property
    def method(self) -> str | None:
        """How the joules were measured."""
        return self._text("method")

    @property
    def is_estimated(self) -> bool:
        """Whether the joules are estimated."""
        return is_estimate(self.method)

    def _part(self, name: str) -> Mapping[str, Any]:
        return part_of(self.entries, name)

    def _text(self, name: str) -> str | None:
        value = self.entries.get(name)
        return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Recorded(Facts):
    """A run's manifest, and where it was opened from a folder, its readings and curves."""

    run: RunDir | None = None

    @classmethod
    def of(cls, run: RunDir) -> Recorded:
        """Read the manifest of a run. Raises UsageError where it is damaged."""
        return cls(run.manifest(), run)

    @property
    def sensors(self) -> Sequence[Mapping[str, Any]]:
        """Every channel, with its `index` in the readings where it was read."""
        return parts_of(self.entries, "sensors")

    @property
    def in_total(self) -> Sequence[Mapping[str, Any]]:
        """The channels whose sum is the run's energy."""
        return [channel for channel in self.sensors if channel.get("in_total")]

    @cached_property
    def total_curves(self) -> Mapping[str, Curve]:
        """The curves of the channels of the total that were read."""
        names = [channel["name"] for channel in self.in_total]
        return {name: self.curves[name] for name in names if name in self.curves}

    @property
    def scopes(self) -> frozenset[str]:
        """What the channels of the total see."""
        return frozenset(str(channel.get("scope")) for channel in self.in_total)

    @property
    def unseen(self) -> str | None:
        """Why the joules are not the workload's, where it ran on what the sensors do not see."""
        return unseen(self.entries)

    @property
    def attribution(self) -> Mapping[str, Any]:
        """Joules of the measured window, and how they were told apart."""
        return self._part("attribution")

    @property
    def engine(self) -> Mapping[str, Any]:
        """What was seen of the steps in which a server's engine computes."""
        return part_of(self.attribution, "engine")

    @property
    def costs(self) -> Mapping[str, Any]:
        """What such a step costs, and a token in it."""
        return part_of(self.attribution, "costs")

    @property
    def server(self) -> Mapping[str, Any]:
        """Where the server is, and how it ended."""
        return self._part("server")

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Name, digest, number of questions, scorer."""
        return self._part("dataset")

    @property
    def scoring(self) -> Mapping[str, Any]:
        """Which scores count."""
        return self._part("scoring")

    @property
    def host(self) -> Mapping[str, Any]:
        """CPU, GPUs, driver, clocks, power source."""
        return self._part("host")

    @property
    def software(self) -> Mapping[str, Any]:
        """Versions."""
        return self._part("software")

    @property
    def neighbours(self) -> Mapping[str, Any]:
        """Who else computed on the GPUs, at the start and at the end."""
        return self._part("neighbours")

    @property
    def progress(self) -> Mapping[str, Any]:
        """How many questions are finished, of how many."""
        return self._part("progress")

    @property
    def arrivals(self) -> Mapping[str, Any]:
        """What could be read of when each chunk of text came."""
        return self._part("arrivals")

    @property
    def sampler(self) -> Mapping[str, Any]:
        """What the sampler cost, read and missed."""
        return self._part("sampler")

    @property
    def left_at_the_end(self) -> Mapping[str, Any]:
        """Length and digests of what the run left."""
        return self._part("recorded")

    @cached_property
    def readings(self) -> Readings:
        """All readings, on the run's clock. Raises UsageError where they are damaged."""
        from ipw.runs.one_clock import on_one_clock

        return self.folder.once("readings", lambda: on_one_clock(self.folder.readings(), self.sensors))

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """Energy by channel, of every channel in joules or watts that was read."""
        from ipw.runs.curves import curves_of

        return self.folder.once("curves", lambda: curves_of(self.readings, self.sensors))

    @property
    def folder(self) -> RunDir:
        """Where the run lies. Raises ValueError for a manifest alone."""
        if self.run is None:
            raise ValueError("this manifest was not opened from a run's folder")
        return self.run


def part_of(entries: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give an entry that should be an object; where it is none, one without entries."""
    value = entries.get(name)
    return value if isinstance(value, Mapping) else {}


def parts_of(entries: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """List the objects of an entry that should be a list of them."""
    value = entries.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
