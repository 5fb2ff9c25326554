"""Tasks of lm-evaluation-harness from local YAML, with local data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipw.errors import MissingExtraError, UsageError, install_hint
from ipw.workloads.texts.datasets import load

YAML = """
task: capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {kind}
doc_to_text: "Capital of {{{{country}}}}? "
doc_to_target: "{{{{capital}}}}"
{more}
generation_kwargs:
  until: ["\\n", "  "]
  max_gen_toks: 9
filter_list:
  - name: first-word
    filter:
      - function: regex
        regex_pattern: "([A-Z][a-z]+)"
      - function: take_first
metric_list:
  - metric: {metric}
    aggregation: mean
    higher_is_better: true
"""


def task(folder: Path, kind: str = "generate_until", metric: str = "exact_match") -> str:
    data = folder / "capitals.jsonl"
    rows = [{"country": "Norway", "capital": "Oslo"}, {"country": "Peru", "capital": "Lima"}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "capitals.yaml"
    more = 'doc_to_choice: ["Oslo", "Lima"]' if kind == "multiple_choice" else ""
    path.write_text(YAML.format(data=data, kind=kind, metric=metric, more=more))
    return f"lm-eval:{path}"


def test_prompts_stops_and_scores_are_those_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="the extra 'lm-eval' is not installed")
    import datasets

    from ipw.workloads.texts.harness import Task

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source = task(tmp_path)
    dataset = load(source)
    assert [question.prompt for question in dataset.questions] == ["Capital of Norway? ", "Capital of Peru? "]
    assert [question.answer for question in dataset.questions] == ["Oslo", "Lima"]
    assert dataset.request == {"max_tokens": 9, "stop": ["\n", "  "]}
    assert dataset.scorer_default == "lm-eval"
    assert len(load(source, limit=1).questions) == 1
    loaded = Task(source.removeprefix("lm-eval:"))
    assert loaded.score("0", "it is Oslo.") == 1.0
    assert loaded.score("0", "it is Lima.") == 0.0
    assert loaded.score("1", "") == 0.0
    with pytest.raises(UsageError, match="needs log-likelihoods"):
        load(task(tmp_path, "multiple_choice", "acc"))


def test_a_task_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="the extra 'lm-eval' is not installed")
    (tmp_path / "bad.yaml").write_text("task: [")
    for name, message in (("nowhere.yaml", "is not there"), (f"{tmp_path}/bad.yaml", "cannot be loaded")):
        with pytest.raises(UsageError, match=message) as caught:
            load(f"lm-eval:{name}")
        assert "\n" not in caught.value.message


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.tasks", None)
    with pytest.raises(MissingExtraError) as caught:
        load("lm-eval:gsm8k")
    assert caught.value.hint == install_hint("lm-eval")
