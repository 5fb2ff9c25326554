"""Changes the code a little, one place at a time, and asks whether a test notices: `make mutants`.

Seeded, and a sample: mutmut and cosmic-ray try every place, keep a database and start pytest anew for each, which takes
days here. This one first learns which test enters which function, then forks a warm process for each mutant, in a copy
of the tree. A mutant whose tests run out of time counts as noticed and is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from mutation import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ("gate*", "pairs", "calibration", "stats", "compare", "trend")
VERBS = ("interleave", "settle", "calibration_file", "gate_session")
FILES: tuple[str, ...] = ("ipw/energy/*.py", "ipw/runs/*.py", *(f"ipw/reports/{name}.py" for name in REPORTS))
FILES += tuple(f"ipw/verbs/{name}.py" for name in VERBS)
TESTS: tuple[str, ...] = ("tests/energy/test_*.py", "tests/runs/test_*.py", "tests/reports/test_gate*.py")
TESTS += tuple(
    f"tests/reports/test_{name}.py" for name in ("calibration", "compare", "small*", "sti*", "stats", "trend")
)
TESTS += tuple(
    f"tests/verbs/test_{name}.py"
    for name in ("interleave", "settle", "compare_trend", "calibration_file", "gate_session")
)
SLOW_S, BUDGET_S, MOST_S = 5.0, 25.0, 300.0
"""A test that takes more seconds of CPU is not asked; of the others the quickest, up to so many a mutant; and so many
on the clock, since others may use the machine."""


class Learning:
    """A pytest plugin: which functions each test enters, how long it takes, and whether it passes."""

    def __init__(self, copy: Path) -> None:
        self._prefix = f"{copy}/"
        self._files = {str(path) for pattern in FILES for path in copy.glob(pattern)}
        self._entered: set[tuple[str, int]] = set()
        self._began_s = 0.0
        self.tests: dict[str, dict[str, Any]] = {}

    def _trace(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in self._files:
            self._entered.add((code.co_filename.removeprefix(self._prefix), code.co_firstlineno))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Hear how a test went."""
        test = self.tests.setdefault(report.nodeid, {"s": 0.0, "ok": True, "entered": []})
        test["s"] = sum(os.times()[:4]) - self._began_s
        test["ok"] &= report.passed

    def pytest_runtest_logstart(self) -> None:
        """Watch from here."""
        self._entered = set()
        self._began_s = sum(os.times()[:4])
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what was entered."""
        sys.settrace(None)
        if nodeid in self.tests:
            self.tests[nodeid]["entered"] = sorted(self._entered)


def forked(copy: Path, arguments: list[str], seconds: float, learned: Path | None = None) -> int | None:
    """Run pytest in a fork of this process, which holds the heavy imports; its exit code, or None past its time."""
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        import pytest

        plugin = Learning(copy) if learned else None
        code = int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments], plugins=[plugin] if plugin else None))
        if plugin and learned:
            learned.write_text(json.dumps(plugin.tests))
        os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def asked(mutant: Mutant, tests: dict[str, dict[str, Any]]) -> list[str]:
    """The tests that enter the mutant's function (of a module: any of its functions), the quickest first."""

    def enters(test: dict[str, Any]) -> bool:
        return any(file == mutant.file and mutant.function in (0, line) for file, line in test["entered"])

    chosen, spent = [], 0.0
    for name, test in sorted(tests.items(), key=lambda item: float(item[1]["s"])):
        if test["ok"] and test["s"] < SLOW_S and spent < BUDGET_S and enters(test):
            chosen.append(name)
            spent += test["s"]
    return chosen


def copied(folder: Path) -> Path:
    """Copy the tree as git lists it, so that no mutant ever stands in the working tree."""
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def main() -> None:
    """Learn, sample, try, and print what nobody noticed."""
    parser = argparse.ArgumentParser(description="Samples mutants of the code that decides, and lists the survivors.")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no further one after so long")
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--unchanged", action="store_true", help="change nothing: all must survive, or tests are shaky")
    parser.add_argument("--learned", type=Path, help="where what was learned is kept, for tests that stay as they are")
    options = parser.parse_args()
    os.nice(3)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    import numpy as np  # noqa: F401 - the forks share them
    import pyarrow.parquet  # noqa: F401
    import pytest  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="ipw-mutants-") as name:
        began, copy = time.time(), copied(Path(name))
        learned = (options.learned or copy / "learned.json").absolute()
        tests: dict[str, dict[str, Any]] = json.loads(learned.read_text()) if learned.exists() else {}
        since = learned.stat().st_mtime if tests else 0.0
        if any(path.stat().st_mtime > since for pattern in FILES for path in copy.glob(pattern)):
            tests, since = {}, 0.0  # functions may stand at other lines now
        files = [path for pattern in TESTS for path in sorted(copy.glob(pattern)) if path.stat().st_mtime > since]
        if files:
            code = forked(copy, list(map(str, files)), 7200, copy / "new.json")
            if code not in {0, 1}:
                sys.exit(f"the tests do not run: pytest ends with {code}")
            tests |= json.loads((copy / "new.json").read_text())
            learned.write_text(json.dumps(tests))
            os.utime(learned, (began, began))
        failed = [test for test, told in tests.items() if not told["ok"]]
        print(f"{len(tests)} tests; not asked, since they fail or skip unchanged: {len(failed)}", flush=True)
        every = [m for pattern in FILES for path in sorted(copy.glob(pattern)) for m in mutants_of(path, copy)]
        every = [mutant for mutant in every if options.only in mutant.file]
        sample = random.Random(options.seed).sample(every, min(options.n, len(every)))
        if options.unchanged:
            sample = [mutant._replace(new=mutant.old) for mutant in sample]
        ends: dict[str, Counter[str]] = {}
        until, tried_so_far = time.monotonic() + 60 * options.minutes, 0
        for count, mutant in enumerate(sample, 1):
            if time.monotonic() > until:
                break
            tried_so_far = count
            end = tried(copy, mutant, asked(mutant, tests))
            ends.setdefault(mutant.file.split("/")[1], Counter())[end] += 1
            if end in {"SURVIVED", "NO TEST"}:
                told = f"{mutant.file}:{mutant.line}: {mutant.old!r} -> {mutant.new!r}"
                print(f"{count:4} {end} {told}", flush=True)
        print(f"seed {options.seed}, {tried_so_far} of {len(every)} places")
        for room, counts in [*ends.items(), ("all", sum(ends.values(), Counter()))]:
            noticed = counts.total() - counts["SURVIVED"] - counts["NO TEST"]
            print(f"{room:8} {noticed}/{counts.total()} = {noticed / (counts.total() or 1):.0%}  {dict(counts)}")


def tried(copy: Path, mutant: Mutant, tests: list[str]) -> str:
    """How one mutant ends: killed, broke (nothing could even be imported), out of time, SURVIVED, or NO TEST."""
    path = copy / mutant.file
    text = path.read_bytes()
    if not tests:
        return "NO TEST"
    path.write_bytes(text[: mutant.start] + mutant.new.encode() + text[mutant.end :])
    try:
        code = forked(copy, ["-x", "--hypothesis-seed=0", *tests], MOST_S)
    finally:
        path.write_bytes(text)
    return {0: "SURVIVED", 1: "killed", None: "out of time"}.get(code, "broke")


if __name__ == "__main__":
    main()
