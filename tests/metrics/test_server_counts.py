"""A server's own counts are held against the run's, and what differs is told."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.energy.steps.by_work import RULE
from ipw.metrics.validity.server_counts import server_counts_checks

COUNTED = {
    "requests": 100, "uncounted": 0, "prompt_tokens": 50_000, "computed_prompt_tokens": 40_000, "cached_tokens": 10_000,
    "generated_tokens": 5_000,
}  # fmt: skip


def details(told: dict[str, float], counted: dict[str, float] | None = None, **more: Any) -> dict[str, str | None]:
    """What each of the two checks has to say, `None` where nothing."""
    part = {"engine": "vllm", "told": told, "counted": COUNTED | (counted or {})} | more
    manifest = {"server_counts": [part], "workload": {"parameters": {"max_tokens": 128}},
                "attribution": {"rule": RULE, "engine": {"kind": "steps", "steps": 1000}}}  # fmt: skip
    return {c["check"]: None if c["ok"] else c["detail"] for c in server_counts_checks(manifest)}


@pytest.mark.parametrize(
    ("told", "counted", "others", "differ"),
    [
        ({"prompt_tokens": 50_000, "generated_tokens": 5_000}, {}, None, None),
        ({"prompt_tokens": 50_100, "generated_tokens": 5_050}, {}, None, None),
        ({"generated_tokens": 7_000}, {}, "counts 7,000 generated tokens, and 5,000 were asked for here", None),
        ({"prompt_tokens": 60_000}, {}, "counts 60,000 prompt tokens, and 50,000", None),
        ({"computed_prompt_tokens": 40_000}, {}, None, None),
        ({"computed_prompt_tokens": 50_000}, {}, "50,000 computed prompt tokens, and 40,000", None),
        ({"generated_tokens": 4_000}, {}, None, "4,000 generated tokens, and 5,000 were counted here"),
        ({"generated_tokens": 5_300}, {"uncounted": 3}, None, None),
        ({"generated_tokens": 6_000}, {"uncounted": 3}, "counts 6,000 generated tokens", None),
        ({"prompt_tokens": 60_000}, {"uncounted": 3}, None, None),
        ({"generated_tokens": -5_000}, {}, None, "its counters began anew during the run"),
        ({"steps": 1_020}, {}, None, None),
        ({"steps": 1_200}, {}, None, "1,200 steps, and 1,000 were seen"),
    ],
)
def test_more_than_was_asked_for_is_others_and_less_is_a_contradiction(
    told: dict[str, float], counted: dict[str, float], others: str | None, differ: str | None
) -> None:
    found = details(told, counted)
    for name, wanted in (("other requests", others), ("server counts", differ)):
        assert (found[name] is None) == (wanted is None)
        assert wanted is None or wanted in (found[name] or "")


def test_requests_that_ran_before_are_others() -> None:
    assert "2 requests of others ran when the run began" in (details({}, running_before=2.0)["other requests"] or "")


def test_a_server_that_told_nothing_has_no_check() -> None:
    assert list(server_counts_checks({})) == []
    assert list(server_counts_checks({"server_counts": []})) == []
