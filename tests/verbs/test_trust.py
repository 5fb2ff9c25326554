"""A run that came by mail decides neither which command runs, nor where a key goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.openai_server import Behaviour, Request, Server, serving

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.runs.directory import RunDir
from ipw.verbs.resume import resume
from ipw.workloads.texts.identity import digest

SECRET = "sk-a-secret-of-mine"
ASKED, ALL = 4, 10


@pytest.fixture
def server() -> Iterator[Server]:
    def behave(request: Request) -> Behaviour:
        return Behaviour([request.prompt], token_s=0.001, prefill_s=0.001)

    with serving(behave) as made:
        yield made


@pytest.fixture
def cut(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of this user's that was cut off after a few of its questions."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    questions = tmp_path / "q.jsonl"
    questions.write_text(
        "".join(json.dumps({"id": f"q{i}", "prompt": f"{i}", "answer": f"{i}"}) + "\n" for i in range(ALL))
    )
    words = ["--base-url", server.url, "--dataset", str(questions), "--idle", "0", "--warmup", "0", "--json"]
    cli.main(["run", "lm", *words, "--sensors", "estimate", "--out", str(tmp_path / "o")], standalone_mode=False)
    (path,) = (tmp_path / "o").iterdir()
    journal = (path / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in journal if '"kind":"query"' not in line or int(json.loads(line)["query_id"][1:]) < ASKED]
    (path / "journal.jsonl").write_text("".join(kept))
    run = RunDir(path)
    run.update_manifest(status="interrupted")
    return run


def sent_by_mail(run: RunDir, tmp_path: Path, **parameters: Any) -> RunDir:
    """The same run as somebody else may have changed it, with a digest that anybody can make."""
    path = tmp_path / "mail" / run.path.name
    shutil.copytree(run.path, path)
    changed = RunDir(path)
    manifest = changed.manifest()
    workload = manifest["workload"]
    workload["parameters"] |= parameters
    workload["digest"] = digest(workload["parameters"])
    changed.write_manifest(manifest)
    return changed


def test_ones_own_run_goes_on_without_a_question(cut: RunDir, server: Server) -> None:
    asked = len(server.books)
    assert resume(run=cut.path, as_json=True, strict=False) == 0
    assert len(server.books) - asked == ALL - ASKED


def test_a_command_in_a_run_of_somebody_else_is_shown_and_not_started(cut: RunDir, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    run = sent_by_mail(cut, tmp_path, serve=f"touch {ran} {{port}}", base_url=None)
    with pytest.raises(UsageError, match=f"start `touch {ran}") as caught:
        resume(run=run.path, as_json=True, strict=False)
    assert "--yes" in str(caught.value.hint)
    assert not ran.exists()


def test_an_address_in_a_run_of_somebody_else_gets_no_key(
    cut: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with serving(Behaviour(["x"])) as evil:
        run = sent_by_mail(cut, tmp_path, base_url=evil.url)
        with pytest.raises(UsageError, match="with OPENAI_API_KEY") as caught:
            resume(run=run.path, as_json=True, strict=False)
        assert not evil.books
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("said", [{"yes": True}, {"base_url": "server"}])
def test_the_users_word_lets_it_go_on_and_makes_it_the_users_own(
    cut: RunDir, server: Server, tmp_path: Path, said: dict[str, Any]
) -> None:
    run = sent_by_mail(cut, tmp_path, timeout_s=299.0)
    said = {name: server.url if value == "server" else value for name, value in said.items()}
    assert resume(run=run.path, as_json=True, strict=False, **said) == 0
    summary = run.summary()
    assert summary is not None
    assert summary["metrics"]["queries"]["value"] == ALL
    assert summary["metrics"]["accuracy"]["value"] == 1.0
    with pytest.raises(UsageError, match="nothing is left to ask"):  # and no word of who began it
        resume(run=run.path, as_json=True, strict=False)


def test_a_server_that_moved_is_named_on_the_command_line(cut: RunDir, server: Server) -> None:
    manifest = cut.manifest()
    with serving(lambda request: Behaviour([request.prompt])) as moved:
        assert resume(run=cut.path, as_json=True, strict=False, base_url=moved.url) == 0
        assert len(moved.books) == ALL - ASKED
        assert cut.manifest()["server"]["url"] == moved.url
    assert manifest["server"]["url"] == server.url


def test_two_servers_at_once_are_refused(cut: RunDir) -> None:
    with pytest.raises(UsageError, match="both"):
        resume(run=cut.path, as_json=True, strict=False, base_url="http://a", serve="b {port}")


def test_each_key_goes_to_its_own_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("IPW_JUDGE_KEY", "jk-the-judges-key")
    (tmp_path / "q.jsonl").write_text('{"prompt": "2+2?", "answer": "4"}\n')
    with serving(Behaviour(["TRUE"])) as judge:
        words = [
            "--base-url",
            server.url,
            "--dataset",
            str(tmp_path / "q.jsonl"),
            "--judge-url",
            judge.url,
            "--idle",
            "0",
        ]
        words += ["--scorer", "judge", "--sensors", "estimate", "--warmup", "0", "--json", "--out", str(tmp_path / "o")]
        cli.main(["run", "lm", *words], standalone_mode=False)
        assert {book.authorization for book in server.books} == {f"Bearer {SECRET}"}
        assert {book.authorization for book in judge.books} == {"Bearer jk-the-judges-key"}
    for path in (tmp_path / "o").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
            assert b"jk-the-judges-key" not in path.read_bytes()
