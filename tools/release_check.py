"""Builds sdist and wheel, installs the wheel in clean environments and tries it there: `make release-check`.

    python tools/release_check.py [--only newest|lowest|extras] [--extras llamacpp,gateway] [--tests PATH...]

- newest: on each Python from 3.11 to 3.14 that is here, with the versions of constraints.txt. The plain install has at
  most 25 packages and says what it is; with the extras the bundled models are asked.
- lowest: on the oldest of these Pythons, each package that pyproject.toml names is as old as it
  permits; then some tests.
- extras: pip finds versions with which all extras are installed together (nothing is installed).

The wheel is built from the sdist, so a file that the sdist lacks is missed here. Environments lie in build/release.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDER = ROOT / "build/release"
MINORS = range(11, 15)
MOST_PACKAGES = 25
EXTRAS = "llamacpp,gateway,routing,datasets,math"
"""Those that are small and that tests or the quickstart use."""
TESTS = (
    "tests/runs/test_schema.py",
    "tests/runs/test_tables.py",
    "tests/reports",
    "tests/verbs/test_streams.py",
    "tests/verbs/test_pandas_later.py",
    "tests/test_cli.py",
    "tests/test_end_to_end.py",
    "tests/workloads/routing",
    "tests/workloads/lm/data/test_hub_datasets.py",
    "tests/workloads/lm/test_scoring.py",
    "tests/workloads/lm/test_run.py",
    "tests/api",
)
TEST_NEEDS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "freezegun", "opentelemetry-proto")


def pythons() -> Iterator[tuple[str, Path]]:
    """Yield version and program of each Python that can run ipw, on the PATH or with pyenv; one a minor version."""
    kept = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin/python3"))
    for minor in MINORS:
        named = shutil.which(f"python3.{minor}")
        for program in ([Path(named)] if named else []) + kept:
            done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.startswith(f"Python 3.{minor}."):
                yield done.stdout.split()[1], program
                break


def lowest(requirements: Iterable[str]) -> list[str]:
    """Return each requirement at its lower bound, as pip's constraints. Raises ValueError where one has none."""
    pins = {}
    for requirement in requirements:
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?\s*>=\s*([\w.]+)", requirement)
        if not match:
            raise ValueError(f"{requirement!r} does not say from which version on it works")
        pins[match[1]] = match[2]
    return [f"{name}=={version}" for name, version in pins.items()]


def requirements(extras: Iterable[str]) -> list[str]:
    """Return what the plain install and these extras ask for."""
    optional = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(each for extra in extras for each in optional[extra])]


class Environment:
    """A virtual environment that does not see this tree."""

    def __init__(self, python: Path, name: str, constraints: Path) -> None:
        self.folder = FOLDER / name
        self.constraints = constraints
        shutil.rmtree(self.folder, ignore_errors=True)
        run([python, "-m", "venv", self.folder / "env"])

    def pip(self, *words: str | Path) -> None:
        """Install, under the constraints."""
        options = ("--quiet", "--disable-pip-version-check", "--constraint", self.constraints)
        run([self.folder / "env/bin/python", "-m", "pip", "install", *options, *words])

    def packages(self) -> list[str]:
        """Names of what is installed, without pip and what venv brought."""
        found = json.loads(self.python("-m", "pip", "list", "--format", "json"))
        return sorted({each["name"] for each in found} - {"pip", "setuptools"})

    def ipw(self, *words: str) -> str:
        """Run ipw in the environment's own folder; what it printed."""
        return run([self.folder / "env/bin/ipw", *words], cwd=self.folder)

    def python(self, *words: str, cwd: Path | None = None) -> str:
        """Run Python likewise."""
        return run([self.folder / "env/bin/python", *words], cwd=cwd or self.folder)


def run(command: Sequence[str | Path], cwd: Path = ROOT) -> str:
    """Run to the end; what it printed. Ends this program where it fails, with what it said."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def build(python: Path) -> Path:
    """Build the sdist, and the wheel from it. Returns the wheel."""
    builder = Environment(python, "builder", ROOT / "constraints.txt")
    builder.pip("build")
    shutil.rmtree(FOLDER / "dist", ignore_errors=True)
    builder.python("-m", "build", "--outdir", str(FOLDER / "dist"), str(ROOT))
    (wheel,) = (FOLDER / "dist").glob("*.whl")
    return wheel


def tried(environment: Environment, wheel: Path, extras: str) -> str:
    """Install plainly and with extras, and try each. Returns a line about it."""
    environment.pip(wheel)
    packages = environment.packages()
    if len(packages) > MOST_PACKAGES:
        sys.exit(f"failed: a plain install has {len(packages)} packages: {', '.join(packages)}")
    version = environment.ipw("--version").split()[-1]
    doctor = json.loads(environment.ipw("doctor", "--json"))
    if version not in str(doctor) or not doctor.get("channels"):
        sys.exit(f"failed: `ipw doctor --json` tells no version {version} or no channel: {doctor}")
    environment.python("-c", "import ipw\nwith ipw.measure('block') as m: sum(range(10**7))\nassert m.summary['basis']")
    environment.pip(f"{wheel}[{extras}]")
    environment.ipw("quickstart", "--limit", "4", "--out", "runs")
    return f"ipw {version}: {len(packages)} packages; with {extras} {len(environment.packages())}; quickstart"


def main() -> None:
    """Check all, or one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("newest", "lowest", "extras"))
    parser.add_argument("--extras", default=EXTRAS, help="with which the wheel is tried")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="run with the lowest versions")
    given = parser.parse_args()
    found = dict(pythons())
    print(f"Pythons here: {', '.join(found)}", flush=True)
    oldest = next(iter(found.values()))
    wheel = build(oldest)
    if given.only in {None, "newest"}:
        for version, python in found.items():
            environment = Environment(python, version, ROOT / "constraints.txt")
            print(f"newest, Python {version}: {tried(environment, wheel, given.extras)}", flush=True)
    if given.only in {None, "lowest"}:
        (FOLDER / "lowest.txt").write_text("\n".join(lowest(requirements(given.extras.split(",")))))
        environment = Environment(oldest, "lowest", FOLDER / "lowest.txt")
        print(f"lowest: {tried(environment, wheel, given.extras)}", flush=True)
        if given.tests:
            environment.pip(*TEST_NEEDS)
            # What old packages and new ones warn each other of is not ours.
            words = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
            words += ["-W", "ignore::DeprecationWarning"]
            print(f"lowest: {environment.python(*words, *given.tests, cwd=ROOT).splitlines()[-1]}", flush=True)
    if given.only in {None, "extras"}:
        every = ",".join(PROJECT["optional-dependencies"])
        Environment(oldest, "extras", ROOT / "constraints.txt").pip("--dry-run", f"{wheel}[{every}]")
        print(f"extras: {every} can be installed together")


if __name__ == "__main__":
    main()
