from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.training import measure
from ipw.workloads.training.measure import measure_training, train_parameters


def test_methods_are_named_by_comma_each_once() -> None:
    assert train_parameters(method="local, backprop,local").methods == ("local", "backprop")


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"method": "backprob"}, "no method 'backprob'", "did you mean backprop"),
        ({"method": " , "}, "no method is named", "--method backprop"),
        ({"method": "local", "peers": 2}, "--peers is for zeroth order", "--method zeroth-order"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(options: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        train_parameters(**options)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("missing", "method", "command"),
    [("torch", "backprop", "pip install 'ipw[torch]'"), ("peft", "lora", "pip install 'ipw[lora]'")],
)
def test_a_missing_extra_answers_with_the_command_that_installs_it(
    missing: str, method: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MissingExtraError) as error:
        measure_training(train_parameters(method=method), "none", 0.0, tmp_path)
    assert error.value.hint == command
    assert not list(tmp_path.iterdir()), "and leaves nothing behind"
