"""The benchmark of served engines says what it can be asked without starting an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "bench" / "served_engines.py"


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)


def test_it_tells_what_a_load_is_and_which_engines_it_asks() -> None:
    told = asked("--help")
    assert told.returncode == 0
    assert "A load is a number in flight, or `rate:` and a share" in told.stdout
    for option in ("--engines", "--first", "--seed", "--load", "--on-time", "--requests", "--keep"):
        assert option in told.stdout


@pytest.mark.parametrize("words", [["--engines", "two"], ["--no-such-option"]])
def test_what_it_does_not_know_is_refused_before_anything_is_built(words: list[str]) -> None:
    told = asked(*words)
    assert told.returncode == 2
    assert "usage: served_engines.py" in told.stderr
