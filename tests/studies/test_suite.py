"""Suite files: a matrix of cells, run one after another, resumed, and never stopped by one that fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.studies.book import StudyBook, read_study
from ipw.studies.suite import Suite, read_suite
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.study import run_suite
from ipw.verbs.watch import watch

LM = '[run]\nworkload = "lm"\nlimit = 5\n'


def suite(folder: Path, text: str) -> Suite:
    (folder / "s.toml").write_text(text)
    return read_suite(folder / "s.toml", WORKLOADS)


def test_every_combination_of_the_matrix_is_a_cell_with_the_shared_settings(tmp_path: Path) -> None:
    found = suite(tmp_path, LM + '[matrix]\nmodel = ["dense", "moe"]\nconcurrency = [1, 8]\n')
    assert [p.cell.name for p in found.cells] == [
        "model=dense concurrency=1", "model=dense concurrency=8", "model=moe concurrency=1", "model=moe concurrency=8",
    ]  # fmt: skip
    assert {p.cell.options["limit"] for p in found.cells} == {5}
    assert [p.cell.options["concurrency"] for p in found.cells] == [1, 8, 1, 8]


def test_cells_are_left_out_and_added(tmp_path: Path) -> None:
    text = LM + '[matrix]\nmodel = ["dense", "moe"]\nconcurrency = [1, 8]\n'
    text += '[[exclude]]\nmodel = "moe"\nconcurrency = 8\n[[include]]\nmodel = "dense"\nconcurrency = 32\n'
    names = [p.cell.name for p in suite(tmp_path, text).cells]
    assert "model=moe concurrency=8" not in names
    assert names[-1] == "model=dense concurrency=32"


def test_a_name_that_is_no_option_is_put_where_it_stands_in_braces_and_other_braces_stay(tmp_path: Path) -> None:
    text = '[run]\nworkload = "lm"\nmodel = "m"\nserve = "serve --quant {quantisation} --port {port}"\n'
    found = suite(tmp_path, text + '[matrix]\nquantisation = ["q4", "q8"]\n')
    assert [p.cell.options["serve"] for p in found.cells] == [
        "serve --quant q4 --port {port}", "serve --quant q8 --port {port}",
    ]  # fmt: skip


def test_a_label_names_cells_and_changes_none_of_them(tmp_path: Path) -> None:
    text = '[run]\nworkload = "lm"\nmodel = "m"\nserve = "s {kind} {port}"\n[matrix]\nkind = ["q4", "q8"]\n'
    plain, labelled = suite(tmp_path, text), suite(tmp_path, 'label = "{model} {kind}"\n' + text)
    assert [p.cell.options["label"] for p in labelled.cells] == ["{model} q4", "{model} q8"]
    assert [p.key for p in plain.cells] == [p.key for p in labelled.cells]
    with pytest.raises(UsageError, match="label must be a text"):
        suite(tmp_path, "label = 3\n" + text)


def test_repetitions_and_seeds_multiply_the_cells_and_each_has_a_key_of_its_own(tmp_path: Path) -> None:
    found = suite(tmp_path, "repeat = 2\nseeds = [3, 4]\n" + LM + 'model = "dense"\n')
    assert [(p.cell.options["seed"], p.repetition) for p in found.cells] == [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert len({p.key for p in found.cells}) == 4


@given(st.permutations(["model", "limit", "concurrency"]))
def test_the_order_of_settings_does_not_change_what_a_cell_is(order: list[str]) -> None:
    import tempfile

    values = {"model": '"dense"', "limit": "5", "concurrency": "2"}
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{key} = {values[key]}" for key in order]
        found = suite(Path(folder), '[run]\nworkload = "lm"\n' + "\n".join(lines))
        again = suite(Path(folder), '[run]\nworkload = "lm"\nmodel = "dense"\nlimit = 5\nconcurrency = 2\n')
    assert found.cells[0].key == again.cells[0].key


def test_what_a_node_must_have_comes_from_the_placement_and_the_matrix(tmp_path: Path) -> None:
    text = LM + 'model = "dense"\n[matrix]\naccelerator = ["H100", "A100"]\n'
    text += "[placement]\ngpus = 2\nmemory_gb = 40\nresources = { fast_disk = 1 }\n"
    places = [p.placement for p in suite(tmp_path, text).cells]
    assert [place.accelerator for place in places] == ["H100", "A100"]
    assert {(place.gpus, place.memory_gb, place.resources["fast_disk"]) for place in places} == {(2, 40, 1)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no table"),
        ('[run]\nworkload = "lmm"\n', "lmm"),
        (LM + "[matrix]\nmodel = 'dense'\n", "must be a list"),
        (LM + "[matrix]\nmodel = []\n", "must be a list"),
        (LM + "[matrix]\nmodle = ['dense']\n", "modle"),
        (LM + "[matrix]\nmodel = ['a']\n[[exclude]]\nmodel = 'a'\n", "excluded"),
        (LM + "[matrix]\nmodel = ['a']\n[[exclude]]\nlimit = 1\n", "'limit'"),
        (LM + "[matrix]\nmodel = ['a', 'a']\n", "twice"),
        (LM + "[matrx]\nmodel = ['a']\n", "matrx"),
        ("repeat = 0\n" + LM, "repeat"),
        ("seeds = 1\n" + LM, "seeds"),
        (LM + "[placement]\ngpu = 1\n", "gpu"),
        (LM + "[placement]\ngpus = -1\n", "gpus"),
        (LM + "[placement]\nshards = 0\n", "shards"),
        (LM + "limit2 = 5\n", "limit2"),
        ("[run", "not valid TOML"),
    ],
)
def test_a_suite_that_cannot_be_is_told_before_anything_runs(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        suite(tmp_path, text)


# --- running --------------------------------------------------------------------------------------------------------

COUNTS = """import pathlib, sys
notes, letter = pathlib.Path(sys.argv[1]), sys.argv[2]
notes.write_text((notes.read_text() if notes.exists() else "") + letter)
sys.exit(letter == "b" and not (notes.parent / "mended").exists())
"""


def commands_suite(folder: Path) -> Path:
    """Three commands that note that they ran; the second fails until a file is there."""
    notes = folder / "notes"
    table = json.dumps([sys.executable, "-c", COUNTS, str(notes), "{letter}"])
    text = f'name = "a study"\n[run]\nworkload = "measure"\nidle = 0\nsensors = "estimate"\ncommand = {table}\n'
    (folder / "s.toml").write_text(text + '[matrix]\nletter = ["a", "b", "c"]\n')
    return folder / "s.toml"


def start(folder: Path, path: Path, **more: Any) -> int:
    options = {"dry_run": False, "engine_cluster": None, "storage": None, "as_json": True} | more
    return run_suite(suite=path, commands=WORKLOADS, out=folder / "runs", **options)


def test_a_model_that_is_not_there_is_told_before_the_first_cell_runs(tmp_path: Path) -> None:
    models = [str(tmp_path / "there.gguf"), str(tmp_path / "gone.gguf")]
    Path(models[0]).touch()
    path = tmp_path / "s.toml"
    path.write_text(f"{LM}[matrix]\nmodel = {json.dumps(models)}\n")
    for options in ({"dry_run": True}, {}):
        with pytest.raises(UsageError, match="is not there"):
            start(tmp_path, path, **options)
    assert not list(tmp_path.glob("runs/*/2*"))
    path.write_text(f"{LM}base-url = 'http://127.0.0.1:1'\n[matrix]\nmodel = {json.dumps(models)}\n")
    assert start(tmp_path, path, dry_run=True) == 0, "a server may call its model after a file"


def test_a_failed_cell_does_not_stop_the_others_and_a_second_start_does_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = commands_suite(tmp_path)
    assert start(tmp_path, path) == 5
    told = json.loads(capsys.readouterr().out)
    assert [cell["status"] for cell in told["cells"]] == ["done", "failed", "done"]
    assert "exit code 1" in told["cells"][1]["error"]
    (tmp_path / "mended").touch()
    assert start(tmp_path, path) == 0
    assert (tmp_path / "notes").read_text() == "abcb"
    state = read_study(tmp_path / "runs" / "a-study")
    assert [cell["attempts"] for cell in state["cells"]] == [1, 2, 1]
    assert (tmp_path / "runs" / "a-study" / "report.html").is_file()


def test_a_study_is_reported_under_the_labels_that_its_suite_has_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = commands_suite(tmp_path)
    (tmp_path / "mended").touch()
    text = path.read_text()
    for word in ("first", "then"):
        path.write_text(f'label = "{word} {{letter}}"\n' + text)
        assert start(tmp_path, path, as_json=False) == 0
    assert (tmp_path / "notes").read_text() == "abc"
    out = capsys.readouterr().out
    assert "first a" in out
    assert "then a" in out
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", str(tmp_path / "runs" / "a-study"), "--table", "csv"])
    assert ended.value.code == 0
    assert [row.split(",")[0] for row in capsys.readouterr().out.splitlines()] == ["run", "then a", "then b", "then c"]


def test_a_study_may_lie_in_the_folder_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = commands_suite(tmp_path)
    (tmp_path / "mended").touch()
    monkeypatch.chdir(tmp_path)
    assert start(Path(), path) == 0
    assert [cell["status"] for cell in read_study(Path("runs/a-study"))["cells"]] == ["done"] * 3


def test_what_ran_when_the_study_was_killed_waits_again_and_a_run_that_is_gone_is_made_again(tmp_path: Path) -> None:
    path = commands_suite(tmp_path)
    found = read_suite(path, WORKLOADS)
    folder = tmp_path / "runs" / "a-study"
    book = StudyBook(folder, found)
    book.begin(found.cells[0], "here")
    state = read_study(folder)
    state["cells"][1] |= {"status": "done", "run": "gone"}
    (folder / "study.json").write_text(json.dumps(state))
    assert [p.cell.name for p in StudyBook(folder, found).waiting(found.cells)] == ["letter=a", "letter=b", "letter=c"]


def test_a_dry_run_lists_the_cells_and_runs_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path, commands_suite(tmp_path), dry_run=True, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["letter=a", "letter=b", "letter=c"]
    assert not (tmp_path / "runs").exists()


def test_ipw_run_takes_a_file_where_a_workload_would_stand(tmp_path: Path) -> None:
    assert cli.main(["run", str(commands_suite(tmp_path)), "--dry-run"], standalone_mode=False) == 0


def test_a_state_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(UsageError, match="not a study"):
        read_study(tmp_path)


def test_a_study_can_be_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(tmp_path, commands_suite(tmp_path))
    capsys.readouterr()
    assert watch(path=tmp_path / "runs" / "a-study", once=True, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "2 done, 1 failed" in shown
    assert "letter=b" in shown
    assert watch(path=tmp_path / "runs" / "a-study", once=False, as_json=False) == 0  # nothing waits: it ends


def test_what_only_a_cluster_can_do_is_refused_here_and_what_is_not_looked_at_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = commands_suite(tmp_path)
    text = path.read_text()
    path.write_text(text + "[placement]\nnodes = 2\n")
    with pytest.raises(UsageError, match="needs a cluster"):
        start(tmp_path, path)
    path.write_text(text + "[placement]\ngpus = 1\n")
    start(tmp_path, path)
    assert "[placement] asks for is not looked at" in capsys.readouterr().err
