"""A Hugging Face model behind the OpenAI protocol: `python -m ipw.workloads.lm.servers.transformers_server OPTIONS`.

OPTIONS is a JSON object: `model`, `batch_size`, `dtype`, `device`, `threads`. The process prints one line, `{"url": …}`
and what it knows of the model, or `{"error": …}`, and serves until its standard input closes.

Requests that wait go through the model together, at most `batch_size` of them, in one call of `generate`; every token
is sent as soon as `generate` hands it out. Those that come meanwhile wait for the next batch. A process of its own
keeps the model from holding up the client's clock.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any

from ipw.workloads.lm.servers.parent_death import end_with_parent

GATHER_S = 0.005
"""How long a batch waits for more requests when the first is there."""
SWITCH_S = 0.0005
"""Python's turn of a thread: `generate` must not hold up the sending of its own tokens for the usual 5 ms."""
Event = dict[str, Any]


class Job:
    """One request on its way through the model; events come out of `events`, `None` last."""

    def __init__(self, prompt: list[int], max_tokens: int, temperature: float, seed: int | None) -> None:
        self.prompt, self.max_tokens, self.temperature, self.seed = prompt, max_tokens, temperature, seed
        self.events: SimpleQueue[Event | None] = SimpleQueue()
        self.tokens: list[int] = []
        self.done = False
        self._shown = self._read = 0

    def take(self, token: int, ends: Sequence[int], tokenizer: Any) -> None:
        """Take the next token of the answer; what comes behind its end is padding."""
        if self.done:
            return
        self.tokens.append(token)
        if token not in ends:
            if text := self._text(tokenizer):
                self.events.put({"text": text})
            if len(self.tokens) < self.max_tokens:
                return
        self.end({"finish_reason": "stop" if token in ends else "length"})

    def end(self, event: Event) -> None:
        """Send the last event, once."""
        if not self.done:
            self.done = True
            self.events.put(event)
            self.events.put(None)

    def _text(self, tokenizer: Any) -> str:
        """What the new tokens add, when they make whole characters: the last ones are decoded in their context."""
        before = tokenizer.decode(self.tokens[self._shown : self._read], skip_special_tokens=True)
        text: str = tokenizer.decode(self.tokens[self._shown :], skip_special_tokens=True)
        if len(text) <= len(before) or text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._shown, self._read = self._read, len(self.tokens)
        return text[len(before) :]


