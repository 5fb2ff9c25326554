"""A completion from its chunks: text, thinking, counts, the moment of every token, and whether it is an answer at all.

Servers differ (components of the field, as found): the first chunk may hold a role and no text; usage comes in a chunk
with or without choices, or in all; some end with `[DONE]`, some just end, some without a reason to finish; and what
fails after `200 OK` is told in the stream, in many forms.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ipw.workloads.lm.http.alike import RAW_DECODE, Alike
from ipw.workloads.lm.http.failure import Failure, told_failure
from ipw.workloads.lm.http.finish_reasons import explains, failure, read_reason
from ipw.workloads.lm.http.messages import ToolCall, read_message
from ipw.workloads.lm.http.server_words import (
    complaint,
    error_message,
    plain_words,
    status_told,
    tells_error,
    whole_text,
)
from ipw.workloads.lm.http.sse import EventStream
from ipw.workloads.lm.http.token_counts import TokenCounts

LEAST_LOGPROB = -1e4
"""Lower ones are no probabilities: servers write -9999 and the like for a token that cannot be."""
FAILED_EVENT = re.compile("error|exception|fail", re.IGNORECASE)
LAST_EVENT = re.compile(r"(.*[._-])?(done|end|completed?|finish(ed)?|stop)", re.IGNORECASE)
NO_CHUNKS = (b"null", b'""')
"""JSON that some send between the chunks, which says nothing."""
SEVERAL = "the server gives several answers, though one was asked for"
BROKE_OFF, NO_COMPLETION = "the stream broke off", "the answer holds no completion"


class CompletionStream(EventStream):
    """What one answer has said so far. `feed` it; the rest is attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.calls: dict[int, ToolCall] = {}
        """The calls of tools, by number."""
        self.counts = TokenCounts()
        self.finish_reason: str | None = None
        self.error: str | None = None
        """What the server, or the form of its stream, says went wrong."""
        self.failure: Failure = "answer"
        """What that is a failure of."""
        self.logprob_sum, self.logprob_tokens = 0.0, 0
        """Log-probabilities of tokens, added up, and of how many the server told."""
        self._stamps: list[int] = []
        self._by_usage: dict[int, int] = {}
        self._by_logprobs: dict[int, int] = {}
        """Tokens that the server told with a chunk, by the chunk's number."""
        self._told_so_far = 0
        # What takes chunks in a way of its own gets each as a whole.
        self._alike = Alike() if type(self).take is CompletionStream.take else None
        self._framed = False
        self._unframed = 0
        self._ended = False
        """Whether an event said that it is the last."""
        self._messages_ns: list[int] = []
        """When messages came that say something, in place of pieces of one."""
        self._index: Any = None
        self._turned_at = 0
        """Of the choice whose pieces come: its number, and how many chunks had come before."""
        self._finished: Any = None
        """The number of the choice that has come to its end."""
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
    def tokens(self) -> list[int] | None:
        """How many tokens each chunk of `stamps` has; `None` where the server did not tell it with each."""
        numbers = range(len(self.stamps))
        for told in (self._by_usage, self._by_logprobs):
            if numbers and len(told) >= len(numbers) and all(number in told for number in numbers):
                return [told[number] for number in numbers]
        return None

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
            or self._ended
            or self._messages_ns
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
        at_once = len(self._messages_ns) == 1 and not self._framed and self._unframed < 2
        whole = self.done or self._ended or at_once or not unfinished
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
        words = payload.decode(errors="replace")  # a stray byte is replaced, as the standard has it
        alike, stamps = self._alike, self._stamps
        if alike is not None and (text := alike.text(words)):
            self._framed = True
            (self.reasoning if alike.thinks else self.content).append(text)
            stamps.append(t_ns)
            return True
        chunks = len(stamps)
        try:
            chunk = _decoded(words)
            if chunk.__class__ is not dict:
                return False
            self._framed = True
            self.take(chunk, t_ns)
        except (ValueError, RecursionError):
            return False
        if alike is not None and len(stamps) > chunks:
            alike.learn(words, chunk)
        return True

    def named(self, name: str, payload: bytes, t_ns: int) -> None:
        """Take an event with a name, or with data that stand in several lines, or are no chunk."""
        if FAILED_EVENT.search(name):
            self._fail(plain_words(payload.decode(errors="replace")) or self._unknown or f"an event {name!r} came")
        elif not self.data(payload, t_ns):
            for line in payload.split(b"\n"):
                self._odd(line.removeprefix(b"data:").strip(), t_ns)  # framed twice, between a server and its library
        self._ended = self._ended or LAST_EVENT.fullmatch(name) is not None

    def _odd(self, payload: bytes, t_ns: int) -> None:
        """Take data that are no chunk, or one that was framed twice."""
        words = payload.decode(errors="replace")
        if self.data(payload, t_ns):
            return
        if words.strip(' "').upper() == "[DONE]":
            self.done = True
        elif payload in NO_CHUNKS:
            self._unknown = self._unknown or words
        elif self.finish_reason is None:
            self._fail(f"a chunk of the stream is not a JSON object: {plain_words(words)}")

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
            says = False
            for choice in choices:
                if choice.__class__ is dict and self._choice(choice, t_ns):
                    says = True
            if ("error" in chunk or not says) and tells_error(chunk):
                self._told(chunk)
        elif tells_error(chunk):
            self._told(chunk)
        else:
            self._complaint = self._complaint or complaint(chunk)
            if not (chunk.get("usage") or chunk.get("timings")):
                self._unknown = self._unknown or self._complaint or error_message(chunk)
        if "usage" in chunk or "timings" in chunk:
            self.counts.take(chunk.get("usage"), chunk.get("timings"))
            if chunk.get("usage") and self.counts.completion is not None and self._stamps:
                self._share(self.counts.completion)

    def _choice(self, choice: dict[str, Any], t_ns: int) -> bool:
        """Take a choice; whether it says something more of an answer."""
        if told := choice.get("finish_reason"):
            self._finish(told, choice)
        if told := choice.get("logprobs"):
            self._logprobs(told)
        if "error" in choice and tells_error(choice):
            self._told(choice)
        delta = choice.get("delta")
        if delta.__class__ is not dict or not delta:
            return self._other(choice, t_ns)
        if choice.get("index") != self._index:
            self._turn(choice.get("index"), says=bool(delta.get("content")))
        content = delta.get("content")
        if content.__class__ is str and len(delta) == 1:  # what most pieces are
            if not content:
                return False
            self.content.append(content)
        elif not self._message(delta, self.content, self.reasoning):
            return False
        self._stamps.append(t_ns)
        return True

    def _share(self, told: int) -> None:
        """Give the chunk that came last the tokens that are told now and were not before."""
        number = len(self._stamps) - 1
        self._by_usage[number] = self._by_usage.get(number, 0) + told - self._told_so_far
        self._told_so_far = told

    def _finish(self, told: Any, choice: dict[str, Any]) -> None:
        """Take why a choice ended, and what comes with it."""
        reason, index = read_reason(told), choice.get("index")
        both = isinstance(index, int) and isinstance(self._finished, int)
        if both and reason and self.finish_reason and index != self._finished and "message" not in choice:
            self._fail(SEVERAL)
        self.finish_reason, self._finished = reason or self.finish_reason, index
        if not self.told and (words := failure(told)):
            self._failed_finish, self.failure = words, told_failure(status_told(told), f"{reason} {words}")
        if "usage" in choice:  # Moonshot's place for it
            self.counts.take(choice["usage"], None)

    def _turn(self, index: Any, *, says: bool) -> None:
        """Take a piece of a choice with another number than the one before; TGI numbers tokens, not answers."""
        known = isinstance(index, int) and isinstance(self._index, int)
        if known and says and (index < self._index or len(self._stamps) > self._turned_at + 1):
            self._fail(SEVERAL)
        self._index, self._turned_at = index, len(self._stamps)

    def _other(self, choice: dict[str, Any], t_ns: int) -> bool:
        """Take a choice of a whole answer, or of a plain completion; whether it says something more."""
        message, text = choice.get("message"), choice.get("text")
        if not isinstance(message, dict):
            said = bool(text) and self._message({"content": text}, self.content, self.reasoning)
            self._stamps.extend([t_ns] if said else [])
            return said
        if not self._messages_ns and self.said:
            return False  # some repeat at the end what they streamed
        if self._messages_ns and choice.get("index") != self._index:
            return False
        self._index = choice.get("index")
        return self._whole_message(message, t_ns)

    def _whole_message(self, message: dict[str, Any], t_ns: int) -> bool:
        """Take a message: all of the answer, or what some stream in place of pieces: the next words, or all so far."""
        content: list[str] = []
        reasoning: list[str] = []
        before, self.calls = self.calls, {}  # what comes is whole, and no more pieces of what came
        says = self._message(message, content, reasoning)
        self.calls = before | self.calls
        if not says:
            return False
        for mine, new in ((self.content, content), (self.reasoning, reasoning)):
            goes_on = not "".join(new).startswith("".join(mine))
            mine[:] = mine + new if goes_on else new
        self._messages_ns.append(t_ns)
        if len(self._messages_ns) > 1:
            self._stamps[:] = self._messages_ns
        return True

    def _message(self, message: dict[str, Any], content: list[str], reasoning: list[str]) -> bool:
        if "error" in message and tells_error(message):
            self._told(message)
        return read_message(message, content, reasoning, self.calls)

    def _logprobs(self, told: Any) -> None:
        """Take those of a chat completion, or of a plain one."""
        if not isinstance(told, dict):
            return
        each, tokens = told.get("token_logprobs"), told.get("content")
        if isinstance(tokens, list):
            each = [token.get("logprob") for token in tokens if isinstance(token, dict)]
        each = each if isinstance(each, list) else []
        number = len(self._stamps)  # of the chunk, if it has text; else of the one that will
        self._by_logprobs[number] = self._by_logprobs.get(number, 0) + len(each)
        for logprob in each:
            if isinstance(logprob, float | int) and LEAST_LOGPROB <= logprob <= 0:
                self.logprob_sum += logprob
                self.logprob_tokens += 1

    def _told(self, body: dict[str, Any]) -> None:
        """Take what the server says went wrong."""
        self._fail(error_message(body), body)

    def _fail(self, message: str, body: dict[str, Any] | None = None) -> None:
        if self.error is None:
            self.error, self.failure = message, told_failure(status_told(body), f"{message} {whole_text(body or '')}")


def _decoded(words: str) -> Any:
    """What `json.loads` gives, without its looks around for white space and byte orders."""
    value, end = RAW_DECODE(words)
    if end != len(words):
        raise ValueError(words)
    return value


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that a document is, or is a list of."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]
