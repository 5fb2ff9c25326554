"""What answers say, by API: each event in the words of chat completions, and the calls of tools with their arguments.

So that an answer is judged, counted and stamped in one way, events of other APIs are told to the reader of chat
completions (`ipw.workloads.lm.http.completion`) as the chunks that they would be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ipw.workloads.agents.asked import ASSISTANT, Call, Message, clean_name
from ipw.workloads.agents.reading.digests import arguments, message
from ipw.workloads.agents.reading.sent import item_call
from ipw.workloads.lm.http.completion import CompletionStream

Chunk = dict[str, Any]
STOPS = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
    "refusal": "content_filter", "max_output_tokens": "length",
}  # fmt: skip
"""Reasons to finish, in the words of chat completions."""
USAGE = re.compile(rb'"(prompt_tokens|total_tokens|prompt_eval_count|input_tokens)"\s*:\s*(\d{1,15})')
LONG = 1 << 17
"""Bytes of a document whose numbers are not all read."""


DELTAS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "content",
    "response.reasoning_text.delta": "thinking",
    "response.reasoning_summary_text.delta": "thinking",
}
"""Events of responses that bring text, and what of a message it is of."""
ARGUMENTS = ("_call_arguments.delta", "_call_input.delta")


class ToolStream(CompletionStream):
    """An answer of chat completions, with the calls of tools that it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.response_id: str | None = None

    def message(self) -> Message | None:
        """Give what was said, once all has come."""
        known = [call for _, call in sorted(self.calls.items())]
        calls = [
            Call(clean_name(call.id) or "", clean_name(call.name) or "", arguments(call.arguments)) for call in known
        ]
        return message(ASSISTANT, "".join(self.content), calls) if self.said else None

    def _message(self, message: Chunk, content: list[str], reasoning: list[str]) -> bool:
        pieces = message.get("tool_calls")
        if isinstance(pieces, list):
            numbered = [self._numbered(piece, place) for place, piece in enumerate(pieces) if isinstance(piece, dict)]
            message = message | {"tool_calls": numbered}
        return super()._message(message, content, reasoning)

    def _numbered(self, piece: Chunk, place: int) -> Chunk:
        """Give a piece of a call its number; some servers number none, and begin each call with a new id."""
        if "custom" in piece:
            told = piece["custom"] if isinstance(piece["custom"], dict) else {}
            piece = piece | {"function": {"name": told.get("name"), "arguments": told.get("input")}}
        name = piece.get("id")
        if isinstance(piece.get("index"), int) or not self.calls:
            return piece
        same = [number for number, call in self.calls.items() if name and call.id == name]
        last = max(self.calls)
        return piece | {"index": same[0] if same else last + 1 + place if name else last}


class EmbeddingStream(ToolStream):
    """An answer that is vectors: only how many tokens were read is taken."""

    _vectors = False

    def fault(self) -> str | None:
        """Say why these are no vectors."""
        return None if self._vectors and not self.told else super().fault()

    def unframed(self, line: bytes, t_ns: int) -> bool:
        """Take the document; of a long one its numbers are left alone."""
        if len(line) < LONG:
            return super().unframed(line, t_ns)
        counts = {name.decode(): int(number) for name, number in USAGE.findall(line)}
        self.take({"embeddings": [], **counts, "usage": counts}, t_ns)
        return True

    def take(self, chunk: Chunk, t_ns: int) -> None:
        """Take the document."""
        if any(isinstance(chunk.get(name), list) for name in ("data", "embeddings", "embedding")):
            self._vectors = True
            usage = dict(chunk["usage"]) if isinstance(chunk.get("usage"), dict) else {}
            read = chunk.get("prompt_eval_count") or usage.get("prompt_tokens") or usage.get("total_tokens")
            self.counts.take({"prompt_tokens": read}, None)
        else:
            super().take(chunk, t_ns)


