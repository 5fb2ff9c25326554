"""A secret in every place where a user can put one, and then in nothing that is written, told or handed on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import IpwError, UsageError
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.runs.journal_lines import JOURNAL
from ipw.secrets_out import (
    BLOT,
    blotted,
    command_secrets,
    command_without_secrets,
    known_secrets,
    shown_url,
    without_key,
    without_secrets,
)
from ipw.studies.suite import label
from ipw.verbs.resume import check_no_secret
from ipw.workloads.lm.http.url import server_url
from ipw.workloads.lm.parameters import from_manifest

MARK = "CaNaRy4242xyzzy"
SLASHED = "CaNaRy/4242+xyzzy"


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{MARK}@host:80/x is not there",
        f"http://{MARK}@host/x",
        f"redis://:{SLASHED}@host/0",
        f"s3://AKIAABCDEFGHIJKLMNOP:{SLASHED}@bucket/path",
        f"https://host/x?X-Amz-Signature={MARK}&n=1: no answer",
        f"https://host/x?n=1&X-Amz-Security-Token={MARK}",
        f"https://host/x?sig={MARK}#part",
        f"https://host/x?access_token={MARK}, twice",
        f"(https://host/x?api-key={MARK})",
        f"vllm serve m --api-key {MARK} --port 1",
        f"vllm serve m --api-key={MARK}",
        f"serve --hf-token '{MARK}'",
        f'serve --password "{MARK}"',
        f"HF_TOKEN={MARK} serve",
        f"export MY_SECRET_KEY={MARK}; serve",
        f"Authorization: Bearer {MARK}",
        f"curl -H 'X-Api-Key: {MARK}'",
        f"{{'x-api-key': '{MARK}'}}",
        f'{{"authorization": "Basic {MARK}"}}',
        f"Cookie: session={MARK}",
        f"the server says: bearer {MARK} is wrong",
    ],
)
def test_what_may_be_a_secret_is_blotted_out_of_a_text(text: str) -> None:
    shown = without_secrets(text, ())
    assert "CaNaRy" not in shown
    assert BLOT in shown
    assert without_secrets(shown, ()) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "a1" * 10,
        "hf_" + "a" * 30,
        "ghp_" + "a" * 36,
        "AKIA" + "A1" * 8,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_keys_of_well_known_forms_are_blotted_out_wherever_they_stand(text: str) -> None:
    assert without_secrets(f"it was {text}.", ()) == f"it was {BLOT}."


@pytest.mark.parametrize(
    "text",
    [
        "give the key in the environment variable OPENAI_API_KEY",
        "no api-key: give one",
        "--max-tokens 5 --tokenizer x --keyboard de",
        "tokens: 512; a token: 5 J; the key is missing",
        "http://127.0.0.1:8000/v1@x",
        "https://host/x?n=1&model=a",
        "git@host:x/y and me@example.org",
        "basic auth is not supported",
        "the check 'token' is bad: ipw report runs/20261127T120000Z-a --recompute",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert without_secrets(text, ()) == text


@given(st.text())
def test_a_text_can_be_blotted_twice(text: str) -> None:
    once = without_secrets(text, ())
    assert without_secrets(once, ()) == once


@pytest.mark.parametrize(
    "piece",
    ["x", "a-", "-key", "--a-key ", "api-key", "://", "://a:", "://a:1/", "?key", "?key=", "&a=", "eyJ", "-eyJ",
     "eyJa.", "bearer ", "basic  ", "authorization", "authorization: ", "cookie:", "a_", "a_key", "x-amz-", "sk-",
     "hf_", "'", '"', "--key '", "@", "://@", " ", "\n", "key=", "://a@"],
)  # fmt: skip
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    began = time.process_time()
    blotted({"a": text, text: "b"}, ())
    command_without_secrets([text, "b", f"{text}=c"], {})
    assert time.process_time() - began < 30  # half a second here; what grew with the square took minutes


def test_secrets_of_the_environment_are_known_by_name_or_as_a_password_in_a_url() -> None:
    environment = {
        "MY_TOKEN": MARK, "HTTPS_PROXY": f"http://me:{SLASHED.replace('/', '%2F')}@proxy", "PWD": "/home/somebody",
        "SHORT_KEY": "1234", "DATABASE_URL": "postgres://db.example.org/name",
    }  # fmt: skip
    assert sorted(known_secrets(environment)) == sorted([MARK, SLASHED.replace("/", "%2F"), SLASHED])


def test_a_commands_secrets_are_kept_out_of_what_its_program_says() -> None:
    words = ["serve", "--api-key", MARK, f"--url=https://me:{MARK}2@host", "--port", "8000", f"A_TOKEN={MARK}3"]
    assert command_secrets(words) == [MARK, f"me:{MARK}2", f"{MARK}3"]


def test_an_address_is_shown_without_what_may_be_a_secret() -> None:
    secret = f"http://me:pw@host:80/{MARK}00/cm?cmnd=Status%208&password=hunter2"
    assert shown_url(secret) == "http://host:80/…/cm?cmnd=Status%208"
    assert shown_url("http://[bad") == "an address that cannot be read"


def test_what_a_model_says_loses_the_key_alone() -> None:
    said = f"Use Authorization: Bearer 12345678, not {MARK}"
    assert without_key(MARK, said) == f"Use Authorization: Bearer 12345678, not {BLOT}"


def test_entries_that_are_named_like_secrets_and_all_texts_are_blotted_out_of_a_document() -> None:
    document = {"a": [{"api_key": MARK, "key": "cell", "n": 1}], "url": f"https://u:{MARK}@h", "token": None}
    expected = {"a": [{"api_key": BLOT, "key": "cell", "n": 1}], "url": f"https://{BLOT}@h", "token": None}
    assert blotted(document) == expected


def test_an_error_holds_no_secret_and_no_second_line() -> None:
    error = IpwError(f"https://me:{MARK}@host:\nno answer", f"try --api-key {MARK}")
    assert (error.message, error.hint) == (f"https://{BLOT}@host: no answer", f"try --api-key {BLOT}")
    assert MARK not in str(error) + repr(error) + json.dumps(error.as_dict())


def test_no_file_of_a_run_takes_a_secret_in(tmp_path: Path) -> None:
    run, secret = RunDir(tmp_path), f"https://me:{MARK}@host/x"
    run.write_manifest({"run_id": "a", "status_reason": f"ValueError: {secret}", "software": {"api_key": MARK}})
    run.write_summary({"run_id": "a", "valid": True, "validity": [], "metrics": {}, "model": {"name": secret}})
    with Journal(run) as journal:
        journal.append("span", {"phase": "measure", "start_ns": 0, "end_ns": 1, "error": f"OSError: {secret}"})
    for name in ("manifest.json", "summary.json", JOURNAL):
        assert BLOT in (tmp_path / name).read_text()
        assert MARK not in (tmp_path / name).read_text()


def test_a_cell_of_a_study_is_named_without_its_secret() -> None:
    assert label({"limit": 5, "secret_key": MARK, "base-url": f"http://me:{MARK}@h"}) == (
        f"limit=5 secret_key={BLOT} base-url=http://{BLOT}@h"
    )


SERVER = """
import sys
sys.path[:0] = {paths}
from doubles.openai_server import Behaviour, serving
print("begun with", sys.argv)
with serving(lambda request: Behaviour([request.prompt]), port=int(sys.argv[1])):
    sys.stdin.read()
    __import__("time").sleep(60)
