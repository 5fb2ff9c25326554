"""Places the cells of a study on the nodes of a Ray cluster, each alone on its node, and brings their runs back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, MissingExtraError, UsageError
from ipw.pipeline import derive
from ipw.runs.archive import unpack
from ipw.runs.directory import RunDir
from ipw.runs.files import opened
from ipw.runs.merge import merge_runs
from ipw.studies.book import Outcome, StudyBook
from ipw.studies.cluster.clocks import Offset, Recording, join, offset
from ipw.studies.cluster.placing import Node, fitting, living, why_none
from ipw.studies.cluster.worker import Worker
from ipw.studies.suite import Planned

TRIES = 2
"""A cell whose node dies is tried once more, elsewhere."""
TURN_S = 0.5
GOOD_TRIP_NS, TRIPS_S = 400_000, 3.0
"""A clock is compared until one round trip is as short as this, or for so long."""


@dataclass(eq=False)
class Job:
    """One cell, or one shard of it."""

    planned: Planned
    shard: int = 1
    tries: int = 0
    nodes: list[Node] = field(default_factory=list)
    workers: list[Any] = field(default_factory=list)
    channels: list[list[dict[str, Any]]] = field(default_factory=list)
    clocks: list[Offset] = field(default_factory=list)
    shunned: set[str] = field(default_factory=set)
    """Nodes that died under it."""

    @property
    def options(self) -> dict[str, Any]:
        """The cell as its worker takes it."""
        cell, shards = self.planned.cell, self.planned.placement.shards
        own = {"shard": f"{self.shard}/{shards}"} if shards > 1 else {}
        return asdict(replace(cell, options={**cell.options, **own}))


def on_cluster(cells: Sequence[Planned], book: StudyBook, address: str, storage: str | None) -> Iterator[Outcome]:
    """Run all cells, as many at once as there are nodes for them. Raises IpwError where there is no such cluster."""
    with _connected(address) as ray:
        yield from _Study(ray, book, storage).outcomes(cells)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    if find_spec("ray") is None:
        raise MissingExtraError("a cluster", "ray")
    if find_spec("amdsmi"):
        raise UsageError("ray does not start beside amdsmi", "give ray an environment of its own: pip uninstall amdsmi")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a cell without GPUs may still read their sensors
    import ray

    try:
        ray.init(None if address == "local" else address, log_to_driver=False, include_dashboard=None)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IpwError(f"no cluster answers at {address}: {first}", "ray status") from None
    with contextlib.redirect_stdout(sys.stderr):  # ray tells of dead nodes there, and standard output is the machine's
        try:
            yield ray
        finally:
            ray.shutdown()


class _Study:
    """The cells that wait and those that run."""

    def __init__(self, ray: Any, book: StudyBook, storage: str | None) -> None:
        self._ray, self._book, self._storage = ray, book, storage
        self._waiting: list[Job] = []
        self._running: dict[Any, Job] = {}
        """By what Ray will answer."""
        self._shards: dict[str, list[RunDir]] = {}
        self._kinds: dict[str, tuple[float, float, frozenset[str]]] = {}

    def outcomes(self, cells: Sequence[Planned]) -> Iterator[Outcome]:
        """Yield each cell as it ends."""
        self._waiting = [Job(planned, shard) for planned in cells for shard in range(1, planned.placement.shards + 1)]
        try:
            while self._waiting or self._running:
                yield from self._place()
                ready, _ = self._ray.wait(list(self._running), timeout=TURN_S) if self._running else ([], [])
                for answer in ready:
                    outcome = self._ended(self._running.pop(answer), answer)
                    if outcome is not None:
                        yield outcome
                if not self._running:
                    time.sleep(TURN_S if self._waiting else 0)
        finally:
            for job in self._running.values():
                self._release(job)
                self._book.again(job.planned)

    # --- placing ------------------------------------------------------------------------------------------------------

    def _place(self) -> Iterator[Outcome]:
        nodes = living(self._ray.nodes())
        busy = {node.id for job in self._running.values() for node in job.nodes}
        for job in list(self._waiting):
            kind = self._kinds.get(job.planned.key)
            fit = [n for n in fitting(nodes, job.planned.placement) if n.id not in job.shunned]
            alike = [n for n in fit if kind is None or n.kind == kind]
            wanted = job.planned.placement.nodes
            if len(alike) < wanted:
                self._waiting.remove(job)
                yield self._failed(job, IpwError(_too_few(nodes, job, len(alike)), "ray status"))
                continue
            free = [n for n in alike if n.id not in busy]
            if len(free) >= wanted:
                self._waiting.remove(job)
                self._begin(job, free[:wanted])
                busy |= {node.id for node in job.nodes}

    def _begin(self, job: Job, nodes: list[Node]) -> None:
        job.tries += 1
        job.nodes, job.channels, job.clocks = nodes, [], []
        if job.planned.placement.shards > 1:
            self._kinds[job.planned.key] = nodes[0].kind
        job.workers = [self._worker(node) for node in nodes]
        self._book.begin(job.planned, ", ".join(node.name for node in nodes))
        try:
            if len(nodes) > 1:
                self._record(job)
            answer = job.workers[0].measure.remote(job.options)
        except (IpwError, self._ray.exceptions.RayError) as error:
            answer = self._ray.put(
                {"error": getattr(error, "message", str(error)), "hint": getattr(error, "hint", None)}
            )
        self._running[answer] = job

    def _worker(self, node: Node) -> Any:
        """Take a whole node: all of its cores and GPUs, so that nothing else that Ray places runs beside the cell."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        return (
            self._ray.remote(Worker)
            .options(
                num_cpus=node.resources.get("CPU", 0.0),
                num_gpus=node.resources.get("GPU", 0.0),
                scheduling_strategy=place,
                max_restarts=0,
            )
            .remote()
        )

    def _record(self, job: Job) -> None:
        """Start the sensors of the further nodes, and compare all clocks."""
        sensors = str(job.planned.cell.options["sensors"])
        for told in self._ray.get([worker.record.remote(sensors) for worker in job.workers[1:]]):
            if "error" in told:
                raise IpwError(told["error"], told["hint"])
            job.channels.append(told["channels"])
        job.clocks = self._compared(job)

    def _compared(self, job: Job) -> list[Offset]:
        return [offset(list(self._trips(worker))) for worker in job.workers]

    def _trips(self, worker: Any) -> Iterator[tuple[int, int, int]]:
        until_ns = time.monotonic_ns() + int(TRIPS_S * 1e9)
        while True:
            sent, _, answered = trip = self._trip(worker)
            yield trip
            if answered - sent <= GOOD_TRIP_NS or answered >= until_ns:
                return

    def _trip(self, worker: Any) -> tuple[int, int, int]:
        sent = time.monotonic_ns()
        there = int(self._ray.get(worker.clock.remote()))
        return sent, there, time.monotonic_ns()

    # --- ending -------------------------------------------------------------------------------------------------------

    def _ended(self, job: Job, answer: Any) -> Outcome | None:
        """Bring a run back; `None` where the cell goes on: tried again, or with other shards."""
        try:
            told = self._ray.get(answer)
            if "error" in told:
                return self._failed(job, IpwError(told["error"], told["hint"]))
            run = self._fetched(job, told)
        except self._ray.exceptions.RayError as error:
            return self._died(job, error)
        except IpwError as error:
            return self._failed(job, error)
        self._release(job)
        return self._whole(job, run)

    def _fetched(self, job: Job, told: dict[str, Any]) -> RunDir:
        """Fetch, check, unpack and store a run; else it stays on its node, and the error says where."""
        archive = self._book.folder / f".{secrets.token_hex(8)}.tar.gz"
        node = job.nodes[0].name
        try:
            self._download(job.workers[0], archive, told["bytes"])
            run = unpack(archive, self._book.folder, told["sha256"])
            if len(job.nodes) > 1:
                self._join(job, run)
            if self._storage:
                _store(archive, self._storage, f"{run.path.name}.tar.gz", told["sha256"])
        except (OSError, IpwError) as error:
            why = error.message if isinstance(error, IpwError) else str(error)
            raise IpwError(f"{why}; the run is kept on {node} in {told['path']}", "copy it from there") from None
        finally:
            archive.unlink(missing_ok=True)
        self._ray.get([worker.discard.remote() for worker in job.workers])
        return run

    def _download(self, worker: Any, archive: Path, size: int) -> None:
        with os.fdopen(opened(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            while file.tell() < size:
                file.write(self._ray.get(worker.piece.remote(file.tell())))

    def _join(self, job: Job, run: RunDir) -> None:
        after = self._compared(job)
        written = self._ray.get([worker.recorded.remote() for worker in job.workers[1:]])
        recordings = [
            Recording(node.name, channels, readings, (before, later))
            for node, channels, readings, before, later in zip(
                job.nodes[1:], job.channels, written, job.clocks[1:], after[1:], strict=True
            )
        ]
        join(run, (job.clocks[0], after[0]), recordings)
        derive(run)

    def _whole(self, job: Job, run: RunDir) -> Outcome | None:
        """Merge the shards of a cell once all of them are there."""
        wanted = job.planned.placement.shards
        if wanted == 1:
            return Outcome(job.planned, run, None)
        shards = self._shards.setdefault(job.planned.key, [])
        shards.append(run)
        if len(shards) < wanted:
            return None
        try:
            merged = merge_runs(sorted(shards, key=_shard_of), self._book.folder)
        except IpwError as error:
            return Outcome(job.planned, None, error)
        derive(merged)
        return Outcome(job.planned, merged, None)

    def _died(self, job: Job, error: Exception) -> Outcome | None:
        names = ", ".join(node.name for node in job.nodes)
        self._release(job)
        alive = {node.id for node in living(self._ray.nodes())}
        job.shunned |= {node.id for node in job.nodes if node.id not in alive} or {job.nodes[0].id}
        if job.tries < TRIES:
            self._book.again(job.planned)
            self._waiting.insert(0, job)
            return None
        return self._failed(
            job, IpwError(f"its node died under it ({names}): {str(error).splitlines()[0]}", "ray status")
        )

    def _failed(self, job: Job, error: IpwError) -> Outcome:
        self._release(job)
        self._waiting = [other for other in self._waiting if other.planned.key != job.planned.key]
        return Outcome(job.planned, None, error)

    def _release(self, job: Job) -> None:
        for worker in job.workers:
            self._ray.kill(worker)
        job.workers = []


def _too_few(nodes: Sequence[Node], job: Job, found: int) -> str:
    if job.shunned:
        return "its node died under it, and no other has what the cell needs"
    if found:
        return f"{found} nodes have what the cell needs, not {job.planned.placement.nodes}"
    return why_none(nodes, job.planned.placement)


def _shard_of(run: RunDir) -> int:
    return int(run.manifest()["workload"]["parameters"]["shard"].partition("/")[0])


def _store(archive: Path, storage: str, name: str, sha256: str) -> None:
    """Copy an archive to a folder or to any URL that fsspec knows, and read it again. Raises IpwError."""
    if find_spec("fsspec") is None:
        raise MissingExtraError("--storage", "ray")
    import fsspec

    target = f"{storage.rstrip('/')}/{name}"
    try:
        with archive.open("rb") as source, fsspec.open(target, "wb", auto_mkdir=True) as file:
            while block := source.read(1 << 20):
                file.write(block)
        with fsspec.open(target, "rb") as file:
            arrived = hashlib.sha256()
            while block := file.read(1 << 20):
                arrived.update(block)
    except Exception as error:  # noqa: BLE001 - each of fsspec's file systems has errors of its own
        raise IpwError(f"{target} cannot be written: {error}", "is the storage full, or closed to you?") from None
    if arrived.hexdigest() != sha256:
        raise IpwError(f"{target} is not what was written", "is the storage full?")
