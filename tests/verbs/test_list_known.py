"""`ipw list …`: what options take, from the code that takes it."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from ipw.cli import cli
from ipw.profilers.discovery import SENSORS
from ipw.verbs.list_known import KINDS
from ipw.verbs.workloads.lm import command as run_lm
from ipw.workloads.diffusion.methods import CACHES, SAMPLERS
from ipw.workloads.lm.scoring.answers import check_scorer
from ipw.workloads.texts.questions import Question
from ipw.workloads.training.parameters import METHODS


def listed(kind: str) -> dict[str, str]:
    result = CliRunner().invoke(cli, ["list", kind, "--json"], standalone_mode=False)
    assert result.exception is None, result.exception
    return {row["name"]: row["about"] for row in json.loads(result.stdout)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_told_with_what_it_is(kind: str) -> None:
    assert all(listed(kind).values())


@pytest.mark.parametrize("kind", KINDS)
def test_people_see_the_same_names(kind: str) -> None:
    shown = CliRunner().invoke(cli, ["list", kind], standalone_mode=False)
    assert shown.stderr == ""
    assert all(name in shown.stdout for name in listed(kind))


def test_sensors_and_methods_are_those_of_the_code() -> None:
    assert set(SENSORS) <= set(listed("sensors"))
    assert list(listed("methods")) == [*METHODS, *SAMPLERS, *CACHES]


def test_engines_are_those_that_the_option_takes() -> None:
    (option,) = (p for p in run_lm.params if p.name == "engine")
    assert isinstance(option.type, click.Choice)
    assert set(listed("engines")) == set(option.type.choices)


@pytest.mark.parametrize("scorer", [name for name in listed("scorers") if name not in {"math", "lm-eval"}])
def test_each_scorer_that_is_listed_can_be_asked_for(scorer: str) -> None:
    choices = ("1", "2") if scorer == "choice" else None
    check_scorer(scorer, [Question("q", "s", "1 + 1 =", "A" if choices else "2", choices)])
