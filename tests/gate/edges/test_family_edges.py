"""Families of verdicts: adjusted p values by hand, what one level of alpha each look spends, and who decides."""

from __future__ import annotations

import pytest

from ipw.gate.family import STAGE_SHARES, benjamini_hochberg, decide, holm, stage_alpha
from ipw.gate.verdict import Answer, Verdict, further_pairs
from ipw.metrics.distributions import t_quantile


def verdict(answer: Answer, p: float, *, n: int = 10, df: int | None = 9) -> Verdict:
    return Verdict(answer, 0.1, 0.05, 0.15, None, None, p, 1 - p, n, df)


def test_the_first_look_may_spend_a_fifth_of_alpha_and_the_second_the_rest() -> None:
    assert STAGE_SHARES == (0.2, 0.8)
    assert [stage_alpha(0.05, stage) for stage in (0, 1)] == pytest.approx([0.01, 0.04])


def test_holm_multiplies_the_least_by_all_the_next_by_one_less_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.5, 0.011]) == pytest.approx([0.08, 0.04, 0.5, 0.04])
    assert holm([0.4, 0.9, 0.8]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


def test_benjamini_and_hochberg_divide_by_the_rank_and_never_exceed_the_next() -> None:
    assert benjamini_hochberg([0.04, 0.01, 0.5, 0.011]) == pytest.approx([0.04 * 4 / 3, 0.022, 0.5, 0.022])
    assert benjamini_hochberg([0.9, 1.0]) == [1.0, 1.0]
    assert benjamini_hochberg([]) == []


def test_an_adjusted_p_of_alpha_itself_is_no_regression() -> None:
    assert decide({"a": verdict("regressed", 0.025), "b": verdict("ok", 0.9)}, gating={"a", "b"}).verdict == (
        "inconclusive"
    )
    assert decide({"a": verdict("regressed", 0.0249), "b": verdict("ok", 0.9)}, gating={"a", "b"}).verdict == (
        "regressed"
    )


def test_what_is_shown_is_held_to_those_that_are_shown_and_what_gates_to_those_that_gate() -> None:
    verdicts = {
        "gate": verdict("regressed", 0.04),
        "one": verdict("regressed", 0.03),
        "two": verdict("regressed", 0.04),
        "three": verdict("ok", 0.9),
    }
    found = decide(verdicts, gating=["gate"])
    assert dict(found.adjusted) == pytest.approx({"gate": 0.04, "one": 0.06, "two": 0.06, "three": 0.9})
    assert (found.verdict, found.family) == ("regressed", 1)
    assert found.undecided == ["one", "two"]
    assert "one of 3" in str(found.verdicts["one"].reason)


def test_a_regression_that_does_not_hold_says_its_own_p_and_how_many_pairs_the_family_takes() -> None:
    close, other = verdict("regressed", 0.03), verdict("ok", 0.9)
    found = decide({"it": close, "other": other}, gating={"it", "other"}).verdicts["it"]
    assert found.reason == "worse by itself (p = 0.03), which is not enough as one of 2"
    assert found.pairs_needed == further_pairs(t_quantile(0.03, 9), t_quantile(0.025, 9), 10)
    assert (found.estimate, found.low, found.p_regressed, found.n) == (0.1, 0.05, 0.03, 10)
    items = decide({"it": verdict("regressed", 0.03, n=500, df=None), "other": other}, gating={"it", "other"})
    # without degrees of freedom the normal counts: 1.8808 is needed to be 1.9600
    assert items.verdicts["it"].pairs_needed == further_pairs(1.880794, 1.959964, 500) == 43


def test_of_two_looks_only_what_was_open_is_judged_anew() -> None:
    first = decide({"a": verdict("ok", 0.9), "b": verdict("inconclusive", 0.2)}, gating={"a", "b"})
    later = decide(
        {"a": verdict("regressed", 0.001), "b": verdict("regressed", 0.001), "c": verdict("ok", 0.9)},
        gating={"a", "b", "c"},
        before=first,
    )
    assert {key: each.verdict for key, each in later.verdicts.items()} == {"a": "ok", "b": "regressed", "c": "ok"}
    assert later.family == 3
