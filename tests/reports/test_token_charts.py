"""Lines through queries against their tokens, and the split between prefill and decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run

from ipw.reports.page.page import write_page
from ipw.reports.plots.tokens import fit


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(3, 50))
def test_points_on_a_line_give_the_line_with_no_doubt(base: float, slope: float, n: int) -> None:
    tokens = np.arange(n, dtype=np.float64)
    line = fit(tokens, base + slope * tokens)
    assert line is not None
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.base == pytest.approx(base, abs=1e-6)
    assert line.half_width < 1e-6


def test_the_interval_of_the_slope_holds_it_in_95_of_100_cases_also_where_errors_grow() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(2000):
        tokens = rng.uniform(1, 100, 80)
        line = fit(tokens, 5 + 2 * tokens + rng.normal(0, 0.1 * tokens))
        assert line is not None
        held += abs(line.slope - 2) <= line.half_width
    assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize("tokens", [[], [1.0, 2.0], [3.0, 3.0, 3.0]])
def test_no_line_through_too_few_points_or_one_length(tokens: list[float]) -> None:
    assert fit(np.array(tokens), np.array(tokens)) is None


def test_the_page_says_what_a_token_takes_and_splits_prefill_from_decode(tmp_path: Path) -> None:
    n = 30
    run = make_run(tmp_path, scores=(1.0,) * n, latency_s=[0.1 * (i % 5 + 1) for i in range(n)],
                   columns={"completion_tokens": [i % 5 + 1 for i in range(n)]})  # fmt: skip
    write_page([run], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "2.00 ±" in page  # 20 W for 0.1 s a token
    assert "J a token" in page
    assert "prefill 1.2 J, decode 4.8 J" in page
