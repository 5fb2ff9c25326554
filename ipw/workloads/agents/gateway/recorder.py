"""Keeps every request that has ended: a line in the journal, with the moments at which its answer came."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ipw.clock import now_ns
from ipw.errors import OutageError
from ipw.secrets_out import BLOT, shown_url, without_secrets
from ipw.workloads.agents.asked import Asked, clean_name
from ipw.workloads.agents.conversations import chains
from ipw.workloads.agents.gateway.heads import ByName, Header, secrets_of, value_of
from ipw.workloads.agents.gateway.names import (
    TaskFile,
    named_by_words,
    session_of,
    task_in_header,
    trace_of,
)
from ipw.workloads.agents.gateway.watched import Watched
from ipw.workloads.agents.reading.sent import Sent
from ipw.workloads.base import ArrivalsBook, Counters, Progress

LEFT = "the client left before the answer was whole"


class Recorder:
    """Writes what was asked and answered."""

    def __init__(
        self,
        journal: Any,
        arrivals: ArrivalsBook,
        progress: Progress,
        task_file: TaskFile | None = None,
        by_words: Mapping[str, str] | None = None,
    ) -> None:
        self._journal, self._arrivals, self._progress = journal, arrivals, progress
        self._task_file, self._by_words = task_file, by_words or {}
        self.counters = Counters(total=0)
        self.lost: OutageError | None = None
        """Why nothing more can be written; requests are passed on all the same."""
        self._in_flight = 0
        self._asked_before: Counter[str] = Counter()

    def begin(self, watched: Watched, body: bytes, sent_ns: int) -> Watched:
        """Count a request that went out at `sent_ns`, and read what it says and whose it is."""
        self._in_flight += 1
        watched.in_flight = self._in_flight
        watched.reply.sent(sent_ns)
        watched.read(body)
        watched.task = task_in_header(watched.headers) or watched.named
        if watched.task is None and self._task_file is not None:
            watched.task = self._task_file.name()
        return watched

    def end(self, watched: Watched, failed: str | None = None) -> None:
        """Keep a request that has ended, or why it has `failed`."""
        self._in_flight -= 1
        reply = watched.ended(failed)
        answer = reply.answer(None)
        sent, stream = watched.sent_body, watched.stream
        if watched.task is None and self._by_words and sent.text:
            watched.task = named_by_words(sent.text, self._by_words)
        asked = Asked(
            start_ns=answer.start_ns, end_ns=answer.end_ns, ok=answer.status == "ok", messages=sent.messages,
            said=stream.message(), task=watched.task, trace=trace_of(watched.headers),
            session=session_of(watched.headers) or sent.session, client=watched.client,
            response_id=stream.response_id, previous_id=sent.previous_id, api=watched.api.name, model=sent.model,
            role=_role(watched.headers), tells=watched.api.tells, json=sent.json,
        )  # fmt: skip
        record = {"query_id": self._query_id(sent), "subject": None, **answer._asdict(), "answer": None}
        record["error"] = record["error"] and without_secrets(record["error"])
        record |= {"score": None, "parsed": None, "concurrency": watched.in_flight, "agent": asked.as_record()}
        if answer.timings is None:
            del record["timings"]
        self._write("query", record, reply.arrivals(), secrets_of(watched.raw, watched.target))
        self.counters.done += 1
        self.counters.tokens += answer.completion_tokens or 0
        self.counters.errors += answer.status != "ok"
        self._progress(self.counters)

    def _query_id(self, sent: Sent) -> str:
        """Name a request by what it asks, so that those of two runs that ask the same have the same name."""
        name = chains(sent.messages)[-1][:12] if sent.messages else "other"
        self._asked_before[name] += 1
        count = self._asked_before[name]
        return name if count == 1 else f"{name}-{count}"

    def passed(self, method: str, target: str, headers: Sequence[Header], start_ns: int) -> None:
        """Keep when a request was on its way that nothing else is known of."""
        name = f"{clean_name(method)} {shown_url(target.partition('?')[0])[:200]}"
        span = {"name": name, "phase": "passed", "start_ns": start_ns, "end_ns": now_ns(), "status": "ok"}
        self._write("span", span, b"", secrets_of(headers, target))

    def _write(self, kind: str, record: dict[str, Any], came: bytes, secrets: Sequence[str]) -> None:
        """Keep a record without the keys that came with its request, whatever an answer holds of them."""
        if self.lost is not None:
            return
        try:
            if came:
                record["arrivals"] = self._arrivals.append(came)
            fields = json.dumps(record, separators=(",", ":"))
            for secret in secrets:
                for form in {secret, json.dumps(secret)[1:-1]}:
                    fields = fields.replace(form, BLOT)
            self._journal.append_fields(kind, fields[1:-1])
        except OutageError as error:
            self.lost = error


def _role(headers: ByName) -> str | None:
    told = value_of(headers, b"x-ipw-role")
    return clean_name(told) if told else None
