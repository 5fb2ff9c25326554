"""pytest fixture `energy`: the joules of a function or block, kept under a name, and held against what was kept.

    def test_sorting(energy):
        energy(sorted, numbers)          # or: for _ in energy: sorted(numbers)

    pytest --ipw-save before
    pytest --ipw-compare before --ipw-fail=energy_j:5%

This module is loaded in every pytest session of everyone who has ipw: it imports nothing else until it is used.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")

FOLDER = Path(".ipw/energy")
SCHEMA_VERSION = 1
ROUNDS, FEWEST_ROUNDS, MOST_ROUNDS = 5, 2, 15
"""So many rounds are taken at once, and again until what is asked can be told. A round that a stall of the machine left
without joules is left out, as long as so many have some."""
ALPHA = 0.05 * ROUNDS / MOST_ROUNDS
"""Of each look, so that all looks together call a change that is none no oftener than one at 5 % would."""
SPREAD = 0.05
"""Rounds that are kept are taken until their mean is so well known: the usual margin."""
ONE_ROUND = "one round shows no spread, so a limit on it can never fail: write `for _ in energy:` or energy(function)"
LEAST_ROUND_S = 0.5
"""A round calls the function as often as this takes: counters are renewed ten times a second or so."""
METRICS = ("energy_j", "duration_s")
NAME = re.compile(r"[\w.-]+")
FAIL = re.compile(rf"({'|'.join(METRICS)}):(\d+(?:\.\d+)?)%")
RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()
STORED = pytest.StashKey[dict[str, Any]]()
MARGINS = pytest.StashKey[dict[str, float]]()
TOLD = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("ipw", "joules of tests (fixture 'energy')")
    group.addoption("--ipw-save", metavar="NAME", help=f"Keep what was measured under {FOLDER}/NAME.json.")
    group.addoption("--ipw-compare", metavar="NAME", help="Compare with what was kept under NAME.")
    group.addoption(
        "--ipw-fail", metavar="METRIC:N%", action="append", default=[],
        help=f"Fail a test whose METRIC ({', '.join(METRICS)}) is surely more than N%% above what was kept.",
    )  # fmt: skip
    group.addoption("--ipw-sensors", metavar="NAMES", default="auto", help="Which sensors, as for ipw; default: auto.")


def pytest_configure(config: pytest.Config) -> None:
    """Check our options. Raises UsageError."""
    save, compare, fail = (config.getoption(f"--ipw-{name}") for name in ("save", "compare", "fail"))
    if not (save or compare or fail):
        return
    if hasattr(config, "workerinput"):
        raise pytest.UsageError("joules of tests that run side by side cannot be told apart: leave out -n")
    for name in (save, compare):
        if name is not None and not NAME.fullmatch(name):
            raise pytest.UsageError(f"{name!r} is not a name: letters, digits, dots and hyphens")
    margins = {}
    for text in fail:
        found = FAIL.fullmatch(text)
        if found is None or float(found[2]) <= 0:
            raise pytest.UsageError(f"--ipw-fail={text}: write METRIC:N%, such as energy_j:5%")
        margins[found[1]] = float(found[2]) / 100
    if margins and not compare:
        raise pytest.UsageError("--ipw-fail compares with what was kept: give --ipw-compare NAME too")
    config.stash[MARGINS] = margins
    if compare:
        config.stash[STORED] = _stored(config.rootpath / FOLDER / f"{compare}.json")


@pytest.fixture
def energy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnergyFixture]:
    """Measure a function, `energy(func, *args)`, or a block, `with energy:`."""
    config, name = request.config, request.node.nodeid
    before = config.stash[STORED]["tests"].get(name) if STORED in config.stash else None
    margins = config.stash.get(MARGINS, {})

    def enough(result: dict[str, Any]) -> bool:
        if before is not None and margins:
            return all(_judged(metric, before, result, margins[metric])[0] != "inconclusive" for metric in margins)
        return not config.getoption("--ipw-save") or all(_well_known(result[metric]) for metric in METRICS)

    sensors = str(config.getoption("--ipw-sensors"))
    found = EnergyFixture(lambda: tmp_path_factory.mktemp("ipw"), sensors, enough)
    yield found
    result = found.result()
    if result is None:
        return
    config.stash.setdefault(RESULTS, {})[name] = result
    if STORED in config.stash:
        _compare(config, name, result)


class EnergyFixture:
    """What the fixture gives to a test."""

    def __init__(self, folder: Callable[[], Path], sensors: str, enough: Callable[[dict[str, Any]], bool]) -> None:
        self._folder, self._sensors, self._enough = folder, sensors, enough
        self._meter: Any = None
        self._blocks: list[tuple[Any, int]] = []

    def __call__(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `func` in several rounds, each of as many calls as take a while; returns what the first call did."""
        began = time.perf_counter()
        answer = func(*args, **kwargs)
        calls = max(1, math.ceil(LEAST_ROUND_S / max(time.perf_counter() - began, 1e-9)))
        for _ in self._rounds(calls):
            for _ in range(calls):
                func(*args, **kwargs)
        return answer

    def __iter__(self) -> Iterator[int]:
        """Measure the body of `for _ in energy:` in as many rounds as it takes, which are numbered from 0."""
        yield from self._rounds(1)

    def _rounds(self, calls: int) -> Iterator[int]:
        for count in range(MOST_ROUNDS):
            if count and count % ROUNDS == 0 and self._enough(self._told()):
                return
            with self._block() as block:
                yield count
            self._blocks.append((block, calls))

    def __enter__(self) -> Self:
        self._open = self._block().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.__exit__(*exc)
        self._blocks.append((self._open, 1))

    def _block(self) -> Any:
        if self._meter is None:
            from ipw.api.measure import Meter

            self._meter = Meter("pytest", sensors=self._sensors, out=self._folder())
        return self._meter.measure("round")

    def result(self) -> dict[str, Any] | None:
        """Stop the sensors and tell each round's joules and seconds a call; `None` where nothing was measured."""
        if self._meter is None:
            return None
        told = self._told()
        self._meter.close()
        checks = (self._meter.summary or {}).get("validity", [])
        busy = [str(check["detail"]) for check in checks if check["check"] == "other load" and not check["ok"]]
        return told | {"disturbed": busy[0] if busy else None}

    def _told(self) -> dict[str, Any]:
        """Each round's joules and seconds a call so far, and where the joules come from."""
        told = [(block.energy, calls) for block, calls in self._blocks]
        joules = [energy.value / calls for energy, calls in told if energy.value is not None]
        missing = next((energy.reason for energy, _ in told if energy.value is None), None)
        enough = len(joules) >= min(FEWEST_ROUNDS, len(told))
        manifest = self._meter.inner.run.manifest()
        return {
            "basis": manifest.get("basis"),
            "energy_j": joules if enough else None,
            "duration_s": [block.duration_s / calls for block, calls in self._blocks],
            "reason": None if enough else missing,
        }