class OllamaStream(ToolStream):
    """Lines of Ollama's /api/chat and /api/generate."""

    def take(self, chunk: Chunk, t_ns: int) -> None:
        """Take a line."""
        told = chunk.get("message")
        if "response" in chunk and told is None:
            told = {"content": chunk["response"], "thinking": chunk.get("thinking")}
        if not isinstance(told, dict) or "done" not in chunk:
            super().take(chunk, t_ns)
            return
        told = {name: value for name, value in told.items() if value and name != "role"}
        choice: Chunk = {"delta": told}
        if chunk.get("done") is True:
            choice["finish_reason"] = chunk.get("done_reason") or "stop"
        super().take({"choices": [choice]}, t_ns)
        if chunk.get("done") is True:
            counts = {"prompt_tokens": chunk.get("prompt_eval_count"), "completion_tokens": chunk.get("eval_count")}
            super().take({"choices": [], "usage": {k: v for k, v in counts.items() if v is not None}}, t_ns)


class EventedStream(ToolStream):
    """Events that have names, of which only the last says that all has come."""

    LAST: tuple[str, ...] = ()

    def named(self, name: str, payload: bytes, t_ns: int) -> None:
        """Take an event."""
        super().named(name, payload, t_ns)
        self._ended = self._ended and name in self.LAST


class AnthropicStream(EventedStream):
    """Events of Anthropic's messages, or the whole message."""

    LAST = ("message_stop",)

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def take(self, chunk: Chunk, t_ns: int) -> None:
        """Take an event, or the message."""
        kind = chunk.get("type")
        if kind == "message_start" and isinstance(chunk.get("message"), dict):
            self._read_usage(chunk["message"].get("usage"), t_ns)
        elif kind == "content_block_start" and isinstance(chunk.get("content_block"), dict):
            self._block(chunk["content_block"], chunk.get("index"), t_ns)
        elif kind == "content_block_delta" and isinstance(chunk.get("delta"), dict):
            self._delta(chunk["delta"], chunk.get("index"), t_ns)
        elif kind == "message_delta" and isinstance(chunk.get("delta"), dict):
            if told := chunk["delta"].get("stop_reason"):
                super().take({"choices": [{"delta": {}, "finish_reason": STOPS.get(told, told)}]}, t_ns)
            self._read_usage(chunk.get("usage"), t_ns)
        elif kind == "message" and isinstance(chunk.get("content"), list):
            self._whole(chunk, t_ns)
        elif kind not in {"content_block_stop", "message_stop", "ping"}:
            super().take(chunk, t_ns)

    def _block(self, block: Chunk, index: Any, t_ns: int) -> None:
        if block.get("type") == "tool_use":
            call = {"index": index, "id": block.get("id"), "function": {"name": block.get("name")}}
            super().take(_delta({"tool_calls": [call]}), t_ns)
        elif text := block.get("text") or block.get("thinking"):
            name = "content" if block.get("type") == "text" else "thinking"
            super().take(_delta({name: text}), t_ns)

    def _delta(self, delta: Chunk, index: Any, t_ns: int) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            super().take(_delta({"content": delta.get("text")}), t_ns)
        elif kind == "thinking_delta":
            super().take(_delta({"thinking": delta.get("thinking")}), t_ns)
        elif kind == "input_json_delta" and index in self.calls:  # else it is of a tool that the server runs
            call = {"index": index, "function": {"arguments": delta.get("partial_json")}}
            super().take(_delta({"tool_calls": [call]}), t_ns)

    def _whole(self, chunk: Chunk, t_ns: int) -> None:
        parts = [part for part in chunk["content"] if isinstance(part, dict)]
        calls = [
            {"index": i, "id": part.get("id"), "function": {"name": part.get("name"), "arguments": part.get("input")}}
            for i, part in enumerate(parts)
            if part.get("type") == "tool_use"
        ]
        told: Chunk = {"content": [part for part in parts if part.get("type") != "tool_use"]}
        told |= {"tool_calls": calls} if calls else {}
        reason = chunk.get("stop_reason")
        super().take({"choices": [{"message": told, "finish_reason": STOPS.get(str(reason), reason)}]}, t_ns)
        self._read_usage(chunk.get("usage"), t_ns)

    def _read_usage(self, told: Any, t_ns: int) -> None:
        """Take counts; those of the prompt come first, and leave out what a cache held."""
        if isinstance(told, dict):
            self._usage |= {name: value for name, value in told.items() if isinstance(value, int)}
        of = self._usage
        read, wrote = of.get("cache_read_input_tokens", 0), of.get("cache_creation_input_tokens", 0)
        usage: Chunk = {"prompt_tokens_details": {"cached_tokens": read}}
        usage |= {"prompt_tokens": of["input_tokens"] + read + wrote} if "input_tokens" in of else {}
        usage |= {"completion_tokens": of["output_tokens"]} if "output_tokens" in of else {}
        super().take({"choices": [], "usage": usage}, t_ns)


