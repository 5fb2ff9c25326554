"""Code that comes with a model does not run because somebody asked at a terminal was in a hurry: nobody is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from ipw.errors import UsageError
from ipw.workloads.lm.servers.transformers_server import Model
from ipw.workloads.routing.subject import load_subject
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.subjects import load_task

LOADERS: dict[str, Callable[[str], Any]] = {
    "routing": load_subject,
    "train": lambda name: load_task(Parameters(model=name), 0),
    "server": lambda name: Model({"model": name, "threads": 1, "device": "cpu", "dtype": "auto"}),
}


@pytest.mark.parametrize("workload", LOADERS)
def test_no_workload_runs_it_and_none_asks(workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, asked = tmp_path / "ran", list[str]()
    told = {"AutoConfig": "odd.Odd", "AutoModelForCausalLM": "odd.Odd", "AutoTokenizer": ["odd.Odd", None]}
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text(json.dumps({"model_type": "odd", "auto_map": told}))
    (tmp_path / "odd.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n")

    def answered(question: str = "") -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answered)
    with pytest.raises((UsageError, ValueError), match="custom code"):
        LOADERS[workload](str(tmp_path))
    assert not ran.exists()
    assert not asked
