"""One answer on its way in: the parts of it as they come, and all of it as a record in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from ipw.clock import now_ns
from ipw.runs.arrivals import encoded
from ipw.secrets_out import shown_url, without_key
from ipw.workloads.lm.http.completion import CompletionStream
from ipw.workloads.lm.http.failure import Failure, http_failure, retry_after_s
from ipw.workloads.lm.http.messages import ToolCall
from ipw.workloads.lm.http.server_words import plain_words

MAX_BYTES = 64 << 20
"""Of one answer as it is sent; a streamed token brings a few hundred bytes along."""
MAX_ERROR = 300
"""Characters of an error message that are kept."""
OPEN, CLOSE = "<think>", "</think>"

Status = Literal["ok", "error", "timeout"]


class Answer(NamedTuple):
    """What came back. What is not known is `None`."""

    start_ns: int
    """When the request was written to the socket; without a connection, when one was looked for."""
    first_token_ns: int | None
    """When the first block of bytes with text, thinking or a call was read from the socket."""
    last_token_ns: int | None
    end_ns: int
    itl_us: list[int]
    """The gaps between tokens that came up, in microseconds to three digits, in rising order; and how often each."""
    itl_counts: list[int]
    status: Status
    error: str | None
    failure: Failure | None
    """`None` where `status` is `ok`."""
    http_status: int | None
    """`None` where no response began."""
    retry_after_s: float | None
    """How long a server that turned the question away asks to be left alone."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    tokens_source: Literal["usage", "counted"] | None
    """Who counted `completion_tokens`: the server, or we, a token a chunk, where it does not or cannot be believed."""
    usage_doubt: str | None
    """What speaks against the server's count, be it believed or not."""
    chunks: int | None
    """How many blocks with text, thinking or a call came; `None` where the answer was not streamed."""
    tool_calls: int
    finish_reason: str | None
    logprob_sum: float | None
    """Of the answer's tokens, thinking included, where the server told their log-probabilities, and of how many."""
    logprob_tokens: int | None
    response: str
    """As much as came, thinking left out."""
    reasoning: str
    timings: dict[str, float] | None
    """What llama.cpp's server tells of its work on the answer."""


