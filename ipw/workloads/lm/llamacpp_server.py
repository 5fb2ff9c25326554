"""llama.cpp's OpenAI-compatible server as a process: `python -m ipw.workloads.lm.llamacpp_server OPTIONS`.

OPTIONS is a JSON object: `model`, `slots`, `context_tokens`, `threads`. The process prints one line, `{"url": …}` or
`{"error": …}`, and serves until its standard input closes, which the end of its parent brings about.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options["model"]
    parameters.n_parallel = options["slots"]
    parameters.n_ctx = options["context_tokens"] * options["slots"]  # the slots share it
    if options["threads"]:
        parameters.cpuparams.n_threads = options["threads"]
        parameters.cpuparams_batch.n_threads = options["threads"]
    parameters.port = 0
    parameters.ui = False
    parameters.verbosity = 0
    parameters.cache_prompt = False  # every question pays for its own prompt
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        _tell({"error": str(error)})
        return
    _tell({"url": server.listening_address, "version": f"xllamacpp {xllamacpp.__version__}"})
    while os.read(0, 4096):
        pass
    os._exit(0)  # nothing is left to save, and requests in flight would hold the server's own end up


def _tell(greeting: dict[str, Any]) -> None:
    print(json.dumps(greeting), flush=True)  # noqa: T201 (this line is the protocol)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
