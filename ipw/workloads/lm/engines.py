"""What answers the questions: a server that is there already, or one that is started for the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, MissingExtraError, UsageError
from ipw.workloads.lm.endpoint import URL_VARIABLE, Endpoint, api_key, find_model
from ipw.workloads.lm.gguf_facts import gguf_facts
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.server_url import server_url

BUNDLED = ("dense", "moe")
MAX_SLOTS = 256
"""llama.cpp takes no more sequences at once; further requests wait in its queue."""
STOP_S = 3


def serve(parameters: Parameters) -> AbstractContextManager[Endpoint]:
    """Make the server ready, as a context that puts it away again. Raises UsageError and IpwError on entering."""
    name = parameters.engine or default_engine(parameters)
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}", f"choose one of {', '.join(ENGINES)}")
    return ENGINES[name](parameters)


def default_engine(parameters: Parameters) -> str:
    """Choose by what is given: a URL means its server, a GGUF or a bundled model llama.cpp."""
    model = parameters.model or ""
    if parameters.base_url is None and (model in BUNDLED or model.endswith(".gguf")):
        return "llamacpp"
    return "openai"


@contextmanager
def _openai(parameters: Parameters) -> Iterator[Endpoint]:
    """Use any OpenAI-compatible server that is up already."""
    given = parameters.base_url or os.environ.get(URL_VARIABLE)
    if not given:
        raise UsageError(
            "no server and no GGUF is named",
            f"give --base-url or {URL_VARIABLE}, or --model with a .gguf file, dense or moe",
        )
    url, key = server_url(given), api_key()
    model = find_model(url, parameters.model, key)
    yield Endpoint(url, model, {"name": model or "unnamed"}, key=key)


@contextmanager
def _llamacpp(parameters: Parameters) -> Iterator[Endpoint]:
    """Start llama.cpp's server on a GGUF, in a process of its own that ends with this one."""
    model = parameters.model
    if model is None:
        raise UsageError("the llamacpp engine has no model", "give --model with a .gguf file, dense or moe")
    path = Path(str(files("ipw") / "data" / f"{model}-q8_0.gguf")) if model in BUNDLED else Path(model)
    facts = gguf_facts(path) | ({"name": model} if model in BUNDLED else {})
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("the llamacpp engine", "llamacpp")
    options = {
        "model": str(path.resolve()),
        "slots": min(parameters.concurrency, MAX_SLOTS),
        "context_tokens": min(parameters.context_tokens, facts["context_tokens"] or parameters.context_tokens),
        # A second thread on a tiny model only waits for the first.
        "threads": parameters.threads or (1 if model in BUNDLED else None),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "ipw.workloads.lm.llamacpp_server", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which then puts the server away
    )
    try:
        greeting = _greeting(child, path)
        yield Endpoint(server_url(greeting["url"]), None, facts | {"engine": greeting["version"]}, pid=child.pid)
    finally:
        _stop(child)


def _greeting(child: subprocess.Popen[bytes], path: Path) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()  # ends when the child does
    try:
        greeting: dict[str, Any] = json.loads(line)
    except ValueError:
        raise IpwError(
            f"llama.cpp's server ended while it loaded {path} (exit code {child.wait(STOP_S)})",
            "is there enough memory for the model and its context?",
        ) from None
    if "error" in greeting:
        raise IpwError(f"llama.cpp cannot load {path}: {greeting['error']}", "is it a model for text generation?")
    return greeting


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Close the child's input, at which it ends; kill it where it does not."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


ENGINES: dict[str, Callable[[Parameters], AbstractContextManager[Endpoint]]] = {
    "openai": _openai,
    "llamacpp": _llamacpp,
}
"""Engines by the name that `--engine` takes."""
