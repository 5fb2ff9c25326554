"""What a release must hold that can be seen without installing one; `make release-check` does the rest."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release_check import MINORS, MOST_PACKAGES, PROJECT, TESTS, lowest, requirements

import ipw

ROOT = Path(__file__).parents[2]
EXTRAS = [extra for extra in PROJECT["optional-dependencies"] if extra != "dev"]


def brought_by(requirement: str) -> Iterator[str]:
    """The names of a requirement and of all that it brings, on this machine."""
    wanted = Requirement(requirement)
    if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
        yield canonicalize_name(wanted.name)
        for each in requires(wanted.name) or []:
            yield from brought_by(each)


def test_a_plain_install_brings_few_packages() -> None:
    packages = {name for requirement in PROJECT["dependencies"] for name in brought_by(requirement)} | {"ipw"}
    assert len(packages) <= MOST_PACKAGES < 26
    assert {"numpy", "mdurl", "python-dateutil"} <= packages, "what others bring is counted too"


def test_each_requirement_says_from_which_version_on_it_works() -> None:
    pins = lowest(requirements(EXTRAS))
    assert {"click==8.2.1", "ray==2.40"} <= set(pins)
    with pytest.raises(ValueError, match="'numpy<3' does not say"):
        lowest(["numpy<3"])


def test_what_is_run_with_the_lowest_versions_is_there() -> None:
    assert all((ROOT / path).exists() for path in TESTS)


def test_the_bound_of_a_package_is_the_same_in_each_extra() -> None:
    pins = {pin.partition("==")[0]: pin for pin in lowest(requirements(EXTRAS))}
    for requirement in requirements(EXTRAS):
        assert lowest([requirement]) == [pins[re.split(r"[\[>]", requirement)[0]]]


def test_the_python_that_is_asked_for_is_the_oldest_that_is_tried() -> None:
    assert PROJECT["requires-python"] == f">=3.{MINORS.start}"


def test_the_sdist_holds_every_file_at_the_top() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"][
        "include"
    ]
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith(".") and file.name not in {"pyproject.toml", "PKG-INFO"}:
            assert any(fnmatch(file.name, pattern) for pattern in patterns), file.name


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## {ipw.__version__}" in (ROOT / "CHANGELOG.md").read_text()
