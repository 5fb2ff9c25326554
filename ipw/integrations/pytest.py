"""pytest fixture `energy`: the joules of a function or block, kept under a name, and held against what was kept.

    def test_sorting(energy):
        energy(sorted, numbers)          # or: with energy: numbers.sort()

    pytest --ipw-save before
    pytest --ipw-compare before --ipw-fail=energy_j:5%

This module is loaded in every pytest session of everyone who has ipw: it imports nothing else until it is used.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from math import ceil, log
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")

FOLDER = Path(".ipw/energy")
SCHEMA_VERSION = 1
ROUNDS, FEWEST_ROUNDS = 5, 2
"""A round that a stall of the machine left without joules is left out, as long as so many have some."""
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
    found = EnergyFixture(lambda: tmp_path_factory.mktemp("ipw"), str(request.config.getoption("--ipw-sensors")))
    yield found
    result = found.result()
    if result is None:
        return
    config, name = request.config, request.node.nodeid
    config.stash.setdefault(RESULTS, {})[name] = result
    if STORED in config.stash:
        _compare(config, name, result)


class EnergyFixture:
    """What the fixture gives to a test."""

    def __init__(self, folder: Callable[[], Path], sensors: str) -> None:
        self._folder, self._sensors = folder, sensors
        self._meter: Any = None
        self._blocks: list[tuple[Any, int]] = []

    def __call__(self, func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `func` in several rounds, each of as many calls as take a while; returns what the first call did."""
        began = time.perf_counter()
        answer = func(*args, **kwargs)
        calls = max(1, ceil(LEAST_ROUND_S / max(time.perf_counter() - began, 1e-9)))
        for _ in range(ROUNDS):
            with self._block() as block:
                for _ in range(calls):
                    func(*args, **kwargs)
            self._blocks.append((block, calls))
        return answer

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
        told = [(block.energy, calls) for block, calls in self._blocks]
        self._meter.close()
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
    pairs = [log(b / a) for a, b in zip(old, new, strict=False)]
    verdict = judge(pairs, [0] * len(pairs), margin=margin)
    change = 100 * (sum(new) / len(new) / (sum(old) / len(old)) - 1)
    return verdict.verdict, f"{metric}: {change:+.1f} %, margin {100 * margin:g} %: {verdict.verdict}"


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
    for line in config.stash.get(TOLD, []):
        terminalreporter.write_line(line)
    save = config.getoption("--ipw-save")
    if save:
        from ipw.runs.files import make_folder, replacing

        path = config.rootpath / FOLDER / f"{save}.json"
        make_folder(path.parent)
        with replacing(path) as file:
            file.write((json.dumps({"schema_version": SCHEMA_VERSION, "tests": results}, indent=1) + "\n").encode())
        terminalreporter.write_line(f"kept in {path}")
