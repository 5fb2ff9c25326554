"""Sensors on, spans marked, sensors off: what `ipw.measure` and every workload use."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self

from ipw.clock import anchor, now_ns
from ipw.errors import IpwError, OutageError, UsageError
from ipw.metering import accelerator
from ipw.metering.ranks import Guest, Lead, launcher, own_parts, take_seat, this_rank
from ipw.runs.checks.survey import recorded
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.live.power import LivePower
from ipw.runs.owner import Owner
from ipw.runs.readings import READINGS
from ipw.runs.sweep import sweep, sweep_beside

if TYPE_CHECKING:
    from ipw.profilers.sampler.handle import Sampler

STATUS_BY_ERROR: dict[type[BaseException], str] = {
    KeyboardInterrupt: "interrupted",
    SystemExit: "interrupted",
    OutageError: "interrupted",
}


class Span:
    """One interval of a run, journalled when it ends together with how it ended. A context; it may also be told."""

    __slots__ = ("_journal", "end_ns", "name", "phase", "start_ns", "status")

    def __init__(self, journal: Journal, name: str, phase: str) -> None:
        self.name, self.phase = str(name), str(phase)
        self.start_ns = 0
        self.end_ns: int | None = None
        self.status = "open"
        """Then `ok`, `error` or `interrupted`."""
        self._journal = journal

    def begin(self) -> Self:
        """Start now. Raises UsageError where it has begun and not ended."""
        if self.start_ns and self.end_ns is None:
            raise UsageError(f"block {self.name!r} has begun already", "end it first")
        self.end_ns = None
        self.start_ns = now_ns()
        return self

    def end(self, error: BaseException | None = None) -> None:
        """End now, because of `error` where there is one, and journal it. Raises UsageError where it is not open."""
        now = now_ns()
        if not self.start_ns:
            raise UsageError(f"block {self.name!r} was not begun", "call begin() before end()")
        if self.end_ns is not None:
            raise UsageError(f"block {self.name!r} has ended already", "call end() once, and not inside its own `with`")
        self.end_ns = now
        self.status = "ok" if error is None else "error" if isinstance(error, Exception) else "interrupted"
        told = "" if error is None else f',"error":{quoted(f"{type(error).__name__}: {error}"[:500])}'
        self._journal.append_fields(
            "span",
            f'"name":{quoted(self.name)},"phase":{quoted(self.phase)},"start_ns":{self.start_ns},"end_ns":{self.end_ns},'
            f'"status":"{self.status}","thread":{get_ident()}{told}',
        )

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self.end(error)
        except UsageError:
            if error is None:  # else the block's own error is what matters
                raise


class Meter:
    """Measures one run. As a context it starts the sampler, and stops it and closes the books whatever happens."""

    window_phase = "measure"
    """Of the span that is the whole of what is measured."""
    measures = True

    def __init__(
        self,
        run: RunDir,
        manifest: Mapping[str, Any],
        sensors: str = "auto",
        lead: Lead | None = None,
        owner: Owner | None = None,
        own: Sequence[int] = (),
    ) -> None:
        """Make the meter of `run`; `lead` where it also measures for other ranks of this host.

        `owner` where the run was taken before: the meter lets go of it when it ends. `own` are processes that are the
        workload's although this one did not start them: a server that is measured.
        """
        self.run = run
        self._owner = owner
        self.journal = Journal(run, lead.rank.number if lead else None)
        self.channels: list[dict[str, Any]] = []
        """What is read, as in the manifest."""
        self._manifest = dict(manifest)
        self._selection = sensors
        self._lead = lead
        self._own = [*own, *(launcher() if lead else ())]
        self._sampler: Sampler | None = None
        self.rank = lead and lead.rank

    def __enter__(self) -> Self:
        owner = self._owner or Owner(self.run.path, "measured")
        try:
            self._begin()
        except BaseException:
            if self._sampler is not None:
                self._sampler.stop()
            self.journal.close()
            if owner is not self._owner:
                owner.release()
                sweep(self.run)
            raise
        self._owner = owner
        return self

    def _begin(self) -> None:
        from ipw.host import command_line, host_facts, software_versions
        from ipw.profilers.base import Channel
        from ipw.profilers.discovery import choose_basis
        from ipw.profilers.losses import losses
        from ipw.profilers.probe.profile import find_profile, stored_profiles, with_profile
        from ipw.profilers.sampler.handle import Sampler

        sweep_beside(self.run.path.parent)
        started = anchor()
        self._manifest.pop("recorded", None)
        self._readings_before = self.run.reading_count()
        self._sampler = sampler = Sampler.start(self.run.path, self._selection, self._own)
        greeted = sampler.channels
        if before := self._manifest.get("sensors"):
            self._check_same(before, greeted)
        channels = [Channel(**{k: v for k, v in c.items() if k != "index"}) for c in greeted]
        profiles = stored_profiles()
        for channel, facts in zip(channels, greeted, strict=True):
            if profile := find_profile(channel, profiles):
                facts.update(with_profile(channel, profile).as_dict() | {"profile": profile.as_dict()})
        self.basis, in_total, reason = choose_basis(channels)
        for facts in greeted:
            facts["in_total"] = facts["name"] in in_total
        self.channels = greeted
        self.method = _method(greeted)
        self._manifest |= {
            "run_id": self.run.path.name,
            "status": "running",
            "basis": self.basis,
            "basis_reason": reason,
            "method": self.method,
            "left_out": [loss.as_dict() for loss in losses(channels, self._selection)],
            "sensors": greeted,
            "host": host_facts(),
            "software": software_versions(),
            "command_line": command_line(),
            "neighbours": {"start": _neighbours(greeted, self._own)},
            # A run that is resumed keeps what it began with.
            "anchors": [*self._manifest.get("anchors", []), list(started)],
            "started": self._manifest.get("started")
            or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started.wall_ns / 1e9)),
        }
        if self._lead is not None:
            self._manifest["ranks"] = {"on_this_host": self._lead.rank.local_size}
            _claim(self.journal, ended=False)
        self.run.write_manifest(self._manifest)
        self.live = LivePower(self.run.path / READINGS, [c for c in greeted if c["in_total"]])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._owner is not None
        try:
            self._close(error)
        finally:
            self._owner.release()
        if isinstance(error, IpwError):
            sweep(self.run)

    def _close(self, error: BaseException | None) -> None:
        assert self._sampler is not None
        self.gather()
        stats = self._sampler.stop()
        unwritten = _closed(self.journal)
        ended = anchor()
        manifest = self.run.manifest()
        manifest["anchors"].append(list(ended))
        manifest["neighbours"]["end"] = _neighbours(manifest["sensors"], self._own)
        why = error or unwritten
        status = "complete" if why is None else STATUS_BY_ERROR.get(type(why), "invalid")
        changes: dict[str, Any] = {"status": status, "sampler": stats, "ended_ns": ended.monotonic_ns}
        written = stats.get("records")
        changes["recorded"] = recorded(self.run, None if written is None else self._readings_before + written)
        if isinstance(why, OutageError):
            changes["status_reason"] = why.message
        elif status == "invalid":
            changes["status_reason"] = f"{type(why).__name__}: {why}"
        self.run.write_manifest(manifest | changes)
        if why is unwritten and unwritten is not None:
            raise unwritten

    def _check_same(self, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> None:
        """Raise IpwError where the sensors are not those with which a run that is resumed began."""
        was, are = ([c["name"] for c in sorted(_sensed(channels), key=_index)] for channels in (before, now))
        if was != are:
            different = ", ".join(sorted(set(was) ^ set(are))) or "they are in another order"
            raise IpwError(f"the sensors are not those that the run began with: {different}", "ipw doctor")

    def gather(self) -> None:
        """Wait for the other ranks of this host, where there are any, to end too."""
        if self._lead is None:
            return
        _claim(self.journal, ended=True)
        self._lead.gather()
        self._lead = None

    def parts(self) -> dict[str, float]:
        """Say which part of each channel is this rank's; nothing where there is but one process."""
        return own_parts(self.channels, self.rank) if self.rank else {}

    def note(self, **facts: Any) -> None:
        """Add top-level entries to the manifest while the run goes on."""
        self.run.update_manifest(**facts)

    def span(self, name: str, phase: str) -> Span:
        """Mark what is done inside as one interval of the given phase."""
        return Span(self.journal, name, phase)

    def idle(self, name: str, seconds: float) -> None:
        """Sit still for `seconds` so that the idle power can be told from the load."""
        if seconds > 0:
            with self.span(name, "idle"):
                time.sleep(seconds)


