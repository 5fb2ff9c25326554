"""The command whose requests are measured: the addresses that it is given, and a keeper that outlives nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ipw.errors import UsageError
from ipw.processes import python
from ipw.system import children
from ipw.variables import GATEWAY_TOKEN, GATEWAY_URL, OPENAI_KEY, OPENAI_URL, TASK_FILE
from ipw.workloads.agents.gateway.command_keeper import GRACE_S, ORPHANS_S, adopt_orphans, end_all

WITH_VERSION = (
    OPENAI_URL, "OPENAI_API_BASE", "OPENAI_API_BASE_URL", "OPENAI_ENDPOINT", "LLM_BASE_URL",
    "LITELLM_API_BASE", "VLLM_BASE_URL", "VLLM_API_BASE", "INSPECT_EVAL_MODEL_BASE_URL",
)  # fmt: skip
"""Variables in which programs look for an OpenAI-compatible API, its `/v1` included."""
WITHOUT_VERSION = (
    "ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "OLLAMA_HOST", "OLLAMA_BASE_URL", "OLLAMA_API_BASE",
)  # fmt: skip
"""Variables in which they look for what stands before `/v1` or `/api`."""
NO_PROXY = ("NO_PROXY", "no_proxy")
URL_IN_COMMAND = "{url}"
"""In a command's words it stands for what `OPENAI_BASE_URL` is set to."""
NO_KEY = "not-needed"
"""What clients that ask for a key are given where the server has none."""


def base_url(address: str, path: str) -> str:
    """Give the gateway's URL of the API that is `path` at the server."""
    return f"http://{address}{path}"


def addresses(
    address: str, path: str, task_file: Path, environment: Mapping[str, str], *, keyless: bool
) -> dict[str, str]:
    """Set the variables by which programs find the gateway at `address`, in place of the server's API at `path`."""
    root = base_url(address, path.removesuffix("/v1"))
    found = dict.fromkeys(WITH_VERSION, base_url(address, path)) | dict.fromkeys(WITHOUT_VERSION, root)
    found |= {GATEWAY_URL: root, TASK_FILE: str(task_file)}
    host = address.rpartition(":")[0].strip("[]")
    for name in NO_PROXY:
        found[name] = ",".join(filter(None, [environment.get(name, ""), host, "localhost"]))
    if keyless and not environment.get(OPENAI_KEY):
        found[OPENAI_KEY] = NO_KEY
    return found


def check_command(command: Sequence[str]) -> None:
    """Raise UsageError where there is no such program."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"cannot start {command[0]}: there is no such program", "give a program on the PATH after --")


@contextmanager
def kept(command: Sequence[str], variables: Mapping[str, str], *, quiet: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command under a keeper, which ends it with all that it started when the block ends, or this process.

    With `quiet` its standard output goes to standard error.
    """
    url = variables[OPENAI_URL]
    words = [word.replace(URL_IN_COMMAND, url) for word in command]
    reading, writing = os.pipe()
    others = children()
    adopt_orphans()  # of a keeper that is killed
    try:
        keeper = subprocess.Popen(
            python("ipw.workloads.agents.gateway.command_keeper", str(reading), *words),
            env={name: value for name, value in os.environ.items() if name != GATEWAY_TOKEN} | dict(variables),
            stdout=2 if quiet else None,
            pass_fds=(reading,),
        )
        os.close(reading)
        try:
            yield keeper
        finally:
            os.close(writing)
            try:
                keeper.wait(GRACE_S + ORPHANS_S + 3)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()
            if keeper.returncode < 0:
                end_all(ORPHANS_S, others)
    except OSError as error:
        raise UsageError(
            f"cannot start {command[0]}: {error.strerror}", "give a program on the PATH after --"
        ) from None
    finally:
        adopt_orphans(now=False)
