"""`ipw resume` of decoding methods that took turns: what was cut off goes on, of all of them, and nothing twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from verbs.test_diffusion import folder, options, questions

from ipw.errors import INTERRUPTED, OK, UsageError
from ipw.runs.directory import RunDir
from ipw.verbs.resume import resume
from ipw.verbs.workloads.diffusion import run_diffusion
from ipw.workloads.diffusion import run as running
from ipw.workloads.diffusion.decoding import decode_batch

__all__ = ["folder", "questions"]
KEPT = ("query_id", "status", "response", "score", "forwards", "agrees")


def cut(
    monkeypatch: pytest.MonkeyPatch, after: int, folder: Path, questions: Path, out: Path, **changes: Any
) -> list[RunDir]:
    """Run until so many batches were decoded, the warm-up's among them."""
    asked = 0

    def ending(*given: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == after:
            signal.raise_signal(signal.SIGTERM)
        return decode_batch(*given)

    with monkeypatch.context() as patched:
        patched.setattr(running, "decode_batch", ending)
        assert run_diffusion(**options(folder, questions, out, warmup=1, **changes)) == INTERRUPTED
    return runs_of(out)


def runs_of(out: Path) -> list[RunDir]:
    """All runs below `out`, by the names of their methods."""
    found = [RunDir(path) for path in out.iterdir() if (path / "manifest.json").is_file()]
    return sorted(found, key=lambda run: str(run.manifest()["workload"]["parameters"]["method"]))


def rows(run: RunDir) -> list[tuple[Any, ...]]:
    found = run.read_table("queries", KEPT)
    assert found is not None
    return sorted(tuple(row[name] for name in KEPT) for row in found.to_pylist())


@pytest.mark.parametrize("after", [3, 4, 9, 14])
def test_what_was_cut_off_and_resumed_has_the_tables_of_what_was_left_alone(
    folder: Path, questions: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    methods = {"method": "greedy,dkv-decode"}
    runs = cut(monkeypatch, after, folder, questions, tmp_path / "cut", **methods)
    before = [sum(1 for _ in run.journal("query")) for run in runs]
    assert sum(before) == after - 1 - 2, "two were warm-up, and one was cut off"
    assert resume(run=runs[0].path, as_json=True, strict=False) == OK
    assert [run.manifest()["status"] for run in runs] == ["complete", "complete"]
    assert [sum(1 for _ in run.journal("query")) for run in runs] == [6, 6], "nothing was asked twice"
    run_diffusion(**options(folder, questions, tmp_path / "whole", warmup=1, **methods))
    assert [rows(run) for run in runs] == [rows(run) for run in runs_of(tmp_path / "whole")]
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    resumed, alone = told[1]["summaries"], told[2]["summaries"]
    assert all(check["ok"] for each in resumed for check in each["validity"] if check["check"] == "record")
    for name in ("accuracy", "forwards_per_answer", "agreement", "queries"):
        values = [[summary["metrics"][name].get("value") for summary in each] for each in (resumed, alone)]
        assert values[0] == values[1]
    for run in runs:
        manifest = run.manifest()
        assert [part["status"] for part in manifest.get("resumed", [])] in ([], ["interrupted"])
        energies = run.read_table("queries", ["energy_j"])
        assert energies is not None
        assert sum(energies["energy_j"].to_pylist()) == pytest.approx(manifest["attribution"]["attributed_j"])
    with pytest.raises(UsageError, match="nothing is left to ask"):
        resume(run=runs[1].path, as_json=True, strict=False)


def test_a_method_alone_goes_on_alone_and_its_neighbours_are_left_alone(
    folder: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = cut(monkeypatch, 3, folder, questions, tmp_path, method="threshold")
    both = cut(monkeypatch, 4, folder, questions, tmp_path, method="greedy,threshold")
    assert resume(run=first.path, as_json=True, strict=False) == OK
    assert sorted(run.manifest()["status"] for run in both) == ["complete", "interrupted", "interrupted"]


def test_what_differs_from_the_beginning_is_refused_and_changes_nothing(
    folder: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "q.jsonl"
    mine.write_bytes(questions.read_bytes())
    (run,) = cut(monkeypatch, 4, folder, mine, tmp_path / "out", method="greedy")
    kept = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}

    def refused(said: str, **given: Any) -> None:
        with pytest.raises(UsageError, match=said) as caught:
            resume(run=run.path, as_json=True, strict=False, **given)
        assert caught.value.hint
        assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == kept

    mine.write_text(mine.read_text().replace('"q5"', '"other"'))
    refused("the dataset is not the one")
    mine.write_bytes(questions.read_bytes())
    refused("asked no server", base_url="http://localhost:1")
    manifest = json.loads(kept["manifest.json"])
    manifest["workload"]["parameters"]["threshold"] = 0.5
    kept["manifest.json"] = json.dumps(manifest).encode()
    (run.path / "manifest.json").write_bytes(kept["manifest.json"])
    refused("was not begun by this user")
    refused("not those that it began with", yes=True)