class GuestMeter:
    """Marks the spans of a rank in the run that another rank of the same host measures."""

    window_phase = "rank"
    measures = False

    def __init__(self, seat: Guest) -> None:
        self.run, self.journal, self.rank = seat.run, seat.journal, seat.rank
        manifest = seat.run.manifest()
        self.channels: list[dict[str, Any]] = manifest["sensors"]
        self.basis, self.method = manifest["basis"], manifest["method"]

    def __enter__(self) -> Self:
        _claim(self.journal, ended=False)
        return self

    def __exit__(self, *exc: object) -> None:
        _claim(self.journal, ended=True)
        self.journal.close()

    def gather(self) -> None:
        """Leave it to the rank that measures to wait for the others."""

    def parts(self) -> dict[str, float]:
        """Say which part of each channel is this rank's."""
        return own_parts(self.channels, self.rank)

    def note(self, **facts: Any) -> None:
        """Leave the manifest to the rank that measures."""

    def span(self, name: str, phase: str) -> Span:
        """Mark what is done inside as one interval of the given phase."""
        return Span(self.journal, name, phase)

    def idle(self, _name: str, seconds: float) -> None:
        """Sit still while the rank that measures does."""
        time.sleep(seconds)


def _closed(journal: Journal) -> IpwError | None:
    """Close it; returns why the disk did not take it."""
    try:
        journal.close()
    except IpwError as error:
        return error
    return None


