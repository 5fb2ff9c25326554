"""Damages what ipw reads, in seeded ways, and reads it: `make fuzz`. Nothing may end in a traceback, hang or swell.

Every case is a process of its own (forked, so that thousands take minutes). It must end in a result, or in one line of
an IpwError; a run whose journal or readings were damaged must say so, or have the numbers that it had before.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ipw.errors import IpwError

MOST_S, MOST_MIB = 20.0, 500
RUNS = ROOT / "tests" / "runs" / "version-1"
RECORDINGS = ROOT / "tests" / "recordings"
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**53, 2**63, 10**40, 10**400, 1e300, float("nan"), float("inf"), "", "x", "8", [], {}, [[]],
    {"a": 1}, [None], "\x1b[31m", "\ud800", "x" * 100_000,
)  # fmt: skip


class Case(NamedTuple):
    """What is damaged, and how it is read; `check` says what is silently wrong afterwards."""

    name: str
    make: Callable[[Path], Path]
    """Write the whole thing into a folder; returns the file or folder to damage."""
    read: Callable[[Path], object]


@dataclass
class Outcome:
    """How one case ended."""

    name: str
    number: int
    how: str
    """`ok`, `told`, or else what is wrong."""
    seconds: float
    mib: float
    detail: str = ""


# --- damage ----------------------------------------------------------------------------------------------------------


def damaged(raw: bytes, rng: random.Random, suffix: str) -> bytes:
    """Damage a file: its bytes, or where it is JSON, one of its values."""
    if suffix in {".json", ".jsonl"} and rng.random() < 0.7:
        with contextlib.suppress(ValueError):
            return _other_value(raw, rng, lines=suffix == ".jsonl")
    return _other_bytes(raw, rng)


def _other_bytes(raw: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(raw) + 1), len(raw)
    match rng.randrange(9):
        case 0:
            return raw[:at]
        case 1:
            return b""
        case 2:
            return raw[:at] + rng.randbytes(rng.choice((1, 4, 8, 64))) + raw[at:]
        case 3:
            return raw[:at] + raw[at + rng.choice((1, 8, 100)) :]
        case 4:
            return raw[:at] + rng.choice((b"[", b'{"a":')) * 50_000 + raw[at:]
        case 5:
            return raw[:at] + struct.pack("<Q", rng.choice((0, 2**31, 2**63, 2**64 - 1))) + raw[at + 8 :]
        case 6:
            return raw[:at] + bytes(min(64, size - at)) + raw[at + 64 :]
        case 7:
            return raw + raw[at:]
        case _:
            flipped = bytearray(raw or b"\0")
            for _ in range(rng.choice((1, 1, 5, 50))):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)


def _other_value(raw: bytes, rng: random.Random, *, lines: bool) -> bytes:
    if lines:
        rows = raw.splitlines()
        at = rng.randrange(len(rows))
        if rng.random() < 0.2:
            return b"\n".join(rows[:at] + rows[at + rng.choice((0, 1)) :] + rows[: rng.choice((0, 1))]) + b"\n"
        rows[at] = _other_value(rows[at], rng, lines=False)
        return b"\n".join(rows) + b"\n"
    document = json.loads(raw)
    places = list(_places(document))
    if not places:
        return json.dumps(rng.choice(ODD)).encode()
    holder, key = rng.choice(places)
    if rng.random() < 0.25:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD)
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


# --- what is read ----------------------------------------------------------------------------------------------------


def _verb(*words: str) -> None:
    """Run the command line, whose exit code says whether it was told."""
    from ipw.cli import cli

    code = cli.main(list(words), prog_name="ipw", standalone_mode=False)
    if isinstance(code, int) and code not in {0, 2, 4, 5}:
        raise AssertionError(f"exit code {code}")


def _of_run(kind: str, number: str, verbs: Callable[[Path], object]) -> Case:
    def make(folder: Path) -> Path:
        from ipw.runs.checks.survey import recorded
        from ipw.runs.directory import RunDir

        path = Path(shutil.copytree(RUNS / kind, folder / "run"))
        run = RunDir(path)
        run.update_manifest(recorded=recorded(run, run.reading_count()))
        return path

    return Case(f"{kind} {number}", make, verbs)


def _recomputed(folder: Path) -> None:
    from ipw.pipeline import derive
    from ipw.runs.directory import RunDir

    _verb("report", str(folder), "--recompute", "--page", str(folder.parent / "page.html"))
    summary = derive(RunDir.open(folder))
    stored = RUNS / (folder.parent / "kind").read_text() / "summary.json"
    before = json.loads(stored.read_bytes()) if stored.exists() else {"metrics": {}}
    raw = (folder.parent / "damaged").read_text()
    if raw.startswith(("journal", "power")) and summary["valid"]:
        for name in ("accuracy", "queries", "energy_j"):
            now, then = (each["metrics"].get(name, {}).get("value") for each in (summary, before))
            if now is not None and then is not None and abs(now - then) > 1e-6 * abs(then):
                raise AssertionError(f"silently wrong: {name} is {now}, and was {then}")


def _looked_at(folder: Path) -> None:
    other = folder.parent / "other"
    shutil.copytree(RUNS / (folder.parent / "kind").read_text(), other)
    page = str(folder.parent / "page.html")
    for words in (
        ("list", "runs", "--out", str(folder.parent)),
        ("watch", str(folder), "--once"),
        ("report", str(folder), str(other), "--page", page),
        ("report", str(folder), "--page", page, "--table", "csv"),
        ("export", str(folder), "--format", "prometheus"),
        ("compare", str(folder), str(other)),
    ):
        with contextlib.suppress(IpwError):
            _verb(*words)


def _file(name: str, content: bytes, read: Callable[[Path], object], file: str) -> Case:
    def make(folder: Path) -> Path:
        path = folder / file
        path.write_bytes(content)
        return path

    return Case(name, make, read)


def _gguf(path: Path) -> object:
    from ipw.workloads.lm.servers.gguf import gguf_facts

    return json.dumps(gguf_facts(path))


def _folder(path: Path) -> object:
    from ipw.workloads.lm.servers.safetensors import folder_weights

    config = path.with_name("config.json")
    if not config.exists():
        config.write_text('{"num_experts": 8, "num_experts_per_tok": 2, "model_type": "a"}')
    return json.dumps(folder_weights(path.parent))


def _replay(path: Path) -> object:
    from ipw.profilers.replay import open_sensor

    os.environ["IPW_REPLAY"] = str(path)
    return open_sensor().channels


def _profile(path: Path) -> object:
    from ipw.profilers.probe.profile import stored_profiles

    return stored_profiles(path)


def _meter(path: Path) -> object:
    from ipw.foreign_json import read_json
    from ipw.profilers.base import SensorError
    from ipw.profilers.meter_answers import parse

    with contextlib.suppress(SensorError):
        return parse(read_json(path))
    return None


def _dataset(path: Path) -> object:
    from ipw.workloads.lm.parameters import Parameters
    from ipw.workloads.lm.plan import plan

    return plan(Parameters(dataset=str(path)))


def cases() -> list[Case]:
    """List everything that is read."""
    found = [_of_run(kind, "again", _recomputed) for kind in ("lm", "command", "train", "killed", "resumed")]
    found += [_of_run(kind, "as it is", _looked_at) for kind in ("lm", "command", "train", "routing")]
    found += [_of_run("command", "replayed", _replay)]
    dense = (ROOT / "ipw" / "data").rglob("*.gguf")
    found += [_file("gguf", path.read_bytes()[:200_000], _gguf, path.name) for path in list(dense)[:1]]
    header = json.dumps({"a.experts.0.w": {"shape": [4, 4], "dtype": "F16"}, "b": {"shape": [4], "dtype": "F32"}})
    found.append(_file("safetensors", struct.pack("<Q", len(header)) + header.encode(), _folder, "m.safetensors"))
    questions = "".join(json.dumps({"id": f"q{i}", "prompt": f"{i}+1", "answer": str(i + 1)}) + "\n" for i in range(20))
    found.append(_file("questions", questions.encode(), _dataset, "q.jsonl"))
    found.append(_file("questions csv", b"prompt,answer\n1+1,2\n2+2,4\n", _dataset, "q.csv"))
    for path in sorted(RECORDINGS.glob("*.csv")) + sorted(RECORDINGS.glob("*.log")):
        found.append(_file(f"recording {path.name}", path.read_bytes(), _replay, path.name))
    meter = {"StatusSNS": {"ENERGY": {"Total": 1.5, "Power": [40, 2]}}}
    found.append(_file("meter", json.dumps(meter).encode(), _meter, "meter.json"))
    profile = {"channel": "a", "device": "b", "driver": "c", "kind": "power", "unit": "W", "measured": "d"}
    profiles = json.dumps({"schema_version": 1, "profiles": [profile | {"update_period_s": 0.1}]})
    found.append(_file("profile", profiles.encode(), _profile, "sensors.json"))
    return [*found, *_documents()]


def _documents() -> Iterator[Case]:
    """Files that people write: suites, gates, facts, calibrations, studies, imports."""
    from ipw.foreign_toml import read_toml
    from ipw.gate.calibration import levels, read_jobs
    from ipw.gate.policy import read_policy
    from ipw.reports.facts import read_facts
    from ipw.studies.book import read_study
    from ipw.studies.suite import read_suite
    from ipw.verbs.import_runs import recognise
    from ipw.verbs.lazy import WORKLOADS
    from ipw.verbs.study import drawn

    suite = b'name = "a"\nrepeat = 2\nseeds = [0]\n[run]\nworkload = "lm"\nmodel = "dense"\n[matrix]\nlimit = [1, 2]\n'
    yield _file("suite", suite, lambda path: read_suite(path, WORKLOADS), "suite.toml")
    gate = b"[gate]\nalpha = 0.05\n[metrics.energy_per_query_j]\nmargin = 0.03\n[validity]\nequal = ['responses']\n"
    yield _file("gate", gate, lambda path: read_policy(read_toml(path), str(path), "lm"), "gate.toml")
    facts = b'grid_g_co2e_per_kwh = 380\n[models."a"]\nreleased = 2025-04-29\nprice_per_million_tokens = [0.1, 0.2]\n'
    yield _file("facts", facts, read_facts, "facts.toml")
    jobs = [{"runner": {}, "workload": "lm", "metrics": {"e": {"log_ratio": [0.1, 0.2, 0.1], "start": [0, 0, 1]}}}]
    calibration = json.dumps({"schema_version": 1, "jobs": jobs}).encode()
    yield _file("calibration", calibration, lambda path: levels(read_jobs(path)), "calibration.json")
    cell = {"key": "a", "cell": "b", "status": "done", "attempts": 1, "run": "r", "energy_j": 2.0, "marks": []}
    study = json.dumps({"schema_version": 1, "name": "s", "cells": [cell]}).encode()
    yield _file("study", study, lambda path: drawn("s", read_study(path.parent)["cells"]).renderables, "study.json")
    bench = {"model_filename": "a", "model_type": "b", "n_prompt": 8, "n_gen": 0, "avg_ns": 5, "avg_ts": 1.5}
    yield _file("llama-bench", json.dumps([bench]).encode(), recognise, "bench.json")
    emissions = "timestamp,project_name,duration,emissions,energy_consumed\n2026-01-01T00:00:00,a,10,0.1,0.5\n"
    yield _file("codecarbon", emissions.encode(), recognise, "emissions.csv")


# --- running ---------------------------------------------------------------------------------------------------------


def run(case: Case, number: int, seed: int, folder: Path) -> Outcome:
    """Make, damage and read in a process of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = random.Random(f"{seed} {number} {case.name}")
    target = case.make(folder)
    files = sorted(path for path in target.iterdir() if path.is_file()) if target.is_dir() else [target]
    for path in rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2)))):
        path.write_bytes(damaged(path.read_bytes(), rng, path.suffix))
        (folder / "damaged").write_text(path.name)
    (folder / "kind").write_text(case.name.partition(" ")[0])
    began, end = time.monotonic(), folder / "end"
    own_kib = _resident_kib()
    child = os.fork()
    if child == 0:
        _child(case, target, folder, end)
    usage = _awaited(child)
    seconds = time.monotonic() - began
    how, _, detail = (end.read_text() if end.exists() else "killed").partition("\n")
    mib = max(usage.ru_maxrss - own_kib, 0) / 1024  # a fork begins with what its parent holds
    how = "hang" if seconds > MOST_S else "memory" if mib > MOST_MIB else how
    return Outcome(case.name, number, how, seconds, mib, detail)


