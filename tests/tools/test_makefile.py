"""What `make` says to somebody whose Python is too old, and what it leaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
@pytest.mark.parametrize("program", ["old", "gone"])
def test_a_python_that_is_too_old_or_not_there_makes_no_environment(tmp_path: Path, program: str) -> None:
    old = tmp_path / "old"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10); $2"\n')
    old.chmod(0o755)
    words = [f"VENV={tmp_path}/venv", "PIP=true", f"PYTHON={tmp_path / program}", f"{tmp_path}/venv/.use"]
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    if program == "old":
        assert f"ipw needs Python 3.11 or newer, and {old} is 3.10: make quickstart PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()
