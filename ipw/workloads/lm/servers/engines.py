"""What answers the questions: a server that is there already, or one that is started for the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from ipw.errors import MissingExtraError, UsageError
from ipw.variables import OPENAI_URL
from ipw.workloads.lm.http.url import server_url
from ipw.workloads.lm.parameters import Parameters
from ipw.workloads.lm.servers.child import child_server
from ipw.workloads.lm.servers.endpoint import Endpoint, api_key, find_model
from ipw.workloads.lm.servers.gguf import gguf_facts, is_gguf
from ipw.workloads.lm.servers.model_folder import folder_facts
from ipw.workloads.lm.servers.place import place
from ipw.workloads.lm.servers.served import Served, model_of_command, started

BUNDLED = ("dense", "moe", "agent")
MAX_SLOTS = 256
"""llama.cpp takes no more sequences at once; further requests wait in its queue."""


def serve(parameters: Parameters) -> AbstractContextManager[Endpoint]:
    """Make the server ready, as a context that puts it away again. Raises UsageError and IpwError on entering."""
    name = parameters.engine or default_engine(parameters)
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}", f"choose one of {', '.join(ENGINES)}")
    if parameters.serve and name != "openai":
        raise UsageError(f"the {name} engine starts its own server", "leave --serve out, or take --engine openai")
    return ENGINES[name](parameters)


def asks_elsewhere(parameters: Parameters) -> bool:
    """Whether the server is one that was up before, which cannot be started anew."""
    return (parameters.engine or default_engine(parameters)) == "openai" and not parameters.serve


def default_engine(parameters: Parameters) -> str:
    """Choose by what is given: a server if there is one, llama.cpp for a GGUF, transformers for a model's folder."""
    model = parameters.model or ""
    if parameters.base_url is None and parameters.serve is None:
        if model in BUNDLED or is_gguf(model):
            return "llamacpp"
        if (Path(model) / "config.json").is_file():
            return "transformers"
    return "openai"


@contextmanager
def _openai(parameters: Parameters) -> Iterator[Endpoint]:
    """Use any OpenAI-compatible server, which `--serve` starts or which is up already."""
    key = api_key()
    given = parameters.base_url or (None if parameters.serve else os.environ.get(OPENAI_URL))
    up: AbstractContextManager[Served | None] = nullcontext()
    if parameters.serve:
        up = started(parameters.serve, given, parameters.serve_timeout_s, key)
    elif not given:
        raise UsageError(
            "no server and no model file is named",
            f"give --base-url or {OPENAI_URL}, --serve, or --model with a .gguf file, a folder, dense or moe",
        )
    with up as served:
        url = served.url if served else server_url(given or "")
        model = find_model(url, parameters.model, key)
        facts = {"name": model or model_of_command(parameters.serve) or f"{url.host}:{url.port}"}
        if served is None:
            yield Endpoint(url, model, facts, key=key, place=place(url.host, here=parameters.server_here))
        else:
            yield Endpoint(url, model, facts, pid=served.pid, key=key, ended=served.ended)


@contextmanager
def _llamacpp(parameters: Parameters) -> Iterator[Endpoint]:
    """Start llama.cpp's server on a GGUF."""
    model = parameters.model
    if model is None:
        raise UsageError("the llamacpp engine has no model", "give --model with a .gguf file, dense or moe")
    path = Path(str(files("ipw") / "data" / f"{model}-q8_0.gguf")) if model in BUNDLED else Path(model)
    facts = gguf_facts(path) | ({"name": model} if model in BUNDLED else {})
    if find_spec("xllamacpp") is None:
        raise MissingExtraError("the llamacpp engine", "llamacpp")
    options = {
        "model": str(path.resolve()),
        "name": model if model in BUNDLED else path.stem,
        "slots": min(parameters.slots, MAX_SLOTS),
        "context_tokens": min(parameters.context_tokens, facts["context_tokens"] or parameters.context_tokens),
        # A second thread on a tiny model only waits for the first.
        "threads": parameters.threads or (1 if model in BUNDLED else None),
        "keeps_prompts": parameters.keeps_prompts,
    }
    with child_server("ipw.workloads.lm.servers.llamacpp_server", options, f"llama.cpp's server of {path}") as child:
        facts |= {"engine": child.greeting["version"], "device": child.greeting["device"]}
        yield Endpoint(server_url(child.greeting["url"]), None, facts, pid=child.pid, ended=child.ended)


@contextmanager
def _transformers(parameters: Parameters) -> Iterator[Endpoint]:
    """Start a server of a Hugging Face model."""
    model = parameters.model
    if model is None:
        raise UsageError("the transformers engine has no model", "give --model with a model's folder, or moe")
    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("the transformers engine", "torch")
    bundled = Path(str(files("ipw") / "data" / model)) if model in BUNDLED else None
    folder = bundled or Path(model)
    facts = folder_facts(folder) if folder.is_dir() or bundled else {"name": model}
    options = {
        "model": str(folder.resolve()) if folder.is_dir() else model,
        "batch_size": parameters.batch_size or parameters.slots,
        "dtype": parameters.dtype,
        "device": parameters.device,
        "threads": parameters.threads or (1 if bundled else None),
    }
    with child_server("ipw.workloads.lm.servers.transformers_server", options, f"transformers with {model}") as child:
        url = server_url(child.greeting.pop("url"))
        facts |= child.greeting | ({"name": model} if bundled else {})
        yield Endpoint(url, None, facts, pid=child.pid, ended=child.ended)


ENGINES: dict[str, Callable[[Parameters], AbstractContextManager[Endpoint]]] = {
    "openai": _openai,
    "llamacpp": _llamacpp,
    "transformers": _transformers,
}
"""Engines by the name that `--engine` takes."""
