"""A server that is started for the run by a command of the user's: `--serve 'CMD --port {port}'`."""

from __future__ import annotations

import asyncio
import json
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from ipw.errors import IpwError, UsageError
from ipw.processes import environment, python
from ipw.secrets_out import command_secrets, keep_out, without_key, without_secrets
from ipw.variables import OPENAI_KEY
from ipw.workloads.lm.http.client import get
from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.http.url import ServerUrl, server_url
from ipw.workloads.lm.servers.outage import Outage, death_of, exit_text
from ipw.workloads.lm.servers.server_keeper import GRACE_S, ORPHANS_S, end_group

PORT, WHAT = "{port}", "the server"
ASK_EVERY_S, ASK_S = 0.1, 5.0
TAIL_BYTES, TAIL_LINES, MOST_TAIL = 4096, 3, 400


MODEL_OPTIONS = {"--model", "-m", "--model-path", "--model_path", "--served-model-name", "--hf-repo", "-hf"}
"""By which vLLM, SGLang, llama.cpp and their kin are told what to serve."""


@dataclass(slots=True)
class Served:
    """A server that runs."""

    url: ServerUrl
    pid: int
    keeper: subprocess.Popen[bytes]
    log: IO[bytes]
    key: str | None
    death: Outage | None = None

    def ended(self) -> Outage | None:
        """Say how the server has ended by itself; `None` while it runs."""
        assert self.keeper.stdout is not None
        if self.death is None and select.select([self.keeper.stdout], [], [], 0)[0]:
            self.death = self._death(self.keeper.stdout.readline())
        return self.death

    def last_words(self) -> str | None:
        """Give the end of its log; `None` where it said nothing."""
        return _last_words(self.log, self.key) or None

    def _death(self, told: bytes) -> Outage:
        if not told:
            how = f"was ended, since its keeper died: {exit_text(self.keeper.wait())}"
            return Outage("died", WHAT, how)
        death = death_of(WHAT, int(json.loads(told)["exit_code"]))
        # One that others have ended had no time to say why.
        return death if death.signal in {signal.SIGKILL, signal.SIGTERM} else death._replace(said=self.last_words())


def model_of_command(command: str | None) -> str | None:
    """Tell which model a command serves that lists none: what --model names, or else what stands behind `serve`."""
    try:
        words = shlex.split(command or "")
    except ValueError:
        return None
    if words and Path(words[0]).name.startswith("python") and "-m" in words:
        words = words[words.index("-m") + 2 :]  # that names a module
    for word, follows in pairwise([*words, ""]):
        name, sign, value = word.partition("=")
        if name in MODEL_OPTIONS and (value or (follows and follows[0] not in "-{")):
            return value if sign else follows
    behind = words[words.index("serve") + 1 :] if "serve" in words else []
    return behind[0] if behind and not behind[0].startswith(("-", "{")) else None


@contextmanager
def started(command: str, base_url: str | None, timeout_s: float, key: str | None) -> Iterator[Served]:
    """Start a server, wait until it is ready, and end it with all that it started, whatever happens.

    Raises UsageError for a command that cannot be, IpwError where no server comes of it.
    """
    words = _words(command)
    keep_out(command_secrets(words))
    if without_key(key, command) != command:
        raise UsageError(
            f"--serve holds the key of {OPENAI_KEY}, which would be stored with the run",
            "let the server take it from its environment, as vLLM does from VLLM_API_KEY",
        )
    if PORT not in command and base_url is None:
        raise UsageError("--serve does not say where the server will be", f"put {PORT} into it, or give --base-url")
    port = _free_port()
    url = server_url(base_url or f"http://127.0.0.1:{port}/v1")
    with tempfile.TemporaryFile() as log:
        keeper = subprocess.Popen(
            python("ipw.workloads.lm.servers.server_keeper", *(word.replace(PORT, str(port)) for word in words)),
            env=environment(keys={OPENAI_KEY}),  # the server may want it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,  # so that `ended` sees whether there is more to read
            start_new_session=True,  # Ctrl-C is for this process, which then ends the server
        )
        pid = None
        try:
            pid = _pid(keeper)
            served = Served(url, pid, keeper, log, key)
            _wait(served, timeout_s)
            yield served
        finally:
            _stop(keeper, pid)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--serve cannot be read: {error}", "quote it like in a shell") from None
    if not words:
        raise UsageError("--serve is empty", f"give a command with {PORT} in it")
    return words


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _pid(keeper: subprocess.Popen[bytes]) -> int:
    assert keeper.stdout is not None
    told = json.loads(keeper.stdout.readline() or b"{}")
    if "pid" not in told:
        raise UsageError(str(told.get("error", "the server cannot be started")), "give --serve a program on the PATH")
    return int(told["pid"])


def _wait(served: Served, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not asyncio.run(_ready(served.url)):
        if death := served.ended():
            said = f": {death.said}" if death.said else ""
            how = f"{death.how.removeprefix('died: ')}{said}"
            raise IpwError(f"{WHAT} ended before it was ready, {how}", "does the command work by itself?")
        if time.monotonic() > deadline:
            said = f": {words}" if (words := served.last_words()) else ""
            raise IpwError(
                f"{WHAT} is not ready after {timeout_s:g} s{said}",
                "give it more time with --serve-timeout",
            )
        time.sleep(ASK_EVERY_S)


async def _ready(url: ServerUrl) -> bool:
    """Whether the server answers questions by now.

    Some list their models while they still load, but say so at /health; some know no such place.
    """
    try:
        async with asyncio.timeout(ASK_S), Transport(url._replace(path="")) as transport:
            health, _ = await get(transport, "/health")
            if health == 200 or health >= 500:
                return health == 200
            status, _ = await get(transport, f"{url.path}/models")
            return status == 200
    except (OSError, HttpError):  # TimeoutError is an OSError
        return False


def _last_words(log: IO[bytes], key: str | None) -> str:
    """The last lines of the server's log as one printable line, without the key."""
    size = log.seek(0, 2)
    log.seek(max(size - TAIL_BYTES, 0))
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    text = without_secrets(without_key(key, " | ".join(lines[-TAIL_LINES:])))
    return "".join(c if c.isprintable() else " " for c in text)[-MOST_TAIL:]


def _stop(keeper: subprocess.Popen[bytes], group: int | None) -> None:
    """Let the keeper end the server, or where it was killed, do it."""
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.close()
    try:
        keeper.wait(GRACE_S + ORPHANS_S + 3)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    if keeper.returncode < 0 and group is not None:
        end_group(group, GRACE_S)
    keeper.stdout.close()