class ResponsesStream(EventedStream):
    """Events of OpenAI's responses, or the whole response."""

    LAST = ("response.completed", "response.incomplete", "response.done")

    def take(self, chunk: Chunk, t_ns: int) -> None:
        """Take an event, or the response."""
        kind = str(chunk.get("type", ""))
        response = chunk.get("response") if isinstance(chunk.get("response"), dict) else None
        if chunk.get("object") == "response":
            response, kind = chunk, "response.completed"
        if response is not None:
            self.response_id = clean_name(response.get("id")) or self.response_id
        if kind in DELTAS:
            super().take(_delta({DELTAS[kind]: chunk.get("delta")}), t_ns)
        elif kind == "response.output_item.added" and isinstance(chunk.get("item"), dict):
            self._item(chunk["item"], chunk.get("output_index"), t_ns)
        elif kind.endswith(ARGUMENTS):
            call = {"index": chunk.get("output_index"), "function": {"arguments": chunk.get("delta")}}
            super().take(_delta({"tool_calls": [call]}), t_ns)
        elif kind in self.LAST and response is not None:
            self._last(response, t_ns)
        elif response is not None and response.get("error"):
            super().take({"error": response["error"]}, t_ns)
        elif not kind.startswith("response."):
            super().take(chunk, t_ns)

    def _item(self, item: Chunk, index: Any, t_ns: int) -> None:
        if item_call(item):
            super().take(_delta({"tool_calls": [_called(item, index)]}), t_ns)

    def _last(self, response: Chunk, t_ns: int) -> None:
        """Take the end; where nothing was streamed, it holds all."""
        if response.get("error"):
            super().take({"error": response["error"]}, t_ns)
            return
        items = [item for item in response.get("output") or () if isinstance(item, dict)]
        why = response.get("incomplete_details")
        told = str(why.get("reason")) if isinstance(why, Mapping) else ""
        calls = [(i, item) for i, item in enumerate(items) if item_call(item)]
        reason = STOPS.get(told, told) or ("tool_calls" if calls else "stop")
        choice: Chunk = {"finish_reason": reason, "delta": {}}
        if not self.said:
            texts = [item.get("content") for item in items if item.get("type") == "message"]
            parts = [part for text in texts for part in (text if isinstance(text, list) else [text])]
            whole: Chunk = {"content": parts}
            if calls:
                whole["tool_calls"] = [_called(item, i) for i, item in calls]
            choice = {"finish_reason": reason, "message": whole}
        super().take({"choices": [choice]}, t_ns)
        usage = response.get("usage")
        if isinstance(usage, dict):
            super().take(
                {"choices": [], "usage": usage | {"prompt_tokens_details": usage.get("input_tokens_details")}}, t_ns
            )


def _delta(delta: Chunk) -> Chunk:
    return {"choices": [{"delta": {name: value for name, value in delta.items() if value}}]}


def _called(item: Chunk, index: Any) -> Chunk:
    """Make an item that calls a tool the call that it would be in chat completions."""
    call = item_call(item)
    assert call is not None
    given = item.get("arguments", item.get("input", item.get("action"))) or ""
    return {"index": index, "id": call.id, "function": {"name": call.name, "arguments": given}}
