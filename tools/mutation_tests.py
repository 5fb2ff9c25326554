"""Which test runs which line of the code that is mutated, learned once and kept until the test or the code changes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from mutation import Mutant, places

SLOW_S, BUDGET_S, IMPORT_BUDGET_S = 4.0, 10.0, 5.0
"""A test that takes more seconds of CPU is not asked; of the others the quickest, up to so many seconds a mutant, fewer
where any test of the file may be concerned. They were counted while every line was watched, which triples some."""
MOST_CALLS = 100
"""Of a function by one test that are watched: what runs in none of them is taken not to run."""
Tests = dict[str, dict[str, Any]]
"""By test: `s` (CPU seconds), `ok` and `lines` (by file and function, those it runs)."""
QUIET = ["-p", "no:cacheprovider", "-p", "no:xdist", "-qq", "-s", "--hypothesis-seed=0"]


class Learning:
    """A pytest plugin: which lines each test runs, how long it takes, and whether it passes."""

    def __init__(self, copy: Path, files: Iterable[Path]) -> None:
        self._prefix = f"{copy}/"
        self._files = {str(path) for path in files}
        self._lines: set[tuple[str, int]] = set()
        self._calls: Counter[CodeType] = Counter()
        self._began_s = 0.0
        self.tests: Tests = {}

    def _enter(self, frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if code.co_filename not in self._files or self._calls[code] >= MOST_CALLS:
            return None
        self._calls[code] += 1
        return self._line

    def _line(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Hear how a test went."""
        test = self.tests.setdefault(report.nodeid, {"s": 0.0, "ok": True, "lines": {}})
        test["s"] = sum(os.times()[:4]) - self._began_s
        test["ok"] &= report.passed

    def pytest_runtest_logstart(self) -> None:
        """Watch from here."""
        self._lines, self._calls = set(), Counter()
        self._began_s = sum(os.times()[:4])
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Keep what was run."""
        sys.settrace(None)
        for file, line in sorted(self._lines):
            self.tests.get(nodeid, {"lines": {}})["lines"].setdefault(file.removeprefix(self._prefix), []).append(line)

    def keep(self, path: Path) -> None:
        """Write it down, for the process that began this one."""
        path.write_text(json.dumps(self.tests))

    @staticmethod
    def kept(path: Path) -> Tests:
        """Read what such a process wrote."""
        tests: Tests = json.loads(path.read_text())
        return tests


class NoShrinking:
    """A pytest plugin: Hypothesis stops at the first failure, keeps none for later, and minds no slow machine."""

    def pytest_configure(self) -> None:
        """Before the tests are collected, which take the settings then."""
        import hypothesis

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", database=None, deadline=None, phases=phases)
        hypothesis.settings.load_profile("mutants")


def digest(path: Path) -> str:
    """Tell whether a file is as it was."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


class Known:
    """What was learned, in a file: of every test file its digest and its tests."""

    def __init__(self, path: Path, copy: Path) -> None:
        self._path, self._copy = path, copy
        self._files: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def stale(self, test_files: Iterable[Path]) -> list[Path]:
        """Give the test files of which nothing is known, or that have changed since."""
        names = {path: str(path.relative_to(self._copy)) for path in test_files}
        return [path for path, name in names.items() if self._files.get(name, {}).get("digest") != digest(path)]

    def learn(self, test_file: Path, tests: Tests) -> None:
        """Keep what the tests of one file do."""
        for test in tests.values():
            test["lines"] = {file: _placed(self._copy / file, lines) for file, lines in test["lines"].items()}
        self._files[str(test_file.relative_to(self._copy))] = {"digest": digest(test_file), "tests": tests}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._files))

    def tests(self, test_files: Iterable[Path]) -> Tests:
        """Give all tests of these files."""
        found: Tests = {}
        for path in test_files:
            found |= self._files.get(str(path.relative_to(self._copy)), {"tests": {}})["tests"]
        return found


def _placed(path: Path, lines: Iterable[int]) -> dict[str, list[int]]:
    """Lines of a file by function, counted from its first."""
    known, found = places_of(path), dict[str, list[int]]()
    for line in lines:
        function, offset = known.get(line, ("", line))
        found.setdefault(function, []).append(offset)
    return found


places_of = functools.cache(places)


@functools.cache
def text_of(path: Path) -> str:
    """Read a file of tests."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def asked(mutant: Mutant, tests: Tests, copy: Path) -> list[str]:
    """The tests that run the mutant's line, the quickest first, and then those that enter its function.

    The latter since lines may have moved within it after they were learnt. Of a module or a default: those of every
    file of tests that concerns it. Where none enters the function, a child may: then those of the files of tests that
    name its package.
    """
    where = _placed(copy / mutant.file, mutant.lines)

    def runs(test: dict[str, Any]) -> bool:
        lines = test["lines"].get(mutant.file, {})
        return any(not set(offsets).isdisjoint(lines.get(function, ())) for function, offsets in where.items())

    def enters(test: dict[str, Any]) -> bool:
        return any(function in test["lines"].get(mutant.file, {}) for function in where)

    known = [(name, test) for name, test in tests.items() if test["ok"] and test["s"] < SLOW_S]
    if mutant.at_import:  # a test may look at a constant and run nothing
        files = {name.partition("::")[0] for name, test in known if mutant.file in test["lines"]}
        mine, left = [each for each in known if each[0].partition("::")[0] in files], IMPORT_BUDGET_S
    else:
        mine, left = [each for each in known if enters(each[1])], BUDGET_S
        package = ".".join(Path(mutant.file).parent.parts)
        mine = mine or [each for each in known if package in text_of(copy / each[0].partition("::")[0])]
    chosen = []
    for name, test in sorted(mine, key=lambda each: (not runs(each[1]), float(each[1]["s"]))):
        if left > 0:
            chosen.append(name)
            left -= test["s"]
    return chosen
