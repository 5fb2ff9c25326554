from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from doubles import plugin
from doubles.machines import NOTHING
from doubles.openai_server import Behaviour, serving
from doubles.typed import typed

from ipw.cli import cli as root
from ipw.verbs.common.lazy import LazyGroup
from ipw.verbs.list_known import command as list_group
from ipw.verbs.run import command as run_group

cli, run, list_ = (group for group in (root, run_group, list_group) if isinstance(group, LazyGroup))


def ipw(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipw.cli", *arguments], capture_output=True, text=True, timeout=200, check=False
    )


def test_help_names_every_verb() -> None:
    result = ipw("--help")
    assert result.returncode == 0
    for verb, entry in cli.verbs.items():
        assert verb in result.stdout
        assert entry.about.split()[-1] in result.stdout


@pytest.mark.parametrize("group", [cli, run, list_], ids=["ipw", "run", "list"])
def test_every_command_of_the_table_can_be_imported_and_has_a_help_of_its_own(group: LazyGroup) -> None:
    for name, entry in group.verbs.items():
        assert entry.load().name == name
        assert entry.load().help


@pytest.mark.parametrize("group", ["run", "list"])
def test_a_group_without_a_command_shows_its_help(group: str) -> None:
    result = ipw(group)
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: ipw ")


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
        ["run", "routing", "--offload", "belady"],
        ["run", "routing", "--trace", "nowhere"],
    ],
)
def test_wrong_usage_is_one_line_a_hint_and_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    result = typed(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("ipw: ")
    assert lines[1].strip().startswith("try: ")
    assert len(lines) == 2


def test_an_error_under_json_is_json_too(tmp_path: Path) -> None:
    result = typed("measure", "--json", "--sensors", "nonsense", "--", "true", cwd=tmp_path)
    assert json.loads(result.stdout)["exit_code"] == 2


def test_an_unwritable_output_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = typed("measure", "--out", str(tmp_path / "file"), "--", "true", cwd=tmp_path)
    assert result.returncode == 5
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr


def told(result: subprocess.CompletedProcess[str]) -> str:
    lines = result.stderr.strip().splitlines()
    assert "Traceback" not in result.stderr
    assert lines[-2].startswith("ipw: ")
    assert lines[-1].strip().startswith("try: ")
    return lines[-2]


def test_no_server_at_the_url_is_told(tmp_path: Path) -> None:
    result = typed("run", "lm", "--base-url", "http://127.0.0.1:9/v1", "--model", "m", cwd=tmp_path)
    assert result.returncode == 5
    assert "no server at http://127.0.0.1:9" in told(result)


def test_a_model_that_the_server_lacks_is_told_with_those_it_has(tmp_path: Path) -> None:
    with serving(lambda _: Behaviour(), models=["alpha", "beta"]) as server:
        result = typed("run", "lm", "--base-url", server.url, "--model", "gamma", cwd=tmp_path)
    assert result.returncode in {2, 5}
    assert "alpha, beta" in told(result)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.jsonl", '{"sum": "1+1", "answer": "2"}'),
        ("q.csv", "prompt,solution\n1+1,2\n"),
        ("q.jsonl", "not json"),
        ("q.jsonl", ""),
        ("q.parquet", "not parquet"),
        ("q.txt", "1+1"),
    ],
)
def test_a_data_set_that_cannot_be_asked_is_wrong_usage(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    result = typed("run", "lm", "--model", "dense", "--dataset", name, cwd=tmp_path)
    assert result.returncode == 2
    assert name in told(result)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, b"no gguf at all" * 100])
def test_an_unreadable_gguf_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    result = typed("run", "lm", "--model", "model.gguf", cwd=tmp_path)
    assert result.returncode in {2, 5}
    assert "model.gguf" in told(result)


def test_a_gguf_whose_weights_are_cut_short_is_told(tmp_path: Path) -> None:
    whole = (Path(__file__).parent.parent / "ipw" / "data" / "dense-q8_0.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    result = typed("run", "lm", "--model", "cut.gguf", cwd=tmp_path)
    assert result.returncode == 5
    assert "cut.gguf" in told(result)


def test_a_missing_gguf_is_told(tmp_path: Path) -> None:
    result = typed("run", "lm", "--model", "missing.gguf", cwd=tmp_path)
    assert result.returncode in {2, 5}
    assert "missing.gguf" in told(result)


def test_an_unknown_sensor_is_wrong_usage_and_lists_those_known(tmp_path: Path) -> None:
    result = typed("run", "lm", "--model", "dense", "--sensors", "crystal-ball", cwd=tmp_path)
    assert result.returncode == 2
    assert "crystal-ball" in told(result)
    assert "nvml" in result.stderr


def test_doctor_gives_a_reason_for_every_sensor_that_is_missing(tmp_path: Path) -> None:
    answer = json.loads(typed("doctor", "--json", cwd=tmp_path).stdout)
    assert {c["name"].partition("/")[0] for c in answer["channels"]} >= {"nvml", "rapl", "powermetrics", "estimate"}
    for channel in answer["channels"]:
        assert (channel["status"] == "ok") != bool(channel["reason"])


def test_an_interrupt_ends_with_130_wherever_it_falls(tmp_path: Path) -> None:
    """Such as in the text of a class that is made while it is imported, as those of dataclasses are."""
    environment = os.environ | NOTHING | plugin.install(tmp_path / "site", "exec('raise KeyboardInterrupt')")
    command = [sys.executable, "-m", "ipw.cli", "doctor", "--sensors", "made-up"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
