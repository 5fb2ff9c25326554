"""The process in which one method trains: `python -m ipw.workloads.training.child JSON`.

A process of its own, so that its peak of memory and its weights are the method's alone, and so that the system, where
memory runs out, ends no more than this. Steps go straight to the run's journal; its standard output is for the process
that started it.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ipw.clock import now_ns
from ipw.errors import FAILURE, IpwError, MissingExtraError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.training.anatomy import anatomy
from ipw.workloads.training.edges import Edges, wait
from ipw.workloads.training.memory import PeakMemory, settled_bytes
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.methods.base import Method, device_of
from ipw.workloads.training.parameters import Parameters, from_dict
from ipw.workloads.training.peers import Peers, Replay
from ipw.workloads.training.resonance import Jitter
from ipw.workloads.training.smoothing import Smoothed
from ipw.workloads.training.subjects import load_task
from ipw.workloads.training.task import Task, sample_count

UNFIT, DIVERGED, OUT_OF_MEMORY, FAILED, COMPLETE, STOPPED = (
    "unfit", "diverged", "out_of_memory", "failed", "complete", "stopped",
)  # fmt: skip


@dataclass(slots=True)
class Session:
    """What one method's training needs from outside."""

    book: Any
    """Keeps records, as ipw.runs.journal.Journal does."""
    tell: Any
    """Called with each record, for whoever waits."""
    method: str
    parameters: Parameters
    jitter: Jitter
    leads: bool = True
    """Whether this process decides when to stop; peers go on as long as the first of them."""
    stopping: bool = False

    def keep(self, kind: str, **record: Any) -> None:
        """Journal a record and tell it."""
        self.book.append(kind, {"method": self.method, **record})
        self.tell({"kind": kind, **record})

    def span(self, phase: str, start_ns: int) -> None:
        """Journal what was done since `start_ns`."""
        record = {"name": f"{self.method} {phase}", "phase": phase, "start_ns": start_ns, "end_ns": now_ns()}
        self.book.append("span", record)

    def replayed(self, replay: Replay) -> None:
        """Journal what a late peer did before it took part, while the others waited."""
        record = {"name": f"{self.method} replay", "phase": "replay", "method": self.method, "steps": replay.steps}
        self.book.append("span", record | {"start_ns": replay.start_ns, "end_ns": replay.end_ns})


def train(session: Session, peers: Peers | None = None, rank: int = 0) -> str:
    """Warm up on weights that are thrown away, then train from the beginning; returns why it ended.

    Every step is journalled. Raises IpwError for what does not fit, and what the model raises.
    """
    parameters, start_ns = session.parameters, now_ns()
    task = load_task(parameters, rank)
    session.span("load", start_ns)
    session.keep("model", **task.facts)
    start_ns = now_ns()
    _warm_up(session, task)
    del task
    before = settled_bytes()
    session.span("warmup", start_ns)
    start_ns = now_ns()
    task = load_task(parameters, rank)
    method = make_method(session.method, task, parameters, peers)
    session.span("load", start_ns)
    if peers and parameters.comes_late(rank):
        method.catch_up(peers.join())  # type: ignore[attr-defined]
        peers.ready()
    return Loop(session, task, method, before).run()


def _warm_up(session: Session, task: Task) -> None:
    """Take the method's first steps, so that none of what is done only once is measured."""
    method = make_method(session.method, task, session.parameters)
    edges = Edges(device_of(task.model))
    _evaluate(task)
    for _ in range(session.parameters.warmup):
        edges.begin()
        method.step(next(task.batches), edges)
        edges.end()
    if session.parameters.warmup and session.leads:
        _look_inside(session, task, method, edges)


def _look_inside(session: Session, task: Task, method: Method, edges: Edges) -> None:
    """Journal what takes memory in a step, or why that cannot be told."""
    batch = next(task.batches)
    modules = [task.model, *([method.heads] if hasattr(method, "heads") else [])]
    edges.begin()
    try:
        session.keep("anatomy", **anatomy(lambda: method.step(batch, edges), modules)._asdict())
    except Exception as error:  # noqa: BLE001 - a model that cannot be watched can still be trained
        session.keep("anatomy", reason=f"its operations cannot be watched: {outcome(error)[1]}")
    edges.end()