def _child(case: Case, target: Path, folder: Path, end: Path) -> None:
    """Read, and write down how that ended; never returns."""
    signal.alarm(int(2 * MOST_S))
    os.chdir(folder)
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    told = "ok"
    try:
        case.read(target)
    except IpwError as error:
        told = "told" if "\n" not in error.message else f"lines\n{error.message}"
    except BaseException:  # noqa: BLE001 - this is what is looked for
        told = f"traceback\n{traceback.format_exc()}"
    end.write_text(told, errors="replace")
    os._exit(0)


def _resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def _awaited(child: int) -> resource.struct_rusage:
    return os.wait4(child, 0)[2]


def fuzz(count: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Yield how each of `count` cases ended, all kinds in turn."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "IPW_PROC": "/nonexistent"}
    known = cases()
    for number in range(count):
        yield run(known[number % len(known)], number, seed, folder / "case")


def main() -> int:
    """Fuzz, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    import ipw.metrics.summary
    import ipw.pipeline
    import ipw.reports.page.page  # noqa: F401 - read once, and not by each child

    with tempfile.TemporaryDirectory(prefix="ipw-fuzz-") as folder:
        found = []
        for outcome in fuzz(asked.cases, asked.seed, Path(folder)):
            found.append(outcome)
            if outcome.how not in {"ok", "told"}:
                print(f"{outcome.how}: {outcome.name}, case {outcome.number}\n{outcome.detail}", flush=True)
    print(dict(Counter(outcome.how for outcome in found)))
    slowest, largest = max(o.seconds for o in found), max(o.mib for o in found)
    print(f"{len(found)} cases of seed {asked.seed}: longest {slowest:.1f} s, most memory {largest:.0f} MiB")
    return int(any(outcome.how not in {"ok", "told"} for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
