"""Runs the benchmarks of tools/bench beside other tools, and writes docs/benchmarks.md: `make bench`.

    python tools/bench_page.py [--quick] [--only NAME...] [--prepare] [--page FILE]

Run it on a machine that does nothing else: about 15 minutes, with `--quick` about 9. `--prepare` only installs the
other tools and writes what is to be reported, which takes minutes the first time and needs the network. What another
tool or a benchmark could not do here is told on the page, and with `--only` which benchmarks the page lacks.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench_peers import FOLDER, PEERS, Peer, installed

PAGE = ROOT / "docs/benchmarks.md"
LIMIT_S = 480
QUIET = 0.2
"""Processors that others may use on a machine that is called quiet."""
Peers = Mapping[str, Peer]
"""Those that are installed."""


class Bench(NamedTuple):
    """One part of the page."""

    name: str
    title: str
    told: str
    """What was measured, for a reader of the figures."""
    silent: str
    """What its figures do not show."""
    command: Callable[[Peers, bool], Sequence[str]]
    """Of the tools that are here, and whether it should be quick: words after `python`, at the root of the project."""
    beside: tuple[str, ...] = ()
    """Tools that it measures beside ours."""
    markdown: bool = False
    """Whether it prints tables in Markdown."""


class Outcome(NamedTuple):
    """What one part printed."""

    bench: Bench
    command: str
    seconds: float
    printed: str
    failure: str = ""
    others: float | None = None
    """Processors that all other programs used meanwhile."""


def _with(peers: Peers, **options: str) -> list[str]:
    """Options that name the interpreter or the program of each tool that is here."""
    here = [(name, kind) for name, kind in options.items() if name in peers]
    return [word for name, kind in here for word in (f"--{name}", getattr(peers[name], kind))]


BENCHES = (
    Bench(
        "sampler",
        "What sampling costs",
        "Processor time of the sampler, in per cent of one core, beside plain loops, zeus and codecarbon, and in the "
        "last column as a multiple of ours. *seen* is the share of the ticks of the energy counters that it saw, "
        "*knot* how far from the truth it puts them, *as told* how often they are as near as it says.",
        "A real driver: the stand-in answers at once, and a call of NVML can take milliseconds. What zeus and "
        "codecarbon do beside sampling is in their figures. zeus 0.16.0 finds a period of 0 where it is given none, on "
        "any GPU, and reads without a pause: give it one.",
        lambda peers, quick: [
            "tools/bench/sampler.py", "--seconds", "6" if quick else "15",
            *_with(peers, zeus="python", codecarbon="python"),
        ],
        ("zeus", "codecarbon"),
    ),
    Bench(
        "client",
        "What the client costs",
        "Processor time of the client for each token that a server streams to it, and how far its time to first token "
        "is from the server's own books. The server has one core, the client another.",
        "A network, a real engine, or what the other tools do with an answer beside timing it. They are "
        "measured once, ipw and the plain loop three times. The error of their times is between percentiles of all "
        "answers, not answer by answer, since they keep no name of a request that the server's books have too.",
        lambda peers, quick: [
            "tools/bench/client.py", "--streams", "32", *([] if quick else ["100"]), "--repeats", "3",
            *_with(peers, guidellm="program", aiperf="program"),
        ],
        ("guidellm", "aiperf"),
    ),
    Bench(
        "clients",
        "Several processes that ask",
        "Tokens that four asking processes of one run carry beside one, and what a token costs each. The first line "
        "says whether each had a processor of its own, or whether that is simulated "
        "([how](lm.md#several-processes-that-ask)).",
        "What more than four processes carry, or a server that is slower than they are.",
        lambda _, quick: [
            "tools/bench/clients.py", "--clients", "1", "4", "--streams", "32", "--tokens", "100",
            "--repeats", "1" if quick else "3",
        ],
    ),
    Bench(
        "start-up",
        "Start-up",
        "Processor time until a program could begin.",
        "The first start after an installation, which also compiles, and the loading of a model.",
        lambda peers, quick: [
            "tools/bench/startup.py", "--repeats", "1" if quick else "3",
            *_with(peers, codecarbon="python", zeus="python", guidellm="program", aiperf="program"),
        ],
        PEERS,
    ),
    Bench(
        "attribution",
        "Joules of queries whose power follows their phases",
        "Error of the joules of each query against a simulated server's own books. [Attribution](attribution.md) "
        "tells the rules. The other rules cannot tell queries apart that are in flight together: each is charged for "
        "all.",
        "Real GPUs: power here is what the simulation says. With one query at a time all rules answer one "
        "question; with several in flight the other rules answer another.",
        lambda _, quick: ["tools/bench/attribution.py", "--seeds", "1" if quick else "4"],
        ("zeus",),
        markdown=True,
    ),
    Bench(
        "batching",
        "Joules of requests in engines that compute in steps",
        "Error of the joules of each request against a simulated engine's own books. The last column is a division by "
        "phase, as where steps cannot be told.",
        "Real engines: what a step costs is a formula here, which the rows disturb one by one. We know of no other "
        "tool that divides joules among requests in flight.",
        lambda _, quick: ["tools/bench/batching.py", "--seeds", "1" if quick else "3"],
        markdown=True,
    ),
    Bench(
        "routing",
        "Routing metrics",
        "One trace of 512 tokens, 8 of 64 experts, caches of every size, beside plain Python that gives the same "
        "numbers one size at a time.",
        "Another library: we know of none that computes these metrics. Plain Python is a reference, not a rival.",
        lambda *_: ["tools/bench/routing.py", "speed"],
    ),
    Bench(
        "report",
        "A report of a million queries",
        "`ipw report` from the raw files and from what is stored, beside a plain loop that reads the journal.",
        "Memory of the page in a browser, or slower disks.",
        lambda *_: [
            "tools/bench/scale.py", "--queries", "1000000", "--folder", str(FOLDER / "scale"),
        ],
    ),
    Bench(
        "gate",
        "False alarms of the gate",
        "How often a check calls a regression, in simulated sessions of known truth. *no change* and *any of 15* are "
        "false alarms. The other tools' rules are short versions of our own.",
        "Your runner: noise is drawn from distributions that were fitted to others. `ipw calibrate` measures yours.",
        lambda _, quick: ["tools/bench/gate.py", "--sessions", "1000" if quick else "4000"],
    ),
)  # fmt: skip
MADE = {"report": "--make"}
"""The option with which a benchmark only makes what it measures."""
WITH_ITS_PYTHON = {"attribution": "zeus"}
"""Benchmarks that import another tool beside ours run in its interpreter where it is here."""


def outcome(bench: Bench, peers: Peers, *, quick: bool) -> Outcome:
    """Run one part."""
    python = peers[WITH_ITS_PYTHON[bench.name]].python if WITH_ITS_PYTHON.get(bench.name) in peers else sys.executable
    words = bench.command(peers, quick)
    shown = shlex.join([python if python != sys.executable else "python", *words])
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what pip installed is compiled already, and ours would not be
    start, busy_s = time.monotonic(), _busy_s()
    try:
        done = subprocess.run(
            [python, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(bench, shown, time.monotonic() - start, "", f"it took more than {LIMIT_S} s")
    failure = f"it ended with {done.returncode}: {_last(done.stderr)}" if done.returncode else ""
    seconds = time.monotonic() - start
    others = max(0.0, _busy_s() - busy_s) / seconds
    here = f"{ROOT}{os.sep}"  # where the tree lies is nobody's business
    return Outcome(bench, shown, seconds, done.stdout.strip("\n").replace(here, ""), failure.replace(here, ""), others)


def _busy_s() -> float:
    """Give the seconds that processors computed for anybody but the programs that this one started."""
    import resource

    import psutil

    times, mine = psutil.cpu_times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    idle_s = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
    return float(sum(times) - idle_s - mine.ru_utime - mine.ru_stime)


def _last(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "")[:200]


def page(outcomes: Sequence[Outcome], peers: Sequence[Peer], machine: Mapping[str, str]) -> str:
    """Make the page, in Markdown."""
    here = {peer.name: peer for peer in peers if peer.version}
    beside = {name for outcome in outcomes for name in outcome.bench.beside}
    versions = [peer for peer in peers if peer.name in beside]
    parts = [
        "<!-- Made by `make bench`: run it again instead of changing figures here. -->\n\n# Benchmarks\n\n"
        f"{_holds(outcomes)}\n\n"
        "Every figure was measured on one machine, and what is compared was measured in the same run. Read the ratios: "
        "seconds are this machine's. GPUs, servers and queries are stand-ins whose truth is known.\n\n"
        "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in machine.items()),
    ]
    if versions:
        rows = (f"| {peer.name} | {peer.version or f'not installed here: {peer.why_not}'} |\n" for peer in versions)
        parts.append("| other tool | version |\n|---|---|\n" + "".join(rows))
    for bench, command, seconds, printed, failure, others in outcomes:
        missing = [name for name in bench.beside if name not in here]
        lacks = f" Not here, so not measured: {', '.join(missing)}." if missing else ""
        fence = ("", "") if bench.markdown else ("```text\n", "\n```")
        shown = f"\n{fence[0]}{printed}{fence[1]}\n" if printed else ""
        failed = f"\n**This benchmark failed**: {failure}.\n" if failure else ""
        parts.append(
            f"## {bench.title}\n\n{bench.told}{lacks}\n\n*Not shown*: {bench.silent}\n\n"
            f"Measured by `{command}` in {seconds:.0f} s{_beside(others)}:\n{shown}{failed}"
        )
    return "\n".join(parts)


def _holds(outcomes: Sequence[Outcome]) -> str:
    """Say how many of the benchmarks the page has figures of, and name those that it lacks."""
    measured = {outcome.bench.name for outcome in outcomes if not outcome.failure}
    lacking = [bench.title for bench in BENCHES if bench.name not in measured]
    told = f"This page holds {len(BENCHES) - len(lacking)} of {len(BENCHES)} benchmarks."
    return f"{told} **Not measured here**: {'; '.join(lacking)}." if lacking else told


def _beside(others: float | None) -> str:
    """Say how much other programs computed meanwhile."""
    if others is None:
        return ""
    busy = ": **busy**, so times are longer and less certain than on a quiet machine" if others > QUIET else ""
    return f"; other programs used {others:.1f} processors meanwhile{busy}"


def _load(load: float | None, processors: int | None) -> str:
    """Give the load, and say where more wanted to compute than could."""
    busy = load is not None and processors is not None and load > processors
    told = "not known" if load is None else f"{load:.1f}"
    return f"{told}: **busy**, so times are longer and less certain than on a quiet machine" if busy else told


def this_machine() -> dict[str, str]:
    """Give what a reader needs to judge the figures by."""
    import numpy as np

    import ipw
    from ipw.host import host_facts

    facts = host_facts()
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "processor": f"{facts['cpu']}, {facts['threads']} logical",
        "virtual": facts["virtualisation"] or "no sign of it",
        "memory": f"{(facts['memory_bytes'] or 0) / 2**30:.0f} GiB",
        "system": re.sub(r"(\d+\.\d+)\S*", r"\1", facts["system"]),  # what builds call themselves tells nothing
        "Python": f"{platform.python_version()}, numpy {np.__version__}",
        "load before the first benchmark": _load(facts["load_average"], facts["threads"]),
        "ipw": ipw.__version__,
    }


def main() -> None:
    """Install, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--only", nargs="+", choices=[bench.name for bench in BENCHES], default=[])
    parser.add_argument("--prepare", action="store_true", help="install the other tools and make what is measured")
    parser.add_argument("--page", type=Path, default=PAGE, help="to write")
    given = parser.parse_args()
    peers = []
    for name in PEERS:
        peers.append(installed(name, ROOT))
        print(f"{name}: {peers[-1].version or peers[-1].why_not}", flush=True)
    if given.prepare:
        for bench in BENCHES:
            if bench.name in MADE:
                words = bench.command({}, given.quick)
                subprocess.run([sys.executable, *words, MADE[bench.name]], cwd=ROOT, check=True)
        return
    machine = this_machine()
    outcomes = []
    for bench in BENCHES:
        if not given.only or bench.name in given.only:
            print(f"{bench.name} …", flush=True)
            outcomes.append(outcome(bench, {peer.name: peer for peer in peers if peer.version}, quick=given.quick))
            print(f"{outcomes[-1].printed}\n{outcomes[-1].failure} ({outcomes[-1].seconds:.0f} s)\n", flush=True)
    given.page.write_text(page(outcomes, peers, machine), encoding="utf-8")
    print(f"written: {given.page}")


if __name__ == "__main__":
    main()
