"""The processes of one method, as the process sees them that measures."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from ipw.processes import environment, python
from ipw.runs.files import appending
from ipw.workloads.training.parameters import Parameters

LOG = "training.log"
PATIENCE_S = 20.0
Record = dict[str, Any]


class Processes:
    """Starts a method's processes; as a context it leaves none behind."""

    def __init__(self, run: Path, method: str, parameters: Parameters, periods_s: Mapping[str, float]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ipw-peers-")
        count = parameters.peers if method == "zeroth-order" else 1
        order = {"run": str(run), "method": method, "parameters": parameters.as_dict(), "periods_s": dict(periods_s)}
        order["store"] = str(Path(self._folder.name) / "store")
        self._log = appending(run / LOG)
        self._children = [
            subprocess.Popen(
                python("ipw.workloads.training.child", json.dumps(order | {"rank": rank})),
                env=environment(),
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                stderr=self._log,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(count)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        for child in self._children:
            try:
                child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout:
                child.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def records(self) -> Iterator[Record]:
        """What the first process tells, until it has ended."""
        stream = self._children[0].stdout
        assert stream is not None
        for line in stream:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # it was cut short by the process's end
            if isinstance(record, dict):  # else a model of the user's printed it
                yield record
        self._children[0].wait()

    def stop(self) -> None:
        """Let every process finish the step that it is at."""
        for child in self._children:
            if child.poll() is None:
                child.terminate()

    def deaths(self) -> list[str]:
        """Tell which processes have ended otherwise than by themselves."""
        found = []
        for rank, child in enumerate(self._children):
            code = child.poll()
            if code:
                who = f"peer {rank}" if len(self._children) > 1 else "the training process"
                how = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
                found.append(f"{who} {how}{_remedy(-code)}")
        return found


def _remedy(signal: int) -> str:
    return ": out of memory? (try: a smaller --batch-size)" if signal == 9 else f" (try: read {LOG} in the run)"


def follow(processes: Processes, on_step: Callable[[Record], None], on_model: Callable[[Record], None]) -> Record:
    """Hear the processes out; returns how they ended."""
    end: Record | None = None
    for record in processes.records():
        match record.get("kind"):
            case "step":
                on_step(record)
            case "model":
                on_model(record)
            case "end":
                end = record
    deaths = processes.deaths()
    if end is None:
        return {"status": "killed", "reason": "; ".join(deaths) or "the training process ended without a word"}
    if deaths and end["status"] == "failed":
        end["reason"] = "; ".join(deaths)
    elif deaths and end["reason"]:
        end["reason"] += f" ({'; '.join(deaths)})"
    return end
