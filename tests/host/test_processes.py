"""Children import nothing from the working directory, and find what their parent finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipw.processes import environment, python

TRAP = "open({!r}, 'w').close()\nraise ImportError('this is not the library')\n"


NAMESAKES = ["xllamacpp", "numpy", "pyarrow", "psutil", "pynvml", "select", "torch", "math_verify"]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which every library that a child may want has a namesake, which leaves this file."""
    here = tmp_path / "here"
    here.mkdir()
    for name in NAMESAKES:
        (here / f"{name}.py").write_text(TRAP.format(str(tmp_path / "sprung")))
    monkeypatch.chdir(here)
    return tmp_path / "sprung"


@pytest.mark.parametrize(
    "command",
    [
        "measure --sensors estimate --idle 0 -- true",
        "run lm --model dense --limit 2 --warmup 1 --sensors estimate --idle 0",
    ],
)
def test_nothing_is_imported_from_the_working_directory(trap: Path, command: str) -> None:
    program = [sys.executable, "-P", str(Path(sys.executable).with_name("ipw"))]
    done = subprocess.run([*program, *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not trap.exists()


def test_a_child_finds_what_its_parent_finds_behind_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib" / "package").mkdir(parents=True)
    (tmp_path / "lib" / "package" / "__init__.py").touch()
    (tmp_path / "lib" / "package" / "main.py").write_text("import sys, json; print(json.__file__, sys.argv[1:])")
    (tmp_path / "lib" / "json.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)  # stands where the folder of a program stands
    monkeypatch.setattr(sys, "path", [sys.path[0], str(tmp_path / "lib"), *sys.path[1:]])
    command = python("package.main", "an argument", "--out=x")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.endswith("['an argument', '--out=x']\n")
    assert str(tmp_path) not in done.stdout


def test_the_keys_of_servers_are_in_no_child_that_asks_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "IPW_JUDGE_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment().values()
    found = environment(keys={"OPENAI_API_KEY"})
    assert (found["OPENAI_API_KEY"], found.get("IPW_JUDGE_KEY")) == ("secret", None)


def test_a_child_that_only_computes_gets_no_secret_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, "long enough")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:long-enough@proxy")
    monkeypatch.setenv("HARMLESS", "long enough")
    found = environment(secrets=False)
    assert found["HARMLESS"] == "long enough"
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD", "HTTPS_PROXY"} & set(found)
    assert environment()["HF_TOKEN"] == "long enough"


def test_the_environment_carries_no_path_of_ours_to_servers_of_another_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "PYTHONPATH" not in environment()
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}/a{os.pathsep}{os.pathsep}/b")
    assert environment()["PYTHONPATH"] == f"/a{os.pathsep}/b"