"""


def test_a_run_whose_server_and_environment_have_secrets_stores_none_and_is_resumed_with_the_command(
    tmp_path: Path,
) -> None:
    tests = Path(__file__).parent
    (tmp_path / "server.py").write_text(SERVER.format(paths=[str(tests), str(tests.parent)]))
    rows = [{"id": f"q{i}", "prompt": f"say {i}", "answer": f"say {i}"} for i in range(3)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    serve = f"{sys.executable} {tmp_path}/server.py {{port}} --api-key {MARK}1 --u=https://me:{MARK}2@h/"
    more = {"OPENAI_API_KEY": f"{MARK}3", "IPW_METER_URL": f"http://me:{MARK}4@127.0.0.1:9/cm?password={MARK}5",
            "HTTPS_PROXY": f"http://me:{MARK}6@127.0.0.1:9", "IPW_JUDGE_KEY": f"{MARK}7"}  # fmt: skip
    told = ""

    def ipw(*words: object) -> int:
        nonlocal told
        command = [sys.executable, "-m", "ipw.cli", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | more, capture_output=True, text=True, check=False)
        told += done.stdout + done.stderr
        return done.returncode

    options = ("--dataset", "q.jsonl", "--idle", "0", "--warmup", "0", "--sensors", "estimate", "--out", "runs")
    assert ipw("run", "lm", "--serve", serve, *options) == 0, told
    (run,) = (tmp_path / "runs").iterdir()
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(line for line in lines if b'"query_id":"q2"' not in line))
    RunDir(run).update_manifest(status="interrupted", recorded=None)
    with pytest.raises(UsageError, match="held a secret, which was not stored"):
        check_no_secret(from_manifest(RunDir(run).manifest(), run), run)
    assert ipw("resume", run, "--serve", serve) == 0, told
    assert "CaNaRy" not in told
    mine = {"server.py", "q.jsonl"}
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in mine]
    assert [str(path) for path in files if b"CaNaRy" in path.read_bytes()] == []


@pytest.mark.parametrize("url", [f"http://me:{MARK}@host", f"http://host/v1?api-key={MARK}", f"ftp://me:{MARK}@host"])
def test_a_server_is_refused_whose_address_has_a_secret_which_is_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as told:
        server_url(url)
    assert MARK not in told.value.message
