"""What is known of one request of an agent: by whom, after what, and what was said. It is kept without any text.

Digests stand for texts, so that a journal does not hold the history of a conversation once more with every turn, and so
that what a program sends is in no file. `as_record` is what the journal keeps under `agent`; `from_record` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ipw.shapes import misfit

ASSISTANT, TOOL = "assistant", "tool"
NAME = 200
"""Characters of a name that are kept."""
UNNAMED = "unnamed"
"""Of a model that nobody named, in the manifest."""
SYSTEM = frozenset({"system", "developer"})
"""Roles of messages that say what the model is to be. Some programs put the time of day there: they may change."""


class Call(NamedTuple):
    """A call of a tool that an answer asks for."""

    id: str
    """As the server gave it; empty where it gave none."""
    name: str
    given: str
    """Digest of the arguments."""


class Message(NamedTuple):
    """One message of a conversation."""

    role: str
    digest: str
    """Of all that it says: equal messages have equal digests."""
    head: str = ""
    """Digest of how its text begins, since programs cut and complete what a model wrote."""
    calls: tuple[Call, ...] = ()
    answers: tuple[str, ...] = ()
    """Ids of the calls whose results it brings, or that its text names."""
    failed: tuple[str, ...] = ()
    """Of these, those whose result says that the tool failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: when it was on its way, and what tells where it belongs. What is not known is `None`."""

    start_ns: int
    end_ns: int
    ok: bool = True
    """Whether it was answered."""
    messages: tuple[Message, ...] = ()
    """What was sent. Without any, messages cannot tell whether it continues another."""
    said: Message | None = None
    """What came back."""
    task: str | None = None
    """The name that was given."""
    trace: str | None = None
    """Digest of the trace that it is part of (W3C Trace Context)."""
    session: str | None = None
    """Digest of what a header says that it is part of."""
    client: int | None = None
    """Number of the connection over which it came."""
    response_id: str | None = None
    previous_id: str | None = None
    """The `response_id` of the answer that it continues."""
    api: str = "chat"
    model: str | None = None
    role: str | None = None
    """Which of several agents asks, where the program says so."""
    tells: bool = True
    """Whether it asks for an answer in words; an embedding does not."""
    json: bool = False
    """Whether it asks for an answer that is a JSON document."""

    def as_record(self) -> dict[str, Any]:
        """Make the entry `agent` of a line of the journal; the moments and the status stand beside it."""
        texts = {name: getattr(self, name) for name in TEXTS if getattr(self, name) is not None}
        found: dict[str, Any] = {**texts, "tells": self.tells, "messages": [_listed(m) for m in self.messages]}
        if self.said is not None:
            found["said"] = _listed(self.said)
        found |= {"json": True} if self.json else {}
        return found if self.client is None else found | {"client": self.client}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read a line of the journal; what its entry `agent` holds that cannot be is not known."""
        told = record.get("agent")
        known: dict[str, Any] = dict(told) if isinstance(told, dict) and misfit(told, SHAPE) is None else {}
        moments = {"start_ns": record["start_ns"], "end_ns": record["end_ns"], "ok": record.get("status") == "ok"}
        messages = tuple(_message(m) for m in known.pop("messages", ()) if len(m) == len(Message._fields))
        said = known.pop("said", None)
        return cls(
            **moments,
            messages=messages,
            said=_message(said) if said and len(said) == len(Message._fields) else None,
            **{name: value for name, value in known.items() if name in KNOWN},
        )


TEXTS = ("task", "trace", "session", "response_id", "previous_id", "api", "model", "role")
KNOWN = {*TEXTS, "client", "tells", "json"}
SHAPE = {
    **{f"{name}?": str for name in TEXTS}, "api": str, "client?": int, "tells": bool, "json?": bool,
    "messages": [[object]], "said?": [object],
}  # fmt: skip


def clean_name(value: object) -> str | None:
    """Make a name that anybody gave one printable line of bounded length; `None` where nothing is left of it."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return None
    return "".join(c if c.isprintable() else " " for c in str(value)[:NAME]).strip() or None


def _listed(message: Message) -> list[Any]:
    return [list(map(list, part)) if name == "calls" else list(part) if isinstance(part, tuple) else part
            for name, part in zip(Message._fields, message, strict=True)]  # fmt: skip


def _message(listed: list[Any]) -> Message:
    role, digest, head, calls, answers, failed = listed
    return Message(
        str(role),
        str(digest),
        str(head),
        tuple(Call(*map(str, call)) for call in _list(calls) if isinstance(call, list) and len(call) == 3),
        tuple(map(str, _list(answers))),
        tuple(map(str, _list(failed))),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
