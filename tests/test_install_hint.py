"""What is missing is installed by the command that the hint says, wherever this ipw came from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipw.errors import install_hint


@pytest.mark.parametrize(
    ("came_from", "command"),
    [
        ({"url": "file:///home/a%20b/ipw", "dir_info": {"editable": True}}, "pip install -e '/home/a b/ipw[math]'"),
        ({"url": "file:///home/me/ipw", "dir_info": {}}, "pip install 'ipw[math] @ file:///home/me/ipw'"),
        (
            {"url": "https://example.org/ipw.git", "vcs_info": {"vcs": "git"}},
            "pip install 'ipw[math] @ git+https://example.org/ipw.git'",
        ),
        (None, "pip install 'ipw[math]'"),
        ([], "pip install 'ipw[math]'"),
    ],
)
def test_the_hint_installs_from_where_ipw_came(came_from: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return None if came_from is None else json.dumps(came_from)

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert install_hint("math") == command
