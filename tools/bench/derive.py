"""CPU of `ipw report --recompute` on one stored run, by this tree against an older one: a ratio, measured in one run.

    python tools/bench/derive.py --against OLDER_TREE --folder /tmp/derive

The older tree (`git worktree add OLDER_TREE COMMIT`) makes the run, which both read, so that neither has to read what
only the other writes. Both derive a copy of it in turns, in processes of their own, with their byte code kept.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(tree: Path) -> dict[str, str]:
    """Let a process import `ipw` from a tree, and keep its byte code."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(tree)}


def cpu_s(tree: Path, run: Path) -> tuple[float, float]:
    """Derive `run` by the program of `tree`; returns CPU-seconds, user's and system's, and peak GB of memory."""
    command = [sys.executable, "-m", "ipw.cli", "report", "--recompute", "--json", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tree, env=environment(tree))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{tree}: ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Bound the median of all such ratios at 95 %, by resampling those measured (seeded)."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[-51]


def main() -> None:
    """Make the run where it is not there yet, derive it in turns, and print the ratio of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="the older tree")
    parser.add_argument("--folder", type=Path, required=True, help="where the runs are or will be; kept")
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    older, folder = options.against.resolve(), options.folder.resolve()
    made = folder / f"made-{options.queries}"
    if not made.exists():
        scale = [sys.executable, str(older / "tools/bench/scale.py"), "--folder", str(folder)]
        subprocess.run([*scale, "--queries", str(options.queries)], check=True, cwd=older, env=environment(older))
    copies = {}
    for name, tree in {"older": older, "this": ROOT}.items():
        copies[name] = tree, folder / f"{name}-{options.queries}"
        shutil.rmtree(copies[name][1], ignore_errors=True)
        shutil.copytree(made, copies[name][1])
        cpu_s(*copies[name])  # byte code and the files in memory
    ratios = []
    for pair in range(options.pairs):
        names = ("older", "this") if pair % 2 else ("this", "older")
        cost = {name: cpu_s(*copies[name]) for name in names}
        ratios.append(cost["this"][0] / cost["older"][0])
        told = "  ".join(f"{name} {cost[name][0]:5.2f} s {cost[name][1]:.2f} GB" for name in sorted(cost))
        print(f"pair {pair + 1}: {told}  {ratios[-1]:.3f}", flush=True)
    low, high = interval(ratios)
    median = statistics.median(ratios)
    print(f"{options.queries:,} queries, this over older: {median:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
