"""A gate file at its limits: the least and the most of every number, and what each refusal offers instead."""

from __future__ import annotations

import tomllib

import pytest

from ipw.errors import UsageError
from ipw.gate.policy import CHECKS, EQUAL, MUST, Policy, read_policy

GOOD = "[metrics.energy_per_query_j]\nmargin = 0.03\n"


def read(text: str, workload: str = "lm") -> Policy:
    return read_policy(tomllib.loads(text), "gate.toml", workload)


def refused(text: str, workload: str = "lm") -> UsageError:
    with pytest.raises(UsageError) as error:
        read(text, workload)
    return error.value


@pytest.mark.parametrize("alpha", [1e-6, 0.5])
def test_alpha_is_from_a_millionth_to_a_half(alpha: float) -> None:
    assert read(f"{GOOD}[gate]\nalpha = {alpha}").alpha == alpha


@pytest.mark.parametrize("alpha", ["9e-7", "0.51", "nan", "true", '"5 %"'])
def test_any_other_alpha_is_refused_with_the_range(alpha: str) -> None:
    error = refused(f"{GOOD}[gate]\nalpha = {alpha}")
    assert error.message == "gate.toml: alpha must be a number from 1e-06 to 0.5"


@pytest.mark.parametrize(
    ("table", "margin"),
    [
        ("[metrics.energy_j]\nmargin = 10", 10.0),
        ("[metrics.energy_j]\nmargin = 1e-9", 1e-9),
        ("[metrics.accuracy]\nmargin_points = 100", 1.0),
        ("[metrics.accuracy]\nmargin_points = 0.5", 0.005),
    ],
)
def test_a_margin_is_up_to_ten_times_the_base_and_of_accuracy_up_to_all_points(table: str, margin: float) -> None:
    assert read(table).rules[0].margin == pytest.approx(margin)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[metrics.energy_j]\nmargin = 10.1", "margin = 10.1 must be a number above 0 and up to 10"),
        ("[metrics.accuracy]\nmargin_points = 100.1", "margin_points = 100.1 must be a number above 0 and up to 100"),
        ("[metrics.accuracy]\nmargin_points = 0", "margin_points = 0 must be a number above 0 and up to 100"),
    ],
)
def test_a_margin_beyond_is_refused_with_the_range(table: str, told: str) -> None:
    assert told in refused(table).message


def test_a_missing_margin_is_shown_as_it_is_written() -> None:
    assert refused("[metrics.accuracy]").hint == "margin_points = 1.0"
    assert refused("[metrics.energy_j]").hint == "margin = 0.03"


def test_the_direction_of_harm_may_be_given_and_is_that_of_the_metric_else() -> None:
    given = read('[metrics.energy_j]\nmargin = 0.1\nharm = "lower"\n[metrics.latency_p50_s]\nmargin = 0.1\n')
    assert [rule.harm for rule in given.rules] == ["lower", "higher"]
    assert read('[metrics.accuracy]\nmargin_points = 1\nharm = "lower"').rules[0].harm == "lower"


@pytest.mark.parametrize("workload", ["lm", "measure", "train", "routing", "diffusion"])
def test_names_of_metrics_are_known_for_every_workload(workload: str) -> None:
    assert "there is no metric 'x'" in refused('[metrics.x]\nmargin = 0.1\nharm = "lower"', workload).message


@pytest.mark.parametrize("metric", ["energy_per_query_j", "accuracy_per_joule", "energy_j"])
def test_intelligence_per_watt_may_gate_beside_accuracy_and_joules_in_either_form(metric: str) -> None:
    both = "[metrics.accuracy_per_watt]\nmargin = 0.1\n[metrics.accuracy]\nmargin_points = 1\n"
    assert len(read(f"{both}[metrics.{metric}]\nmargin = 0.1").rules) == 3


def test_watts_are_no_joules() -> None:
    both = "[metrics.accuracy_per_watt]\nmargin = 0.1\n[metrics.accuracy]\nmargin_points = 1\n"
    assert "never accuracy_per_watt alone" in refused(f"{both}[metrics.mean_power_w]\nmargin = 0.1").message


@pytest.mark.parametrize("name", EQUAL)
def test_whatever_may_be_said_to_be_the_same_is_taken(name: str) -> None:
    assert read(f'{GOOD}[validity]\nequal = ["{name}"]').equal == {name}


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in MUST])
def test_every_check_but_the_essential_ones_may_be_told_only(name: str) -> None:
    assert read(f'{GOOD}[validity]\nallow = ["{name}"]').allow == {name}


@pytest.mark.parametrize("name", MUST)
def test_the_essential_checks_may_not(name: str) -> None:
    assert f"allow: {name!r} is not known" in refused(f'{GOOD}[validity]\nallow = ["{name}"]').message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{GOOD}[validity]\nallow = [1]", "[validity] allow must be a list of names"),
        (f"{GOOD}[validity]\nequal = [true]", "[validity] equal must be a list of names"),
        (f"{GOOD}[validity]\nequals = []", "gate.toml: [validity]: 'equals' is not known"),
        (f"{GOOD}[gate]\nalfa = 0.1", "gate.toml: [gate]: 'alfa' is not known"),
        ("[metrics.energy_j]\nmargin = 0.1\ngate = false", "gate.toml: [metrics.energy_j]: 'gate' is not known"),
        ("gate = 1\n" + GOOD, "gate.toml: gate must be a table"),
        ("[metrics]\nenergy_j = 1", "gate.toml: [metrics.energy_j] must be a table"),
    ],
)
def test_a_refusal_says_where_it_stands(text: str, told: str) -> None:
    assert refused(text).message.startswith(told) or told in refused(text).message


def test_what_is_not_said_is_the_default() -> None:
    found = read(GOOD)
    assert (found.alpha, found.equal, found.allow) == (0.05, frozenset(), frozenset())
    assert [(rule.margin, rule.harm, rule.gates) for rule in found.rules] == [(0.03, "higher", True)]
    shown = read(f"{GOOD}[metrics.energy_j]\nmargin = 0.1\ngates = false")
    assert [rule.gates for rule in shown.rules] == [True, False]
