from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def ipw(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipw.cli", *arguments], capture_output=True, text=True, cwd=cwd, timeout=100, check=False
    )


def test_help_names_every_verb() -> None:
    result = ipw("--help")
    assert result.returncode == 0
    for verb in ("doctor", "quickstart", "run", "measure", "report"):
        assert verb in result.stdout


@pytest.mark.parametrize("module", ["ipw", "ipw.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = {"numpy", "pandas", "matplotlib", "torch", "pynvml", "pyarrow", "aiohttp", "rich", "psutil", "asyncio"}
    code = f"import sys, {module}; print(*set(sys.modules) & {heavy!r})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "lm", "--nonsense"],
        ["run", "lm", "--model", "dense", "--limit", "0"],
        ["measure"],
        ["report", "nowhere"],
        ["run", "lm"],
        ["measure", "--sensors", "nonsense", "--", "true"],
        ["measure", "--", "no-such-program-here"],
    ],
)
def test_wrong_usage_is_one_line_a_hint_and_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    result = ipw(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("ipw: ")
    assert lines[1].strip().startswith("try: ")
    assert len(lines) == 2


def test_an_error_under_json_is_json_too(tmp_path: Path) -> None:
    result = ipw("measure", "--json", "--sensors", "nonsense", "--", "true", cwd=tmp_path)
    assert json.loads(result.stdout)["exit_code"] == 2


def test_an_unwritable_output_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = ipw("measure", "--out", str(tmp_path / "file"), "--", "true", cwd=tmp_path)
    assert result.returncode == 5
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