class Model:
    """A model and its tokenizer."""

    def __init__(self, options: dict[str, Any]) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if options["threads"]:
            torch.set_num_threads(options["threads"])
        self.device = options["device"] if options["device"] != "auto" else _first_device()
        # Nobody is asked either whether code that comes with a model may run.
        own: dict[str, Any] = {"trust_remote_code": False}
        self.tokenizer = AutoTokenizer.from_pretrained(options["model"], padding_side="left", **own)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.model = AutoModelForCausalLM.from_pretrained(options["model"], dtype=options["dtype"], **own).to(
            self.device
        )
        self.model.eval()
        ends = self.model.generation_config.eos_token_id
        self.ends = [ends] if isinstance(ends, int) else list(ends or [])
        self.context_tokens = getattr(self.model.config, "max_position_embeddings", None)

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the model."""
        import torch
        import transformers

        return {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "architecture": self.model.config.model_type,
            "parameters": self.model.num_parameters(),
            "context_tokens": self.context_tokens,
            "quantisation": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.device),
        }

    def job(self, body: dict[str, Any]) -> Job:
        """Read a request. Raises ValueError for one that cannot be answered."""
        if "messages" in body:
            prompt = self._templated(body["messages"])
        else:
            prompt = self.tokenizer(body["prompt"])["input_ids"]
        room = (self.context_tokens or sys.maxsize) - len(prompt)
        if room < 1 or not prompt:
            raise ValueError(f"the prompt has {len(prompt)} tokens, the model takes up to {self.context_tokens}")
        most = min(body.get("max_tokens") or room, room)
        return Job(prompt, most, float(body.get("temperature") or 0), body.get("seed"))

    def _templated(self, messages: list[dict[str, str]]) -> list[int]:
        if not self.tokenizer.chat_template:
            raise ValueError("the model has no chat template: ask it for plain completions (--api completions)")
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def run(self, jobs: Sequence[Job]) -> None:
        """Answer several requests in one batch. Never raises for what goes wrong in the model: the jobs are told."""
        import torch

        first = jobs[0]
        if first.temperature > 0 and first.seed is not None:
            torch.manual_seed(first.seed)
        sampling = (
            {"temperature": first.temperature, "do_sample": True} if first.temperature > 0 else {"do_sample": False}
        )
        batch = self.tokenizer.pad({"input_ids": [job.prompt for job in jobs]}, return_tensors="pt").to(self.device)
        try:
            with torch.inference_mode():
                self.model.generate(
                    **batch,
                    **sampling,
                    max_new_tokens=max(job.max_tokens for job in jobs),
                    pad_token_id=self.tokenizer.pad_token_id,
                    streamer=_Streamer(jobs, self),
                    stopping_criteria=[lambda ids, _: torch.tensor([job.done for job in jobs], device=ids.device)],
                )
        except Exception as error:  # noqa: BLE001 - out of memory, above all
            for job in jobs:
                job.end({"error": f"{type(error).__name__}: {error}"})
        for job in jobs:
            job.end({"finish_reason": "stop"})


class _Streamer:
    """Hands the tokens of each step of `generate` to the jobs of the batch."""

    def __init__(self, jobs: Sequence[Job], model: Model) -> None:
        self._jobs, self._model, self._prompt_seen = jobs, model, False

    def put(self, value: Any) -> None:
        """Take the prompts, the first time, and one token a job then."""
        if self._prompt_seen:
            for job, token in zip(self._jobs, value.reshape(-1).tolist(), strict=True):
                job.take(token, self._model.ends, self._model.tokenizer)
        self._prompt_seen = True

    def end(self) -> None:
        """Nothing is left to do: every job knows its end."""


def _first_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def handler(model: Model, waiting: SimpleQueue[Job]) -> type[BaseHTTPRequestHandler]:
    """Make the class that answers HTTP requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._document(200, {"data": []})

        def do_POST(self) -> None:
            try:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                job = model.job(body)
            except (ValueError, KeyError, TypeError) as error:
                self._document(400, {"error": {"message": str(error)}})
                return
            waiting.put(job)
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            try:
                for chunk in _chunks(job, chat="messages" in body):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                job.done = True  # nobody listens any more
                self.close_connection = True

        def _document(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep no log."""

    return Handler


def _chunks(job: Job, *, chat: bool) -> Iterator[bytes]:
    """Make the stream of one answer."""
    while (event := job.events.get()) is not None:
        text = event.get("text", "")
        said = {"delta": {"content": text} if text else {}} if chat else {"text": text}
        chunk: Event = {"choices": [{"index": 0, **said, "finish_reason": event.get("finish_reason")}]}
        if "error" in event:
            chunk = {"error": {"message": event["error"]}}
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
    usage = {"prompt_tokens": len(job.prompt), "completion_tokens": len(job.tokens)}
    yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"


def batches(waiting: SimpleQueue[Job], size: int) -> Iterator[list[Job]]:
    """Yield what waits, at most `size` at once, forever."""
    while True:
        jobs = [waiting.get()]
        until = time.monotonic() + GATHER_S
        while len(jobs) < size:
            try:
                jobs.append(waiting.get(timeout=max(until - time.monotonic(), 0)))
            except Empty:
                break
        yield jobs


def main(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    end_with_parent()
    greeting = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no greeting
    sys.setswitchinterval(SWITCH_S)
    waiting: SimpleQueue[Job] = SimpleQueue()
    try:
        model = Model(options)
    except Exception as error:  # noqa: BLE001 - whatever a model's files bring about is told in one line
        _tell(greeting, {"error": " ".join(str(error).split())[:300] or type(error).__name__})
        return
    ThreadingHTTPServer.request_queue_size, ThreadingHTTPServer.daemon_threads = 1024, True
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(model, waiting))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _tell(greeting, {"url": f"http://127.0.0.1:{server.server_port}/v1", **model.facts()})
    for jobs in batches(waiting, options["batch_size"]):
        model.run(jobs)


def _tell(pipe: int, what: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
