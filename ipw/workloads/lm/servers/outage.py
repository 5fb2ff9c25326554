"""How a server was lost that was to answer: what is known of it, for the manifest and for people."""

from __future__ import annotations

import signal
from typing import Literal, NamedTuple

Kind = Literal["died", "unreachable", "failing", "silent", "busy"]


class Outage(NamedTuple):
    """The loss of a server while it was needed. What is not known is `None`."""

    kind: Kind
    what: str
    """Which server."""
    how: str
    """In a few words that go on from its name."""
    exit_code: int | None = None
    signal: int | None = None
    said: str | None = None
    """The last lines of its log: untrusted, one printable line."""

    @property
    def told(self) -> str:
        """All of it in one line."""
        return f"{self.what} {self.how}" + (f": {self.said}" if self.said else "")


def death_of(what: str, code: int, said: str | None = None) -> Outage:
    """Make it from a child's return code, which is negative for a signal."""
    how = f"died: {exit_text(code)}"
    return Outage(
        "died", what, how, exit_code=code if code >= 0 else None, signal=-code if code < 0 else None, said=said
    )


def exit_text(code: int) -> str:
    """Say how a child ended, by its return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
