"""A completion from its chunks: text, thinking, counts, the moment of every token, and whether it is an answer at all.

Servers differ (components of the field, as found): the first chunk may hold a role and no text; usage comes in a chunk
with or without choices, or in all; some end with `[DONE]`, some just end, some without a reason to finish; and what
fails after `200 OK` is told in the stream, in many forms.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ipw.workloads.lm.finish_reasons import explains, failure, read_reason
from ipw.workloads.lm.messages import read_message
from ipw.workloads.lm.server_words import complaint, error_message, plain_words, tells_error
from ipw.workloads.lm.sse import EventStream
from ipw.workloads.lm.token_counts import TokenCounts

LEAST_LOGPROB = -1e4
"""Lower ones are no probabilities: servers write -9999 and the like for a token that cannot be."""
FAILED_EVENT = re.compile("error|exception|fail", re.IGNORECASE)
BROKE_OFF, NO_COMPLETION = "the stream broke off", "the answer holds no completion"
RAW_DECODE = json.JSONDecoder().raw_decode


class CompletionStream(EventStream):
    """What one answer has said so far. `feed` it; the rest is attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.calls: set[int] = set()
        """Numbers of the calls of tools."""
        self.counts = TokenCounts()
        self.finish_reason: str | None = None
        self.error: str | None = None
        """What the server, or the form of its stream, says went wrong."""
        self.logprob_sum, self.logprob_tokens = 0.0, 0
        """Log-probabilities of tokens, added up, and of how many the server told."""
        self._stamps: list[int] = []
        self._framed = False
        self._unframed = 0
        self._whole = False
        """Whether a whole message came at once."""
        self._failed_finish: str | None = None
        self._complaint: str | None = None
        """What the server said that is no part of an answer; progress, or why there will be none."""
        self._text: str | None = None
        """What came that is no JSON."""
        self._unknown: str | None = None
        """What came that is JSON, and nothing that is known."""

    # --- what is known when all has come ----------------------------------------------------------------------------

    @property
    def stamps(self) -> list[int]:
        """When each chunk with text, thinking or a call came; of an answer that came at once there are none."""
        return self._stamps if self._framed or self._unframed > 1 else []

    @property
    def begun(self) -> bool:
        """Whether the server has said something of an answer, or against it; a role is nothing."""
        return bool(self._stamps) or self.error is not None

    @property
    def said(self) -> bool:
        """Whether there is text, thinking, a refusal or a call."""
        return bool(self.content or self.reasoning or self.calls)

    @property
    def told(self) -> str | None:
        """What the server says by itself that went wrong."""
        return self.error or self._failed_finish

    @property
    def explained(self) -> bool:
        """Whether the server has said that this is its end, or something else in place of an answer."""
        return bool(
            self.done
            or self._whole
            or self.finish_reason
            or self.told
            or self._complaint
            or self._text
            or self._unknown
        )

    def fault(self) -> str | None:
        """Say why this is no answer, or not yet; `None` if it is one.

        An answer has text, thinking, a refusal or a call, or a reason to finish that explains why not; and it has come
        to its end. `[DONE]` alone is none.
        """
        if self.told:
            return self.told
        unfinished = self.finish_reason is None
        if self._complaint and (unfinished or not self.said):
            return self._complaint
        whole = self.done or self._whole or not unfinished
        if whole and (self.said or (explains(self.finish_reason) and not self._text)):
            return None
        told = None if unfinished else f"its reason to finish is {self.finish_reason!r}"
        return ": ".join(filter(None, (BROKE_OFF if self.said else NO_COMPLETION, told or self._text or self._unknown)))

    # --- what the stream gives --------------------------------------------------------------------------------------

    def data(self, payload: bytes, t_ns: int) -> bool:
        """Take the data of an event: a chunk, or `[DONE]`."""
        if self.done or not payload:
            return True
        if payload == b"[DONE]":
            self.done = True
            return True
        try:
            chunk = _decoded(payload)
            if chunk.__class__ is not dict:
                return False
            self._framed = True
            self.take(chunk, t_ns)
        except (ValueError, RecursionError):
            return False
        return True

    def named(self, name: str, payload: bytes, t_ns: int) -> None:
        """Take an event with a name, or with data that stand in several lines, or are no chunk."""
        if FAILED_EVENT.search(name):
            self._fail(plain_words(payload.decode(errors="replace")) or self._unknown or f"an event {name!r} came")
        elif not self.data(payload, t_ns):
            for line in payload.split(b"\n"):
                framed_twice = line.removeprefix(b"data:").strip()  # as happens between a server and its library
                if not self.data(framed_twice, t_ns) and self.finish_reason is None:
                    words = plain_words(line.decode(errors="replace"))
                    self._fail(f"a chunk of the stream is no JSON object: {words}")

    def error_field(self, payload: bytes) -> None:
        """Take llama.cpp's way, of old, to tell an error."""
        self._fail(plain_words(payload.decode(errors="replace")) or "an error without a word came")

    def unframed(self, line: bytes, t_ns: int) -> bool:
        """Take a line of JSON that comes without framing: one of many, or all that there is."""
        framed = self._framed
        taken = self.data(line, t_ns)
        self._framed = framed
        self._unframed += taken
        return taken

    def document(self, body: bytes, t_ns: int) -> None:
        """Take a JSON document of many lines, or whatever else is there in place of an answer or beside one."""
        text = body.decode(errors="replace")
        chunks = _objects(text)
        if not chunks:
            self._text = plain_words(text)
            chunks = [found for line in text.split("\n") for found in _objects(line) if tells_error(found)]
        elif self.done:
            chunks = [found for found in chunks if tells_error(found)]
        try:
            for chunk in chunks:
                self.take(chunk, t_ns)
        except RecursionError:
            self._fail("the answer is nested too deeply")

    def take(self, chunk: dict[str, Any], t_ns: int) -> None:
        """Take one decoded chunk, or the whole object of an answer that was not streamed."""
        choices = chunk.get("choices")
        if choices.__class__ is list and choices:
            for choice in choices:
                if choice.__class__ is dict:
                    self._choice(choice, t_ns)
            if "error" in chunk and tells_error(chunk):
                self._fail(error_message(chunk))
        elif tells_error(chunk):
            self._fail(error_message(chunk))
        elif not (chunk.get("usage") or chunk.get("timings")):
            self._complaint = self._complaint or complaint(chunk)
            self._unknown = self._unknown or self._complaint or error_message(chunk)
        if "usage" in chunk or "timings" in chunk:
            self.counts.take(chunk.get("usage"), chunk.get("timings"))

    def _choice(self, choice: dict[str, Any], t_ns: int) -> None:
        if told := choice.get("finish_reason"):
            self.finish_reason = read_reason(told) or self.finish_reason
            self._failed_finish = self._failed_finish or failure(told)
        if told := choice.get("logprobs"):
            self._logprobs(told)
        if told := choice.get("error"):
            self._fail(error_message(told))
        delta = choice.get("delta")
        if delta.__class__ is not dict or not delta:
            self._other(choice, t_ns)
            return
        content = delta.get("content")
        if content.__class__ is str and len(delta) == 1:  # what runs for nearly every token
            if content:
                self.content.append(content)
                self._stamps.append(t_ns)
        elif self._message(delta):
            self._stamps.append(t_ns)

    def _other(self, choice: dict[str, Any], t_ns: int) -> None:
        """Take a choice of a whole answer, or of a plain completion."""
        message, text = choice.get("message"), choice.get("text")
        if isinstance(message, dict):
            if not self.said:  # some repeat at the end what they streamed
                self._whole = self._message(message)
        elif text and self._message({"content": text}):
            self._stamps.append(t_ns)

    def _message(self, message: dict[str, Any]) -> bool:
        return read_message(message, self.content, self.reasoning, self.calls)

    def _logprobs(self, told: Any) -> None:
        """Take those of a chat completion, or of a plain one."""
        if not isinstance(told, dict):
            return
        each, tokens = told.get("token_logprobs"), told.get("content")
        if isinstance(tokens, list):
            each = [token.get("logprob") for token in tokens if isinstance(token, dict)]
        for logprob in each if isinstance(each, list) else ():
            if isinstance(logprob, float | int) and LEAST_LOGPROB <= logprob <= 0:
                self.logprob_sum += logprob
                self.logprob_tokens += 1

    def _fail(self, message: str) -> None:
        if self.error is None:
            self.error = message


def _decoded(payload: bytes) -> Any:
    """What `json.loads` gives, without its looks around for white space and byte orders: this runs for every token."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:  # a stray byte is replaced, as the standard has it
        text = payload.decode(errors="replace")
    value, end = RAW_DECODE(text)
    if end != len(text):
        raise ValueError(text)
    return value


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that a document is, or is a list of."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]
