"""How a server ended that was to answer: what is known of it, for the manifest and for people."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

from ipw.errors import IpwError


class Death(NamedTuple):
    """The end of a server while it was needed. What is not known is `None`."""

    what: str
    """Which server."""
    how: str
    """As far as is known, in a few words that go on from "it died: "."""
    exit_code: int | None = None
    signal: int | None = None
    said: str | None = None
    """The last lines of its log: untrusted, one printable line."""

    @property
    def told(self) -> str:
        """All of it in one line."""
        return f"{self.what} died: {self.how}" + (f": {self.said}" if self.said else "")


class ServerDiedError(IpwError):
    """What was to answer is no more: the run ends, and keeps what it has."""

    def __init__(self, death: Death, facts: dict[str, Any] | None = None) -> None:
        super().__init__(death.told)
        self.death = death
        self.facts = facts or {}


def death_of(what: str, code: int, said: str | None = None) -> Death:
    """Make it from a child's return code, which is negative for a signal."""
    if code >= 0:
        return Death(what, exit_text(code), exit_code=code, said=said)
    return Death(what, exit_text(code), signal=-code, said=said)


def exit_text(code: int) -> str:
    """Say how a child ended, by its return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
