"""Many verdicts at once, and two looks: no more false alarms than one verdict's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports.sessions import START_SD, most_by_chance, sessions

from ipw.gate.family import benjamini_hochberg, decide, holm, stage_alpha
from ipw.gate.verdict import Verdict, judge

UNHURRIED = settings(max_examples=60, deadline=None)
P = st.lists(st.floats(0, 1), min_size=1, max_size=12)
START = [0, 0, 0, 1, 1, 1, 2, 2, 2]


def verdict_at(shift: float, noise: float = 0.004, alpha: float = 0.05) -> Verdict:
    return judge(shift + noise * np.sin(np.arange(9)), START, margin=0.02, alpha=alpha)


def test_holm_and_benjamini_hochberg_on_known_numbers() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


@UNHURRIED
@given(P)
def test_adjusted_p_values_never_fall_below_their_own_and_keep_the_order(p: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p)
        assert all(own - 1e-12 <= new <= 1 for own, new in zip(p, adjusted, strict=True))
        order = sorted(range(len(p)), key=p.__getitem__)
        assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))
    assert all(bh <= h for bh, h in zip(benjamini_hochberg(p), holm(p), strict=True))


def test_one_regression_fails_the_gate_and_one_doubt_withholds_it() -> None:
    ok, bad, unsure = verdict_at(0.0), verdict_at(0.08), verdict_at(0.015)
    assert [v.verdict for v in (ok, bad, unsure)] == ["ok", "regressed", "inconclusive"]
    assert decide({"a": ok}, gating={"a"}).verdict == "ok"
    assert decide({"a": ok, "b": unsure}, gating={"a", "b"}).verdict == "inconclusive"
    assert decide({"a": ok, "b": unsure, "c": bad}, gating={"a", "b", "c"}).verdict == "regressed"


def test_what_is_only_shown_never_fails_the_gate() -> None:
    found = decide({"a": verdict_at(0.0), "b": verdict_at(0.08)}, gating={"a"})
    assert found.verdict == "ok"
    assert found.verdicts["b"].verdict == "regressed"
    assert found.family == 1


def test_a_regression_that_holds_alone_may_not_hold_among_many_and_says_so() -> None:
    close = next(v for shift in np.arange(0.02, 0.06, 0.0005) if (v := verdict_at(float(shift))).verdict == "regressed")
    many = {"it": close} | {str(i): verdict_at(0.0) for i in range(14)}
    found = decide(many, gating=set(many))
    assert found.verdict == "inconclusive"
    assert "one of 15" in str(found.verdicts["it"].reason)
    assert (found.verdicts["it"].pairs_needed or 0) > 0
    assert decide({"it": close}, gating={"it"}).verdict == "regressed"


def test_the_second_look_keeps_what_the_first_decided() -> None:
    first = decide({"a": verdict_at(0.08), "b": verdict_at(0.015)}, gating={"a", "b"}, alpha=0.01)
    assert first.undecided == ["b"]
    second = decide({"a": verdict_at(0.0), "b": verdict_at(0.0)}, gating={"a", "b"}, alpha=0.04, before=first)
    assert second.verdicts["a"].verdict == "regressed"
    assert second.verdicts["b"].verdict == "ok"
    assert second.verdict == "regressed"


def test_two_looks_spend_alpha_once() -> None:
    assert stage_alpha(0.05, 0) + stage_alpha(0.05, 1) == pytest.approx(0.05)


def test_two_looks_at_the_margin_call_a_regression_no_oftener_than_alpha() -> None:
    count = 800
    ratios, start = sessions(4, count, effect=0.02, starts=6, pairs=20)
    called = 0
    for each in ratios:
        early = start < 3
        first, second = (stage_alpha(0.05, stage) for stage in (0, 1))
        look = judge(each[early], start[early], margin=0.02, start_sd=START_SD, alpha=first)
        before = decide({"x": look}, gating={"x"}, alpha=first)
        last = judge(each, start, margin=0.02, start_sd=START_SD, alpha=second)
        called += decide({"x": last}, gating={"x"}, alpha=second, before=before).verdict == "regressed"
    assert called / count <= most_by_chance(0.05, count)