def _compare(config: pytest.Config, name: str, result: dict[str, Any]) -> None:
    """Judge a test against what was kept of it; fails it where it is surely worse, or cannot be compared."""
    told = config.stash.setdefault(TOLD, [])
    margins = config.stash[MARGINS]
    before = config.stash[STORED]["tests"].get(name)
    if before is None:
        told.append(f"{name}: nothing was kept to compare with")
        return
    kept = before.get("duration_s") or []
    if min(len(kept), len(result["duration_s"])) < FEWEST_ROUNDS:
        whose = "kept" if len(kept) < FEWEST_ROUNDS else "measured"
        told.append(f"{name}: {whose}: {ONE_ROUND}")
    for metric, margin in (margins or {"energy_j": 0.05}).items():
        verdict, text = _judged(metric, before, result, margin)
        told.append(f"{name}: {text}")
        if metric in margins and verdict in {"regressed", "invalid"}:
            pytest.fail(text, pytrace=False)


def _judged(metric: str, before: dict[str, Any], after: dict[str, Any], margin: float) -> tuple[str, str]:
    from ipw.gate.verdict import judge

    if metric == "energy_j" and before.get("basis") != after["basis"]:
        return "invalid", f"{metric}: kept in basis {before.get('basis')}, measured in basis {after['basis']}"
    old, new = before.get(metric), after[metric]
    if not old or not new or min(*old, *new) <= 0:
        return "invalid", f"{metric}: there is nothing to compare: {after['reason'] or before.get('reason')}"
    # One start each: the spread between processes, which these rounds cannot show, is the gate's assumption.
    pairs = [math.log(b / a) for a, b in zip(*_alike(old, new), strict=True)]
    verdict = judge(pairs, [0] * len(pairs), margin=margin, alpha=ALPHA)
    change = 100 * (sum(new) / len(new) / (sum(old) / len(old)) - 1)
    text = f"{metric}: {change:+.1f} %, margin {100 * margin:g} %"
    busy = after.get("disturbed") or before.get("disturbed")
    if verdict.verdict == "regressed" and busy:
        return "inconclusive", f"{text}: inconclusive, since the machine was busy: {busy}"
    why = f" in {len(new)} rounds" if verdict.verdict == "inconclusive" else ""
    return verdict.verdict, f"{text}: {verdict.verdict}{why}"


