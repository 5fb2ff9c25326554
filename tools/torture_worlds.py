"""What torture.py kills: runs against three kinds of servers, and whatever of them is left."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psutil
from doubles.openai_server import Behaviour, Request, Server, serving

QUESTIONS, IN_FLIGHT = 40, 2
MARK = "IPW_TORTURE"
"""In the environment of all that a case starts, so that what is left behind is found."""
END_S, GONE_S = 120.0, 20.0
PARTS = {
    "client": "ipw.cli", "sampler": "ipw.profilers.sampler.process",
    "engine": "ipw.workloads.lm.servers.llamacpp_server",
    "keeper": "ipw.workloads.lm.servers.server_keeper", "server": "torture_server.py",
}  # fmt: skip
"""What stands on the command line of each process that can be killed."""
SERVER = """
import sys, time
from torture_worlds import book_keeping, serving
with serving(book_keeping(sys.argv[2]), port=int(sys.argv[1])):
    time.sleep(600)
"""


class World(NamedTuple):
    """Where the answers come from."""

    name: str
    parts: tuple[str, ...]
    options: list[str]
    asked: Callable[[], int]
    """Questions that have reached the server so far."""
    steady: bool = True
    """Whether the same question always has the same answer: a batch of another size rounds otherwise."""


class End(NamedTuple):
    """How a command ended."""

    code: int
    said: str


def book_keeping(books: str) -> Callable[[Request], Behaviour]:
    """Answer as the question alone says, two of three right, and write a line into `books` for each."""

    def behave(request: Request) -> Behaviour:
        with Path(books).open("a") as file:
            file.write(f"{request.prompt}\n")
        number = int(request.prompt.removeprefix("say "))
        return Behaviour([request.prompt if number % 3 else "no"], prefill_s=0.03, token_s=0.01)

    return behave


@contextlib.contextmanager
def worlds(folder: Path) -> Iterator[list[World]]:
    """The stand-in server beside the run, the same started by the run, and llama.cpp with the bundled model."""
    data = folder / "questions.jsonl"
    rows = [{"id": f"q{i}", "prompt": f"say {i}", "answer": f"say {i}"} for i in range(QUESTIONS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    script, books = folder / "torture_server.py", folder / "books.txt"
    script.write_text(SERVER)
    books.touch()
    files = ["--dataset", str(data)]
    serve = shlex.join([sys.executable, str(script), "{port}", str(books)])

    def lines() -> int:
        return len(books.read_text().splitlines())

    server: Server
    with serving(book_keeping(str(books))) as server:
        yield [
            World("openai", ("client", "sampler"), ["--base-url", server.url, *files], lines),
            World("--serve", ("client", "sampler", "keeper", "server"), ["--serve", serve, *files], lines),
            World(
                "llamacpp",
                ("client", "sampler", "engine"),
                ["--model", "dense", "--limit", str(QUESTIONS)],
                int,
                steady=False,
            ),
        ]


def command(*words: str) -> subprocess.Popen[str]:
    """Start `ipw` with the mark."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")])
    environment = os.environ | {MARK: str(os.getpid()), "PYTHONPATH": paths}
    ipw = [sys.executable, "-m", "ipw.cli", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(ipw, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> End:
    """Wait for the end; one that hangs is ended and has the code 999."""
    try:
        said, _ = process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return End(999, process.communicate()[0])
    return End(process.returncode, said)


def begin(world: World, out: Path) -> subprocess.Popen[str]:
    """Start a run of `world`."""
    few = ["--sensors", "estimate", "--idle", "0.1", "--warmup", "0", "--concurrency", str(IN_FLIGHT)]
    return command("run", "lm", *world.options, *few, "--max-tokens", "64", "--out", str(out), "--strict")


def ours() -> dict[int, str]:
    """What runs of that which this tool has started: process ids and command lines."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(os.getpid()) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
    return found


def kill(part: str, process: subprocess.Popen[str]) -> bool:
    """Send SIGKILL to one part, as soon as it is there; whether it was before the run ended."""
    while process.poll() is None:
        for pid, words in ours().items():
            mine = pid == process.pid if part == "client" else PARTS[part] in words
            if mine and (part in {"client", "keeper"} or "server_keeper" not in words):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
                    return True
        time.sleep(0.01)
    return False


def gone(faults: list[str]) -> None:
    """Wait until nothing runs that the case has started; what does is a fault, and ended."""
    until = time.monotonic() + GONE_S
    while (left := ours()) and time.monotonic() < until:
        time.sleep(0.05)
    for pid, words in left.items():
        faults.append(f"left behind: {words[:80]}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
