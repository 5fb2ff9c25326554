"""One request on its way, as the recorder sees it: what it asks, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence

from ipw.foreign_json import parsed
from ipw.workloads.agents.gateway.codings import Coding, coding_of, undone
from ipw.workloads.agents.gateway.heads import ByName, Header, value_of
from ipw.workloads.agents.reading.apis import Api
from ipw.workloads.agents.reading.sent import Sent, asks_for_json
from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.reply import Reply

AT_ONCE, LONG = 32, 4096
"""So many blocks of an answer are read at once, or fewer where one has so many bytes.

One by one they cost twice the time: between two of them the processor has forgotten how it is done.
"""


class Watched:
    """One request, from its head until its answer has ended."""

    def __init__(
        self, api: Api, target: str, raw: Sequence[Header], headers: ByName, named: str | None, client: int | None
    ) -> None:
        self.api, self.target, self.raw, self.headers, self.client = api, target, raw, headers, client
        self.named = named
        """What its URL says of its task."""
        self.task: str | None = None
        self.sent_body = Sent()
        self.in_flight = 1
        self.stream = api.said()
        self.reply = Reply(self.stream)
        self._coding: Coding | None = None
        self._came: list[tuple[bytes, int]] = []
        """Blocks of the answer that are not read yet, each with its moment."""

    def read(self, body: bytes) -> None:
        """Read what the request sends; a body that is no JSON object says nothing."""
        try:
            found = parsed(undone(body, value_of(self.headers, b"content-encoding")))
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            self.sent_body = self.api.sent(found)._replace(json=asks_for_json(found))

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the answer."""
        self.reply.head(status, headers)
        self._coding = coding_of(headers)

    def block(self, data: bytes, t_ns: int) -> None:
        """Take bytes of the answer, which may be compressed."""
        self._came.append((data, t_ns))
        if len(self._came) >= AT_ONCE or len(data) >= LONG:
            self._read_answer()

    def ended(self, failed: str | None) -> Reply:
        """Give the answer when no more comes of it, or why it has `failed`."""
        self._read_answer()
        self.reply.close()
        if failed:
            self.reply.fail("error", failed, "transport")
        return self.reply

    def _read_answer(self) -> None:
        came, self._came = self._came, []
        for data, t_ns in came:
            plain = self._undone(data)
            if plain:
                self.reply.block(plain, t_ns)

    def _undone(self, data: bytes) -> bytes:
        coding = self._coding
        if coding is None:
            return data
        try:
            data = coding.feed(data)
        except HttpError as error:
            self.reply.fail("error", str(error))
            return b""
        if coding.plain:
            self._coding = None
        return data
