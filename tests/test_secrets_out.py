from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw import secrets_out
from ipw.secrets_out import command_without_secrets, without_secrets

MARK = "hunter2-hunter2"


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "--api-key", MARK],
        ["serve", f"--api-key={MARK}"],
        ["serve", "--hf-token", MARK, "--port", "1"],
        ["serve", "--password", MARK],
        ["env", f"OPENAI_API_KEY={MARK}", "serve"],
        ["curl", f"https://me:{MARK}@host/x"],
        ["curl", f"https://host/x?api_key={MARK}&n=1"],
        ["curl", "-H", f"Authorization: Bearer {MARK}"],
        ["curl", "-H", f"X-Api-Key: {MARK}"],
        ["sh", "-c", f"run --with {MARK}"],
    ],
)
def test_what_may_be_a_secret_is_blotted_out_of_a_command(command: list[str]) -> None:
    shown = command_without_secrets(command, {"MY_TOKEN": MARK} if command[0] == "sh" else {})
    assert MARK not in " ".join(shown)
    assert len(shown) == len(command)
    assert "[secret]" in " ".join(shown)


@pytest.mark.parametrize(
    "command",
    [
        ["sleep", "0.3"],
        ["python", "train.py", "--max-tokens", "64", "--keyboard", "de", "--tokenizer", "x"],
        ["curl", "https://host/x?n=1", "user@host"],
        ["git", "log", "--author", "me"],
    ],
)
def test_what_is_none_stays(command: list[str]) -> None:
    assert command_without_secrets(command, {"HOME": "/root", "KEY": "1"}) == command


def test_no_file_of_a_measured_command_holds_its_secret(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "ipw", "measure", "--json", "--idle", "0", "--sensors", "estimate"]
    program[2] = "ipw.cli"
    command = [*program, "--out", "runs", "--", "true", "--api-key", MARK, f"https://me:{MARK}@host/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert json.loads(done.stdout)["exit_code"] == 0
    assert MARK not in done.stdout + done.stderr
    held = [path for path in tmp_path.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]
    assert held == []


FORMS = ("PARAMETER", "OPTION", "ASSIGNMENT", "HEADER", "SCHEME", "KNOWN_FORM")


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_whatever_has_the_form_of_a_secret_is_looked_at_closely(name: str, data: st.DataObject) -> None:
    before = data.draw(st.sampled_from(["", " ", "?", "https://host/x?a=b&"]))
    form = getattr(secrets_out, name)
    text = before + data.draw(st.from_regex(form, alphabet=st.characters(max_codepoint=127)))
    assert without_secrets(f"{text} é") == f"{without_secrets(text)} é"
