"""A disk that cannot be written to, in front of every verb that writes: one line, exit 5."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "runs" / "version-1" / "lm"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder in which nothing can be made where `blocked` is to be, for a file is there; root is stopped too."""
    (tmp_path / "blocked").write_text("a file")
    shutil.copytree(RUN, tmp_path / "run")
    (tmp_path / "run.toml").write_text('[run]\nkind = "measure"\ncommand = ["true"]\n')
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "run", "--page", "blocked/page.html"],
        ["report", "run", "--figures", "blocked/figures"],
        ["export", "run", "--format", "prometheus", "-o", "blocked/metrics"],
        ["measure", "--sensors", "estimate", "--idle", "0", "--out", "blocked", "--", "true"],
        ["quickstart", "--out", "blocked"],
        ["import", "told.json", "--out", "blocked"],
        ["merge", "run", "run", "--mismatched", "--out", "blocked"],
    ],
    ids=lambda words: " ".join(words[:1] + words[2:3]),
)
def test_what_cannot_be_written_is_one_line(place: Path, arguments: list[str]) -> None:
    bench = {"build_commit": "1", "model_type": "m", "model_filename": "m.gguf", "n_prompt": 5, "n_gen": 0}
    (place / "told.json").write_text(json.dumps([bench | {"avg_ns": 1000, "avg_ts": 5.0}]))
    told = subprocess.run(
        [sys.executable, "-m", "ipw.cli", *arguments], cwd=place, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in told.stderr
    assert told.returncode == 5, told.stderr
    assert "blocked" in [line for line in told.stderr.splitlines() if line.startswith("ipw: ")][-1]
