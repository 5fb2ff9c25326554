"""Tables for other programs and for papers."""

# ruff: noqa: RUF001 - the sign between a model and its load is a multiplication sign
from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.tables import tex
from ipw.reports.tables.latex import as_latex
from ipw.reports.tables.written import as_csv, as_json, as_parquet, records

HOSTILE = r"=cmd|' /C calc'!A0 & 50 % of {x}_y ~^\end{document} $#"


def two(folder: Path) -> list[dict[str, object]]:
    runs = [
        make_run(folder, name, power_w=power, manifest={"model": {"name": name}})
        for name, power in (("one", 10.0), ("two", 20.0))
    ]
    return [summarize(run) for run in runs]


def test_every_number_of_a_summary_is_in_the_csv_with_its_ends(tmp_path: Path) -> None:
    summaries = two(tmp_path)
    rows = list(csv.DictReader(io.StringIO(as_csv(summaries))))
    assert [row["run"] for row in rows] == ["one", "two"]
    for row, summary in zip(rows, summaries, strict=True):
        metric = summary["metrics"]["energy_per_query_j"]  # type: ignore[index]
        assert float(row["energy_per_query_j"]) == metric["value"]
        assert float(row["energy_per_query_j_low"]) == metric["low"]
        assert float(row["energy_per_query_j_high"]) == metric["high"]


def cell(folder: Path, name: str, **given: object) -> dict[str, object]:
    parameters = {"dataset": "bundled", "model": "/srv/m.gguf", "concurrency": None, "rate": None, "scorer": None}
    facts = {"name": "Tiny", "quantisation": "q4_k", "file_type": "Q4_K_M", "parameters": 9, "digest": "sha256:0"}
    told = {"workload": {"kind": "lm", "parameters": parameters | given}, "model": facts,
            "dataset": {"name": "bundled", "scorer": "exact", "questions": 120}}  # fmt: skip
    return summarize(make_run(folder, name, manifest=told))


def test_settings_are_columns_so_that_joules_can_be_drawn_against_the_load(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([cell(tmp_path, "a"), cell(tmp_path, "b", concurrency=8)]))))
    assert [row["run"] for row in rows] == ["m ×1", "m ×8"]
    assert [row["concurrency"] for row in rows] == ["1", "8"]
    first = rows[0]
    assert (first["model"], first["quantisation"], first["model_parameters"]) == ("m", "Q4_K_M", "9")
    assert (first["scorer"], first["dataset_questions"], first["parameter_model"]) == ("exact", "120", "/srv/m.gguf")
    assert (first["host_name"], first["host_cpu"], first["software_python"]) == ("bench", "Test CPU", "3.11.2")
    assert (first["questions_asked"], first["questions_failed"]) == ("120", "0")
    assert float(first["energy_per_query_j_low"]) < float(first["energy_per_query_j"])


def test_columns_have_one_order_whichever_runs_are_shown(tmp_path: Path) -> None:
    lm, command = cell(tmp_path, "a"), summarize(make_run(tmp_path, "b")) | {
        "workload": {"kind": "command", "parameters": {"command": ["true"], "zeta": 1, "alpha": [1, 2]}}
    }  # fmt: skip
    one, other = list(records([lm, command])[0]), list(records([command, lm])[0])
    assert one == other
    assert one.index("concurrency") < one.index("alpha") < one.index("zeta") < one.index("model_name")
    assert one.index("host_name") < one.index("questions_asked") < one.index("accuracy")
    place = one.index("accuracy")
    assert one[place : place + 3] == ["accuracy", "accuracy_low", "accuracy_high"]
    alone = [name for name in one if name in records([lm])[0]]
    assert alone == list(records([lm])[0])


