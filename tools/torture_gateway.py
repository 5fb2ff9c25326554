"""Kills a gateway, its command, its keepers, its sampler and its server while requests are in flight.

`python tools/torture_gateway.py --kills 60 --seed 1`: seeded. A command of three threads asks through the gateway and
keeps books of every answer that it has whole. A kill comes when a random number of requests is in the journal, and a
random moment later. Then nothing may hang or be left behind, what was answered must be in the journal as it was said,
no summary may tell other numbers than the journal, a run whose gateway, sampler or server was killed may not be valid,
and the key that went through may be in no file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from doubles.openai_server import Behaviour, Request, serving
from torture_worlds import command, ended, gone, ours

QUESTIONS, THREADS, TOKENS = 60, 3, 8
KEY = "sk-torture-5f1d0c9e7ab34826"
DELAY_S = 0.3
"""A kill comes at most so long after the request that it waited for: an answer takes about as long."""
NOT_VALID = {"gateway", "sampler", "server", "server's keeper"}
"""Whose death leaves no valid run."""
CODES = {
    "gateway": {-9}, "command": {137}, "command's keeper": {137}, "sampler": {0, 4, 5}, "server": {3, 5},
    "server's keeper": {3, 5},
}  # fmt: skip
"""How `ipw gateway` may end: with the command's code, which is 3 where some requests failed."""
PARTS = {
    "command's keeper": "agents.gateway.command_keeper", "server's keeper": "servers.server_keeper",
    "sampler": "ipw.profilers.sampler.process", "command": "torture_agent.py", "server": "torture_gateway_server.py",
}  # fmt: skip
"""What stands on the command line of each process; that of the last two also on those of their keepers."""
SERVER = """
import sys, time
from torture_gateway import book_keeping, serving
with serving(book_keeping(sys.argv[2]), port=int(sys.argv[1])):
    time.sleep(600)
"""
AGENT = """
import http.client, json, os, subprocess, sys, threading, time
from urllib.parse import urlsplit
books, questions, threads = open(sys.argv[1], "a", buffering=1), int(sys.argv[2]), int(sys.argv[3])
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
url, failed = urlsplit(os.environ["OPENAI_BASE_URL"]), []

def ask(number):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": f"say {number}"}]}
    key = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"}
    connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), key)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    if answer.status != 200 or "[DONE]" not in said:
        raise ValueError(answer.status)
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]
    text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
    books.write(json.dumps([number, text]) + "\\n")

def work(first):
    for number in range(first, questions, threads):
        try:
            ask(number)
        except (OSError, ValueError, http.client.HTTPException):
            failed.append(number)
            time.sleep(0.02)

workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
sys.exit(3 if failed else 0)
"""


class World(NamedTuple):
    """Where the answers come from, and what can be killed."""

    name: str
    parts: tuple[str, ...]
    options: list[str]


def said(number: int) -> list[str]:
    """Give the tokens of the answer to a question, which its number alone decides."""
    return [f"{number * 31 + place} " for place in range(TOKENS)]


def book_keeping(books: str) -> Callable[[Request], Behaviour]:
    """Answer as the question alone says, and write a line into `books` for each that has come."""

    def behave(request: Request) -> Behaviour:
        with Path(books).open("a") as file:
            file.write(f"{request.prompt}\n")
        return Behaviour(said(int(request.prompt.removeprefix("say "))), prefill_s=0.03, token_s=0.02)

    return behave


@contextlib.contextmanager
def worlds(folder: Path) -> Iterator[list[World]]:
    """A server beside the gateway, and one that the gateway starts."""
    script, books = folder / "torture_gateway_server.py", folder / "books.txt"
    script.write_text(SERVER)
    books.touch()
    serve = shlex.join([sys.executable, str(script), "{port}", str(books)])
    parts = ("gateway", "command", "command's keeper", "sampler")
    with serving(book_keeping(str(books))) as server:
        yield [
            World("--base-url", parts, ["--base-url", server.url]),
            World("--serve", (*parts, "server", "server's keeper"), ["--serve", serve]),
        ]


def begin(world: World, folder: Path, out: Path) -> subprocess.Popen[str]:
    """Start a gateway with the command."""
    script = folder / "torture_agent.py"
    script.write_text(AGENT)
    os.environ["OPENAI_API_KEY"] = KEY
    agent = [
        sys.executable,
        str(script),
        str(out.with_suffix(".books")),
        str(QUESTIONS),
        str(THREADS),
        "--api-key",
        KEY,
    ]
    few = ["--sensors", "estimate", "--idle", "0.1", "--out", str(out)]
    return command("gateway", *world.options, *few, "--", *agent)


def is_part(part: str, pid: int, words: str, gateway: int) -> bool:
    """Whether a process is that part of a case."""
    if part == "gateway":
        return pid == gateway
    return PARTS[part] in words and (part == "sampler" or "keeper" in part or " -m ipw." not in words)


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of the journal that tell of requests."""
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [record for line in lines if (record := json.loads(line))["kind"] == "query"]


def run_of(out: Path) -> Path | None:
    """The run's folder, where there is one."""
    return next(iter(sorted(out.glob("*-*"))), None)


