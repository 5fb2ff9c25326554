"""Kills what measures at random moments, fills disks, goes on with `ipw resume`, and holds the ends against the truth.

`make torture`: seeded. A run is small (40 questions). Whatever was killed, in the end nothing answered is gone,
nothing was asked twice beyond what was on its way, no process is left, every summary is whole, and none that calls
itself valid has another accuracy than the undisturbed run. Disks are tmpfs of a size, which only root can mount.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torture_worlds import IN_FLIGHT, QUESTIONS, End, World, begin, command, ended, gone, kill, worlds


def check_end(end: End, codes: set[int], faults: list[str]) -> None:
    """Hold how a command ended against how it may end."""
    if "Traceback" in end.said or end.code not in codes:
        faults.append(f"ended with {end.code}: {end.said[-300:]!r}")


def await_moment(chance: random.Random, out: Path, process: subprocess.Popen[str], most_s: float) -> None:
    """Wait for a random moment: every second one lies between two answers, the others anywhere in the run."""
    answers, until = chance.choice([None, chance.randrange(QUESTIONS)]), chance.uniform(0, most_s)
    began = time.monotonic()
    while process.poll() is None:
        if answers is None and time.monotonic() - began > until:
            return
        if answers is not None and any(len(records(run)) > answers for run in out.glob("*-*")):
            return
        time.sleep(0.005)


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of the journal that tell of answered questions."""
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    told = [json.loads(line) for line in lines]
    return [r for r in told if r["kind"] in {"query", "retry"} and r["status"] == "ok"]


def summary(run: Path, faults: list[str]) -> dict[str, Any] | None:
    """The summary where there is one; a half one is a fault."""
    try:
        found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        faults.append("half a summary")
        return None
    return found


def right(run: Path) -> float:
    """Share of the questions whose answer in the journal is right."""
    return sum(float(r["score"]) for r in records(run)) / QUESTIONS


def believed(run: Path, truth: float | None, faults: list[str]) -> None:
    """Hold what a run says at one moment against the truth: the undisturbed run's, or else the journal's own."""
    told, truth = summary(run, faults), right(run) if truth is None else truth
    if told and told["valid"] and told["metrics"]["accuracy"]["value"] != truth:
        faults.append(f"a wrong summary is valid: {told['metrics']['accuracy']['value']}")


def go_on(world: World, out: Path, truth: float | None, asked_before: int, faults: list[str]) -> str:
    """Resume what a case has left, and check all that must hold; returns how it ended."""
    runs = [path for path in out.iterdir() if path.is_dir()] if out.exists() else []
    if len(runs) != 1 or not (runs[0] / "manifest.json").exists():
        if world.asked() > asked_before or any(records(run) for run in runs):
            faults.append("asked, and nothing is left of it")
        return "nothing begun"
    run = runs[0]
    believed(run, truth, faults)
    answered = {(r["query_id"], r["response"], r["start_ns"]) for r in records(run)}
    first = ended(command("resume", str(run)))
    last = first if first.code in {0, 5} else ended(command("report", str(run)))
    for end in (first, last):
        check_end(end, {0, 2, 5}, faults)
    gone(faults)
    after = records(run)
    if lost := answered - {(r["query_id"], r["response"], r["start_ns"]) for r in after}:
        faults.append(f"lost: {len(lost)}")
    if (twice := max(Counter(r["query_id"] for r in after).values(), default=0)) > 1:
        faults.append(f"answered {twice} times")
    if len(after) != QUESTIONS:
        faults.append(f"{len(after)} of {QUESTIONS} answered in the end: {first.said[-300:]!r}")
    if (again := world.asked() - asked_before - QUESTIONS) > IN_FLIGHT:
        faults.append(f"asked {again} again, {IN_FLIGHT} were on their way")
    believed(run, truth, faults)
    told, truth = summary(run, faults), right(run) if truth is None else truth
    if told is None or told["metrics"]["accuracy"]["value"] != truth:
        faults.append(f"no summary of {truth}: {[end.said[-300:] for end in (first, last)]}")
    kept = json.loads((run / "manifest.json").read_text()).get("arrivals") or {}
    if kept.get("missing"):
        faults.append(f"arrivals of {kept['missing']} requests are lost")
    return "resumed" if first.code == 0 else "all was asked"


@contextlib.contextmanager
def disk(folder: Path, kib: int) -> Iterator[Callable[[], object]]:
    """A file system of so many KiB on `folder`; what it gives makes room."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], check=True, capture_output=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def main() -> int:
    """Run all cases; print a line for each that fails, and the table."""
    parser = argparse.ArgumentParser(description="Kills and full disks, each followed by a resume.")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, rows = random.Random(options.seed), Counter[tuple[str, str, str]]()
    with tempfile.TemporaryDirectory(prefix="ipw-torture-") as name, worlds(Path(name)) as made:
        folder = Path(name)
        truths: dict[str, float | None] = {}
        lasts = {}
        for world in made:
            began, asked = time.monotonic(), world.asked()
            end = ended(begin(world, folder / world.name))
            (run,) = (folder / world.name).iterdir()
            lasts[world.name] = time.monotonic() - began
            truths[world.name] = right(run) if world.steady else None
            print(f"{world.name}: undisturbed {right(run)}, {world.asked() - asked} asked, ends with {end.code}")

        def note(world: World, what: str, number: int, how: str, faults: list[str]) -> None:
            rows[world.name, what, "FAILED" if faults else how] += 1
            for fault in faults:
                print(f"case {number}, {world.name}, {what}, {how}: {fault}", flush=True)

        number = hits = 0
        while hits < options.kills and number < 2 * options.kills:
            world = made[number % len(made)]
            part = world.parts[number // len(made) % len(world.parts)]
            out, faults, asked = folder / f"kill-{number}", list[str](), world.asked()
            process = begin(world, out)
            await_moment(chance, out, process, lasts[world.name])
            hit = kill(part, process)
            ended(process)
            gone(faults)
            how = go_on(world, out, truths[world.name], asked, faults)
            note(world, f"{part} killed", number, how if hit else "had ended before", faults)
            hits, number = hits + hit, number + 1
        for number in range(options.disks):
            out, faults, asked = folder / f"disk-{number}", list[str](), made[0].asked()
            try:
                with disk(out, kib := int(8 * 100 ** chance.uniform(0, 1))) as make_room:
                    end = ended(begin(made[0], out))
                    check_end(end, {0, 4, 5}, faults)
                    gone(faults)
                    make_room()
                    how = go_on(made[0], out, truths["openai"], asked, faults)
                    note(made[0], "disk full", number, f"{how}, code {end.code}", [f"{kib} KiB: {f}" for f in faults])
            except subprocess.CalledProcessError as error:
                print(f"full disks are not tried: {error.stderr.decode().strip() or 'mounting is not permitted'}")
                break
    print(f"\nseed {options.seed}: {hits} kills")
    for (world_name, what, how), count in sorted(rows.items()):
        print(f"{world_name:9} {what:15} {how:30} {count:3}")
    return int(any(how == "FAILED" for _, _, how in rows))


if __name__ == "__main__":
    sys.exit(main())
