"""Tables for other programs and for papers."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from reports.made_runs import make_run

from ipw.metrics.summary import summarize
from ipw.reports.tables.written import as_csv, as_json, as_latex, records

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


def test_latex_escapes_what_it_would_run(tmp_path: Path) -> None:
    text = as_latex([summarize(make_run(tmp_path, manifest={"model": {"name": HOSTILE}}))])
    assert r"\end{document}" not in text
    assert r"50 \% of \{x\}\_y" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX on this machine")
def test_latex_compiles(tmp_path: Path) -> None:
    head = "\\documentclass{article}\\usepackage{booktabs}\\usepackage{textcomp}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + as_latex(two(tmp_path)) + "\\end{document}\n")
    subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, check=True, capture_output=True)