class Reply:
    """Receives one response, streamed or not, and whatever a server sends in the place of one."""

    def __init__(self, stream: CompletionStream | None = None) -> None:
        """Read the response by `stream`, or as a completion."""
        self.start_ns = now_ns()
        self._stream = stream or CompletionStream()
        self._http_status = 0
        self._refused = False
        self._location: str | None = None
        self._body: list[bytes] = []
        self._bytes = 0
        self._last_ns: int | None = None
        self._failure: tuple[Status, str, Failure] | None = None
        self._framed = True
        self._retry_after_s: float | None = None

    @property
    def begun(self) -> bool:
        """Whether the first token has come; the role that some servers send at once is none."""
        return self._stream.begun

    # --- what the connection tells ----------------------------------------------------------------------------------

    def sent(self, t_ns: int) -> None:
        """Note when the request is written to the socket."""
        self.start_ns = t_ns

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the status and the headers. What type the body is said to be counts for nothing: it shows."""
        self._http_status = status
        self._refused = not 200 <= status < 300
        self._framed = "content-length" in headers or "transfer-encoding" in headers
        self._retry_after_s = retry_after_s(headers.get("retry-after"))
        self._location = headers.get("location")

    def block(self, data: bytes, t_ns: int) -> bool:
        """Take some bytes of the body; whether that was all that is wanted."""
        self._last_ns = t_ns
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            self.fail("error", f"the answer is longer than {MAX_BYTES >> 20} MiB")
            return True
        if self._refused:
            self._body.append(data)
            return False
        self._stream.feed(data, t_ns)
        return self._stream.done

    # --- what the client tells --------------------------------------------------------------------------------------

    def fail(self, status: Status, message: str, failure: Failure = "answer") -> None:
        """Say why there is no whole answer; the first reason counts, and an answer that is whole stays."""
        if self._failure is None and self._stream.fault() is not None:
            self._failure = status, message, failure
            self._last_ns = now_ns()

    def close(self) -> None:
        """Note that all of the response has come."""
        self._stream.close(self._last_ns or now_ns())

    def answer(self, key: str | None) -> Answer:
        """Make the record. A secret that a server sends back is blotted out."""
        stream, counts = self._stream, self._stream.counts
        status, error, failure = self._judged()
        content, thinking = "".join(stream.content), "".join(stream.reasoning)
        response, reasoning = _split(content, thinking)
        stamps = stream.stamps
        streamed = bool(stamps) or (status == "ok" and not stream.said)
        told = counts.believed(len(stamps), said=stream.said)
        gaps = sorted(gaps_us(stamps).items())
        return Answer(
            start_ns=self.start_ns,
            first_token_ns=stamps[0] if stamps else None,
            last_token_ns=stamps[-1] if stamps else None,
            end_ns=self._last_ns or now_ns(),
            itl_us=[gap for gap, _ in gaps],
            itl_counts=[count for _, count in gaps],
            status=status,
            error=None if error is None else _clean(without_key(key, error)),
            failure=failure,
            http_status=self._http_status or None,
            retry_after_s=self._retry_after_s,
            prompt_tokens=counts.prompt,
            completion_tokens=counts.completion if told else len(stamps) if streamed else None,
            cached_tokens=counts.cached,
            tokens_source="usage" if told else "counted" if streamed else None,
            usage_doubt=counts.doubt(len(stamps), content + thinking, calls=len(stream.calls)),
            chunks=len(stamps) if streamed else None,
            tool_calls=len(stream.calls),
            finish_reason=stream.finish_reason and _clean(without_key(key, stream.finish_reason)),
            logprob_sum=stream.logprob_sum if stream.logprob_tokens else None,
            logprob_tokens=stream.logprob_tokens or None,
            response=without_key(key, _whole_characters(response)),
            reasoning=without_key(key, _whole_characters(reasoning)),
            timings=counts.timings,
        )

    def calls(self) -> list[ToolCall]:
        """The calls of tools that the answer asks for, in the order of their numbers."""
        return [call for _, call in sorted(self._stream.calls.items())]

    def arrivals(self) -> bytes:
        """When each chunk came, and with how many tokens: a block of runs/arrivals.py, or nothing."""
        return encoded(self.start_ns, self._stream.stamps, self._stream.tokens)

    def _judged(self) -> tuple[Status, str | None, Failure | None]:
        """Whether that was an answer, and if not, why: in the server's words where it has any."""
        if self._refused:
            words = plain_words(b"".join(self._body).decode(errors="replace"))
            if self._location and 300 <= self._http_status < 400:
                words = f"the server points to {shown_url(self._location)}"
            words = words or (self._failure[1] if self._failure else "no message")
            return "error", f"HTTP {self._http_status}: {words}", http_failure(self._http_status)
        if self._failure is not None and not self._stream.told:
            return self._failure
        fault = self._stream.fault()
        if fault is None:
            return "ok", None, None
        if self._stream.told:
            return "error", fault, self._stream.failure
        # Where only the connection's end says that the body ends, its end is no whole answer's.
        return "error", fault, "answer" if self._framed or self._stream.explained else "transport"


def gaps_us(stamps: Sequence[int]) -> Counter[int]:
    """Count the gaps between moments in nanoseconds, by their length in microseconds to three digits.

    The list of a query's gaps would be as long as its answer; so rounded, they are a few, and exact to 0.5 %.
    """
    return Counter([three_digits((after - before) // 1000) for before, after in pairwise(stamps)])


def three_digits(number: int) -> int:
    """Round a count to three digits, so that many of them are few numbers."""
    step = 1 if number < 10_000 else 100  # where most gaps between tokens begin
    while number >= 1000 * step:
        step *= 10
    return (number + step // 2) // step * step


def _split(content: str, reasoning: str) -> tuple[str, str]:
    """Part the response from thinking that the server left in the text; a template may have opened it already."""
    head, closed, tail = content.partition(CLOSE)
    opened = head.lstrip().startswith(OPEN)
    if opened or (closed and OPEN not in head):
        thought = head.lstrip().removeprefix(OPEN) if opened else head
        return tail.lstrip(), reasoning + thought.strip()
    return content, reasoning


def _whole_characters(text: str) -> str:
    """Join surrogates that came in two chunks; one that is left alone cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _clean(text: str) -> str:
    """One printable line of bounded length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in _whole_characters(text[: 4 * MAX_ERROR])).split())
    return line if len(line) <= MAX_ERROR else line[: MAX_ERROR - 1] + "…"