@dataclass(slots=True)
class Loop:
    """The measured steps of one method."""

    session: Session
    task: Task
    method: Method
    before_bytes: int | None
    """Resident memory before the model was made."""
    smoothed: Smoothed = field(default_factory=Smoothed)

    def run(self) -> str:
        """Train until the steps are done, the target is reached, or somebody says stop."""
        session, device = self.session, device_of(self.task.model)
        memory, edges = PeakMemory(device), Edges(device)
        self._evaluation(0)
        status, step = COMPLETE, 0
        for step in range(session.parameters.most_steps()):
            if session.stopping:
                status = STOPPED
                break
            loss, times = self._step(step, memory, edges)
            if not math.isfinite(loss):
                status = DIVERGED
                break
            if self._reached(loss):
                break
            pause_s = session.jitter.pause_s(*times)
            if pause_s:
                time.sleep(pause_s)
        if status != DIVERGED:
            self._evaluation(step + 1)
        return status

    def _step(self, step: int, memory: PeakMemory, edges: Edges) -> tuple[float, tuple[int, int]]:
        data_ns = now_ns()
        batch = next(self.task.batches)
        fetched_ns = now_ns()
        memory.reset()
        edges.begin()
        loss_tensor = self.method.step(batch, edges)
        times = edges.end()
        loss = float(loss_tensor)
        on_device, on_host = memory.device_bytes(), memory.host_bytes()
        tokens = self.task.tokens(batch) if self.task.tokens else None
        start_ns, end_ns = times.edges_ns[0], times.edges_ns[-1]
        finite = math.isfinite(loss)
        self.session.keep(
            "step",
            step=step,
            start_ns=start_ns,
            end_ns=end_ns,
            loss=loss if finite else None,
            samples=sample_count(batch),
            tokens=tokens,
            phases=times.phases,
            edges_ns=times.edges_ns,
            data_ns=[data_ns, fetched_ns],
            peak_device_memory_bytes=on_device,
            peak_host_memory_bytes=on_host,
            host_memory_before_bytes=self.before_bytes,
            status="ok" if finite else DIVERGED,
            **getattr(self.method, "notes", {}),
        )
        return loss, (start_ns, end_ns)

    def _reached(self, loss: float) -> bool:
        value = self.smoothed.add(loss)
        target = self.session.parameters.target_loss
        return self.session.leads and target is not None and value is not None and value <= target

    def _evaluation(self, step: int) -> None:
        if not self.task.evaluation:
            return
        start_ns = now_ns()
        loss = _evaluate(self.task)
        self.session.span("evaluation", start_ns)
        self.session.keep("evaluation", step=step, loss=loss if math.isfinite(loss) else None)


@torch.no_grad()
def _evaluate(task: Task) -> float:
    """Mean loss of the held-out batches."""
    if not task.evaluation:
        return math.nan
    task.model.eval()
    losses = [float(task.loss(task.model, batch)) for batch in task.evaluation]
    task.model.train()
    wait(device_of(task.model))
    return sum(losses) / len(losses)


def outcome(error: BaseException) -> tuple[str, str]:
    """Name what ended a method, and tell it in one line."""
    if isinstance(error, IpwError):
        hint = f" (try: {error.hint})" if error.hint else ""
        status = UNFIT if error.exit_code != FAILURE or isinstance(error, MissingExtraError) else FAILED
        return status, f"{error.message}{hint}"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    out_of_memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "allocate memory" in text
    if out_of_memory:
        return OUT_OF_MEMORY, f"{text} (try: a smaller --batch-size, --accumulate, or --method checkpointing)"
    return FAILED, f"{type(error).__name__}: {text}"


def main() -> int:
    """Train as the one argument says."""
    order = json.loads(sys.argv[1])
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the model prints goes to the log

    def tell(record: dict[str, Any]) -> None:
        channel.write(json.dumps(record) + "\n")

    parameters, rank = from_dict(order["parameters"]), order["rank"]
    session = Session(
        Journal(RunDir(Path(order["run"]))) if rank == 0 else Silent(), tell, order["method"], parameters,
        Jitter(order["periods_s"], parameters.seed), leads=rank == 0,
    )  # fmt: skip
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one says stop
    signal.signal(signal.SIGTERM, lambda *_: setattr(session, "stopping", session.leads))
    store = Path(order["store"]) if parameters.peers > 1 and session.method == "zeroth-order" else None
    status, reason = attempt(session, store, rank)
    jitter = {"in_time_with": session.jitter.found, "pauses": session.jitter.pauses}
    tell({"kind": "end", "status": status, "reason": reason, "jitter": jitter})
    return 0


def attempt(session: Session, store: Path | None = None, rank: int = 0) -> tuple[str, str | None]:
    """Train, with the peers that meet at `store` if any; returns how it ended and, where that was badly, why."""
    peers = None
    try:
        if store is not None:
            parameters = session.parameters
            peers = Peers(store, session.replayed, admit_from=parameters.join_at or 0)
            if not parameters.comes_late(rank):
                peers.found(rank, parameters.peers - (parameters.join_at is not None))
        status = train(session, peers, rank)
    except Exception as error:  # noqa: BLE001 - whatever a model raises is told, and the finished steps are kept
        if not isinstance(error, IpwError):
            import traceback

            traceback.print_exc()
        return outcome(error)
    finally:
        if peers:
            peers.close()
    if status == DIVERGED:
        return status, "the loss is no longer a finite number (try: a smaller --lr)"
    gone = [f"peer {name} was lost after {steps:,} steps" for name, steps in (peers.lost if peers else ())]
    return status, f"{', '.join(gone)}; the others went on" if gone else None


class Silent:
    """A book of a peer whose steps another process journals."""

    def append(self, kind: str, record: dict[str, Any]) -> None:
        """Keep nothing."""


if __name__ == "__main__":
    sys.exit(main())