def test_parquet_holds_what_csv_does(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    summaries = [cell(tmp_path, "a", blocks=2), cell(tmp_path, "b", blocks="layers", concurrency=3)]
    table = pq.read_table(pa.BufferReader(as_parquet(summaries)))
    assert table.column_names == list(records(summaries)[0])
    assert table["concurrency"].to_pylist() == [1, 3]
    assert table["blocks"].to_pylist() == ["2", "layers"]


def test_what_is_absent_is_null_in_json_and_empty_in_csv(tmp_path: Path) -> None:
    summary = summarize(make_run(tmp_path, scores=(None,) * 4))
    assert json.loads(as_json([summary]))[0]["ttft_p50_s"] is None
    assert next(csv.DictReader(io.StringIO(as_csv([summary]))))["ttft_p50_s"] == ""


def test_estimates_are_marked_and_not_ranked(tmp_path: Path) -> None:
    row = records([summarize(make_run(tmp_path, method="model_estimate", manifest={"basis": "estimate"}))])[0]
    assert (row["estimated"], row["rank"]) == (True, None)


def test_a_name_is_no_formula_to_a_spreadsheet(tmp_path: Path) -> None:
    text = as_csv([summarize(make_run(tmp_path, manifest={"model": {"name": HOSTILE}}))])
    assert next(csv.DictReader(io.StringIO(text)))["run"].startswith("'=")


def named(folder: Path, *names: str) -> list[dict[str, object]]:
    summary = summarize(make_run(folder))
    return [summary | {"label": name, "run_id": f"{place}"} for place, name in enumerate(names)]


def test_latex_escapes_what_it_would_run(tmp_path: Path) -> None:
    text = as_latex(named(tmp_path, HOSTILE))
    assert r"\end{document}" not in text
    assert r"50~\% of \{x\}\_y" in text.replace(r"\allowbreak{}", "")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_a_latex_table_floats_with_caption_and_label_and_says_what_it_needs(tmp_path: Path) -> None:
    text = as_latex(two(tmp_path))
    assert r"\usepackage{booktabs,graphicx}" in text.splitlines()[0]
    assert r"\caption{2 runs on bundled. Joules are measured (basis gpu). Brackets hold 95~\% intervals.}" in text
    assert text.count(r"\label{tab:ipw-lm}") == text.count(r"\begin{table}") == text.count(r"\end{table}") == 1
    estimated = as_latex([summarize(make_run(tmp_path, method="model_estimate", manifest={"basis": "estimate"}))])
    assert "Joules are estimated" in estimated


@pytest.mark.parametrize("name", ["[8 bit]", "*", "[2cm]"])
def test_a_row_of_latex_never_begins_with_what_the_row_before_would_take(tmp_path: Path, name: str) -> None:
    text = as_latex(named(tmp_path, "first", name))
    assert not re.search(r"(\\\\|rule)\s*[\[*]", text)
    assert f"{{}}{name}" in text


def test_latex_names_the_letters_that_pdflatex_does_not_have(tmp_path: Path) -> None:
    text = as_latex(named(tmp_path, "模型 ×4", "größer ≤ 5 µs", "🚀"))
    assert text.splitlines()[1] == "% pdflatex has no letters for: 模型🚀"
    assert "xelatex" in text.splitlines()[2]
    assert r"größer $\leq$ 5 \textmu{}s" in text
    assert "no letters" not in as_latex(named(tmp_path / "b", "größer"))


def test_a_long_name_in_latex_has_lines(tmp_path: Path) -> None:
    (line,) = [row for row in as_latex(named(tmp_path, "x" * 100)).splitlines() if row.startswith(r"\parbox")]
    assert line.count("x" * 16 + r"\allowbreak{}") >= 6


@given(st.text(max_size=60))
def test_any_text_in_latex_is_set_and_nothing_of_it_is_run(text: str) -> None:
    for written in (tex.escaped(text), tex.breakable(text)):
        assert without_commands(written) == ""


def without_commands(written: str) -> str:
    """Take away what LaTeX sets as it stands; what is left would run, open a group, or end a line or cell."""
    known = {*tex.SPECIAL.values(), *tex.SIGNS.values(), r"\allowbreak{}", "{}", "~"}
    pattern = "|".join(re.escape(each) for each in sorted(known, key=len, reverse=True))
    return "".join(c for c in re.sub(pattern, "", written) if c in "\\{}$&#^_~%\n\r")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX on this machine")
def test_latex_compiles(tmp_path: Path) -> None:
    names = ["a_b & 50 % #e$f{g}~i^j\\k<l>m|n", "[2cm]", "* -- ``'' ?`", "µs ±2 ≤ 3 ² ½ °C é Ł ő → λ", "x" * 300]
    tables = as_latex([*two(tmp_path), *named(tmp_path / "b", *names)])
    packages = tables.splitlines()[0].removeprefix("% In the preamble: ")
    head = f"\\documentclass{{article}}{packages}\\begin{{document}}\n"
    (tmp_path / "t.tex").write_text(head + tables + "\\end{document}\n")
    subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=True, capture_output=True)
    assert "Overfull" not in (tmp_path / "t.log").read_text(errors="replace")
