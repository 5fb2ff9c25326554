"""Sensors on, spans marked, sensors off: what `ipw.measure` and every workload use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from ipw.clock import anchor, now_ns
from ipw.live import LivePower
from ipw.rundir import READINGS, Journal, RunDir

STATUS_BY_ERROR = {KeyboardInterrupt: "interrupted", SystemExit: "interrupted"}


class Meter:
    """Measures one run. As a context it starts the sampler, and stops it and closes the books whatever happens."""

    def __init__(self, run: RunDir, manifest: Mapping[str, Any], sensors: str = "auto") -> None:
        self.run = run
        self.journal = Journal(run)
        self._manifest = dict(manifest)
        self._selection = sensors

    def __enter__(self) -> Self:
        from ipw.host import host_facts, software_versions
        from ipw.profilers.base import Channel
        from ipw.profilers.discovery import choose_basis
        from ipw.profilers.profile import find_profile, stored_profiles, with_profile
        from ipw.profilers.sampling import Sampler

        started = anchor()
        self._sampler = Sampler.start(self.run.path, self._selection)
        greeted = self._sampler.channels
        channels = [Channel(**{k: v for k, v in c.items() if k != "index"}) for c in greeted]
        profiles = stored_profiles()
        for channel, facts in zip(channels, greeted, strict=True):
            if profile := find_profile(channel, profiles):
                facts.update(with_profile(channel, profile).as_dict() | {"profile": profile.as_dict()})
        self.basis, in_total, reason = choose_basis(channels)
        for facts in greeted:
            facts["in_total"] = facts["name"] in in_total
        self.method = _method(greeted)
        self._manifest |= {
            "run_id": self.run.path.name,
            "status": "running",
            "basis": self.basis,
            "basis_reason": reason,
            "method": self.method,
            "sensors": greeted,
            "host": host_facts(),
            "software": software_versions(),
            "neighbours": {"start": _neighbours(greeted)},
            "anchors": [list(started)],
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started.wall_ns / 1e9)),
        }
        self.run.write_manifest(self._manifest)
        self.live = LivePower(
            self.run.path / READINGS, {c["index"]: c["kind"] for c in greeted if c["in_total"] and "index" in c}
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        stats = self._sampler.stop()
        self.journal.close()
        ended = anchor()
        manifest = self.run.manifest()
        manifest["anchors"].append(list(ended))
        manifest["neighbours"]["end"] = _neighbours(manifest["sensors"])
        status = "complete" if kind is None else STATUS_BY_ERROR.get(kind, "invalid")
        changes: dict[str, Any] = {"status": status, "sampler": stats, "ended_ns": ended.monotonic_ns}
        if kind is not None and status == "invalid":
            changes["status_reason"] = f"{kind.__name__}: {error}"
        self.run.write_manifest(manifest | changes)

    def note(self, **facts: Any) -> None:
        """Add top-level entries to the manifest while the run goes on."""
        self.run.update_manifest(**facts)

    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        """Mark what is done inside as one interval of the given phase."""
        start_ns = now_ns()
        try:
            yield
        finally:
            self.journal.append("span", {"name": name, "phase": phase, "start_ns": start_ns, "end_ns": now_ns()})

    def idle(self, name: str, seconds: float) -> None:
        """Sit still for `seconds` so that the idle power can be told from the load."""
        if seconds > 0:
            with self.span(name, "idle"):
                time.sleep(seconds)


def _method(channels: list[dict[str, Any]]) -> str | None:
    methods = sorted({c["method"] for c in channels if c["in_total"]})
    return "+".join(methods) or None


def _neighbours(channels: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """List who else computes on the NVIDIA GPUs that are measured: not this process, nor what it started."""
    if not any(c["name"].startswith("nvml/") and c["status"] == "ok" for c in channels):
        return None
    import psutil

    from ipw.profilers.nvml_gpus import foreign_processes

    ours = psutil.Process()
    found = foreign_processes({ours.pid, *(child.pid for child in ours.children(recursive=True))})
    return [{"gpu": each.uuid, "pid": each.pid, "name": _program(each.pid)} for each in found]


def _program(pid: int) -> str | None:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return None  # it is gone, or in another container