def _claim(journal: Journal, *, ended: bool) -> None:
    """Journal which devices are this rank's: when it begins, in case that it is killed, and when it ends."""
    journal.append("rank", {"devices": accelerator.devices(), "ended": ended})


def open_meter(out: Path, slug: str, manifest: Mapping[str, Any], sensors: str = "auto") -> Meter | GuestMeter:
    """Make the meter of a new run `out/<utc>-<slug>/`, or of the one that another rank of this host has begun.

    Raises IpwError where it cannot be written, or no rank begins in time.
    """
    rank = this_rank()
    if rank is None:
        return Meter(RunDir.create(out, slug), manifest, sensors)
    seat = take_seat(out, slug, rank)
    return Meter(seat.run, manifest, sensors, seat) if isinstance(seat, Lead) else GuestMeter(seat)


def _sensed(channels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """List the channels that are read, but those of the load, which come last and are no sensor's."""
    return [channel for channel in channels if "index" in channel and not channel["name"].startswith("load/")]


def _index(channel: dict[str, Any]) -> int:
    return int(channel["index"])


def _method(channels: list[dict[str, Any]]) -> str | None:
    methods = sorted({c["method"] for c in channels if c["in_total"]})
    return "+".join(methods) or None


def _neighbours(channels: list[dict[str, Any]], own: Sequence[int]) -> list[dict[str, Any]] | None:
    """List who else computes on the NVIDIA GPUs that are measured: not we, `own`, or what was started by either."""
    if not any(c["name"].startswith("nvml/") and c["status"] == "ok" for c in channels):
        return None
    from ipw.profilers.host_load import tree
    from ipw.profilers.nvidia.gpus import foreign_processes
    from ipw.system import own_processes, process_name

    found = foreign_processes(own_processes() | set(tree("/proc", own)))
    return [{"gpu": each.uuid, "pid": each.pid, "name": process_name(each.pid)} for each in found]
