"""Blocks whose joules are estimated."""

from __future__ import annotations

import time
from pathlib import Path

from doubles.patience import undisturbed

import ipw


def test_a_block_of_an_estimate_is_no_better_known_than_the_estimate(tmp_path: Path) -> None:
    def known() -> None:
        with ipw.measure("work", sensors="estimate", out=tmp_path) as block:
            time.sleep(0.6)
        value, low, high, *_ = block.energy
        assert value is not None
        assert low is not None
        assert high is not None
        assert low <= 0.5 * value
        assert high >= 1.5 * value

    undisturbed(known)