def _alike(old: list[float], new: list[float]) -> tuple[list[float], list[float]]:
    """Means of neighbouring rounds, so that both have as many as the one that has fewer."""
    n = min(len(old), len(new))
    cut = [[rounds[len(rounds) * k // n : len(rounds) * (k + 1) // n] for k in range(n)] for rounds in (old, new)]
    before, after = ([sum(part) / len(part) for part in parts] for parts in cut)
    return before, after


def _well_known(rounds: list[float] | None) -> bool:
    """Whether the 95 % interval of the mean is narrow."""
    if not rounds or len(rounds) < FEWEST_ROUNDS:
        return False
    mean = sum(rounds) / len(rounds)
    variance = sum((x - mean) ** 2 for x in rounds) / (len(rounds) - 1)
    return 2 * math.sqrt(variance / len(rounds)) <= SPREAD * mean


def _stored(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        whole = content["schema_version"] == SCHEMA_VERSION and isinstance(content["tests"], dict)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise pytest.UsageError(f"--ipw-compare: {path} cannot be read: {error}") from None
    if not whole:
        raise pytest.UsageError(f"--ipw-compare: {path} is not of version {SCHEMA_VERSION}")
    return content


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show what was measured, and keep it where that was asked for."""
    results = config.stash.get(RESULTS, {})
    if not results:
        return
    terminalreporter.section("joules a call")
    for name, result in results.items():
        joules, seconds = result["energy_j"], result["duration_s"]
        energy = f"{sum(joules) / len(joules):.4g} J" if joules else f"no energy: {result['reason']}"
        estimated = " (estimated)" if result["basis"] == "estimate" else ""
        terminalreporter.write_line(f"{name}: {energy}{estimated}, {sum(seconds) / len(seconds):.4g} s")
        if result["disturbed"]:
            terminalreporter.write_line(f"{name}: mind: {result['disturbed']}")
    for line in config.stash.get(TOLD, []):
        terminalreporter.write_line(line)
    save = config.getoption("--ipw-save")
    if save:
        for name in (name for name, result in results.items() if len(result["duration_s"]) < FEWEST_ROUNDS):
            terminalreporter.write_line(f"{name}: kept: {ONE_ROUND}")
        from ipw.runs.files import make_folder, replacing

        path = config.rootpath / FOLDER / f"{save}.json"
        make_folder(path.parent)
        with replacing(path) as file:
            file.write((json.dumps({"schema_version": SCHEMA_VERSION, "tests": results}, indent=1) + "\n").encode())
        terminalreporter.write_line(f"kept in {path}")
