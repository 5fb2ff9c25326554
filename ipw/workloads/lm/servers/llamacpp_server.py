"""llama.cpp's OpenAI-compatible server as a process: `python -m ipw.workloads.lm.servers.llamacpp_server OPTIONS`.

OPTIONS is a JSON object: `model`, `name`, `slots`, `context_tokens`, `threads`, `keeps_prompts`. The process prints one
line, `{"url": …}` or `{"error": …}`, and serves until its standard input closes, which the end of its parent brings
about.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from ipw.workloads.lm.servers.parent_death import end_with_parent


def main(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    end_with_parent()
    greeting = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints is no greeting
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options["model"]
    parameters.model_alias = {options["name"]}  # clients see this, and not where the file lies
    parameters.n_parallel = options["slots"]
    parameters.n_ctx = options["context_tokens"] * options["slots"]  # the slots share it
    if options["threads"]:
        parameters.cpuparams.n_threads = options["threads"]
        parameters.cpuparams_batch.n_threads = options["threads"]
    parameters.port = 0
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.verbosity = 0
    parameters.cache_prompt = options["keeps_prompts"]
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        _tell(greeting, {"error": str(error)})
        return
    version = f"xllamacpp {xllamacpp.__version__}"
    _tell(greeting, {"url": server.listening_address, "version": version, "device": _device(xllamacpp)})
    while True:
        signal.pause()  # llama.cpp serves in threads of its own


def _device(xllamacpp: Any) -> str:
    """Name the GPUs that this build of llama.cpp computes on, or the CPU."""
    gpus = [d["description"] for d in xllamacpp.get_device_info() if "GPU" in d["type"].name.rpartition("TYPE_")[2]]
    return ", ".join(gpus) or "cpu"


def _tell(pipe: int, what: dict[str, str]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
