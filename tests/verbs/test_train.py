from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from ipw.errors import MissingExtraError, UsageError
from ipw.verbs.workloads.train import BLOCKS
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
        ({"method": "zeroth-order", "join_at": 5}, "--join-at is for several peers", "--peers 2"),
        ({"method": "zeroth-order", "peers": 2, "join_at": 100}, "comes when all is done", "--join-at"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(options: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        train_parameters(**options)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("missing", "method", "command"),
    [("torch", "backprop", "[torch]"), ("peft", "lora", "[lora]")],
)
def test_a_missing_extra_answers_with_the_command_that_installs_it(
    missing: str, method: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MissingExtraError) as error:
        measure_training(train_parameters(method=method), "none", 0.0, tmp_path)
    assert command in str(error.value.hint)
    assert not list(tmp_path.iterdir()), "and leaves nothing behind"


def test_blocks_are_a_number_or_one_a_layer() -> None:
    read = [BLOCKS.convert(value, None, None) for value in ("layers", "4")]
    assert read == ["layers", 4]
    for wrong in ("0", "layer", "two"):
        with pytest.raises(click.BadParameter):
            BLOCKS.convert(wrong, None, None)