def await_moment(chance: random.Random, out: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a random number of requests has ended, and a little longer."""
    enough, later_s = chance.randrange(1, QUESTIONS - 2 * THREADS), chance.uniform(0, DELAY_S)
    while process.poll() is None and ((run := run_of(out)) is None or len(records(run)) < enough):
        time.sleep(0.01)
    time.sleep(later_s)


def kill(part: str, process: subprocess.Popen[str]) -> bool:
    """Send SIGKILL to one part; whether it was there."""
    for pid, words in ours().items():
        if is_part(part, pid, words, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
                return True
    return False


def believed(run: Path, told: dict[str, Any], part: str, faults: list[str]) -> None:
    """Hold a summary against the journal, and its validity against what was killed."""
    found = records(run)
    failed = sum(record["status"] != "ok" for record in found)
    metrics = told["metrics"]
    for name, wanted in {"queries": len(found), "failed_queries": failed}.items():
        if name in metrics and metrics[name]["value"] != wanted:
            faults.append(f"{name} is {metrics[name]['value']}, the journal has {wanted}")
    if told["valid"] and part in NOT_VALID:
        faults.append(f"valid, although its {part} was killed")


def check_files(out: Path, faults: list[str]) -> None:
    """Look for the key in every file."""
    files = [path for path in out.rglob("*") if path.is_file()]
    faults += [f"the key is in {path.name}" for path in files if KEY.encode() in path.read_bytes()]


def check_answers(run: Path, books: Path, part: str, faults: list[str]) -> None:
    """Hold the journal against what was said, and against what the command has whole.

    Of a gateway that is killed, the newest answer of each thread may have been passed on and not yet written.
    """
    told = [json.loads(line) for line in books.read_text().splitlines() if line.endswith("]")] if books.exists() else []
    kept = Counter(record["response"] for record in records(run) if record["status"] == "ok")
    answers = {"".join(said(number)): number for number in range(QUESTIONS)}
    newest = {max((n for n, _ in told if n % THREADS == thread), default=-1) for thread in range(THREADS)}
    spared = newest if part == "gateway" else set()
    if wrong := [text for _, text in told if text not in answers]:
        faults.append(f"the command was told {wrong[0]!r}")
    if lost := [n for n, text in told if not kept[text] and n not in spared]:
        faults.append(f"lost: the answers to {lost}")
    if wrong := [text for text in kept if text not in answers]:
        faults.append(f"kept as answered: {wrong[0]!r}")
    if twice := [text for text, count in kept.items() if count > 1]:
        faults.append(f"kept twice: {twice[0]!r}")


def check(out: Path, part: str, faults: list[str]) -> None:
    """Check all that must hold of what a case has left."""
    run = run_of(out)
    if run is None:
        faults.append("no run")
        return
    check_files(out, faults)
    check_answers(run, out.with_suffix(".books"), part, faults)
    with contextlib.suppress(FileNotFoundError):
        believed(run, json.loads((run / "summary.json").read_text()), part, faults)
    sums = []
    for words in (("--recompute",), ()):
        end = ended(command("report", "--json", *words, str(run)))
        if end.code not in {0, 4} or "Traceback" in end.said:
            faults.append(f"report {' '.join(words)} ended with {end.code}: {end.said[-300:]!r}")
            return
        sums.append(json.loads((run / "summary.json").read_text()))
        believed(run, sums[-1], part, faults)
    if sums[0] != sums[1]:
        faults.append("two reports tell different numbers")
    check_files(out, faults)
    gone(faults)


def main() -> int:
    """Run all cases; print a line for each fault, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, rows, on_their_way = random.Random(options.seed), Counter[tuple[str, str, str]](), 0
    with tempfile.TemporaryDirectory(prefix="ipw-torture-") as name, worlds(Path(name)) as made:
        folder, books = Path(name), Path(name) / "books.txt"
        cases = [(world, part) for world in made for part in world.parts]
        hits = number = 0
        while hits < options.kills and number < 2 * options.kills:
            world, part = cases[number % len(cases)]
            out, faults = folder / f"kill-{number}", list[str]()
            asked = len(books.read_text().splitlines())
            process = begin(world, folder, out)
            await_moment(chance, out, process)
            run = run_of(out)
            in_flight = len(books.read_text().splitlines()) - asked - (len(records(run)) if run else 0)
            hit = kill(part, process)
            end = ended(process)
            if "Traceback" in end.said or end.code not in (CODES[part] if hit else {0}):
                faults.append(f"ended with {end.code}: {end.said[-300:]!r}")
            gone(faults)
            check(out, part if hit else "", faults)
            rows[world.name, part, "FAILED" if faults else "as it must" if hit else "had ended before"] += 1
            for fault in faults:
                print(f"case {number}, {world.name}, {part} killed: {fault}", flush=True)
            on_their_way += hit and in_flight > 0
            hits, number = hits + hit, number + 1
    print(f"\nseed {options.seed}: {hits} kills, {on_their_way} of them with requests in flight")
    for (world_name, part, how), count in sorted(rows.items()):
        print(f"{world_name:10} {part:17} {how:16} {count:3}")
    return int(any(how == "FAILED" for _, _, how in rows))


if __name__ == "__main__":
    sys.exit(main())
