"""An agent in a study or a gate: whose the server is that it asks."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.variables import OPENAI_URL
from ipw.workloads.agents.loop.measure import stays_up
from ipw.workloads.base import NOBODY


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        ({}, True),
        ({"model": "dense"}, True),
        ({"serve": "server --port {port}", "model": "m"}, True),
        ({"base_url": "http://127.0.0.1:9", "serve": "server"}, True),
        ({"base_url": "http://127.0.0.1:9"}, False),
        ({"base_url": "http://127.0.0.1:9", "model": "x.gguf"}, False),
    ],
)
def test_a_server_that_ipw_starts_is_another_start_and_is_begun_with_each_measurement(
    options: dict[str, Any], *, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(OPENAI_URL, raising=False)
    with stays_up(options, audience=NOBODY) as up:  # nothing is started yet: the address answers nobody
        assert up.ours is ours
    monkeypatch.setenv(OPENAI_URL, "http://127.0.0.1:9")
    with stays_up({}, audience=NOBODY) as up:
        assert not up.ours
