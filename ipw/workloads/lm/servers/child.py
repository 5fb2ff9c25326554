"""A model server of ipw's own, in a process of its own that ends with this one.

The module that serves takes one JSON object as its argument, prints one line, `{"url": …}` and what it knows of the
model, or `{"error": …}`, and serves until its standard input closes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ipw.errors import IpwError
from ipw.processes import environment, python
from ipw.workloads.lm.servers.outage import Outage, death_of, exit_text

STOP_S = 3


class Child(NamedTuple):
    """A server that runs."""

    greeting: dict[str, Any]
    pid: int
    ended: Callable[[], Outage | None]
    """Says how it has ended by itself; `None` while it runs."""


@contextmanager
def child_server(module: str, options: Mapping[str, Any], what: str) -> Iterator[Child]:
    """Start `module` with `options`. `what` names it in errors. The thread that enters has to outlive the server.

    Raises IpwError where it does not come up.
    """
    child = subprocess.Popen(
        python(module, json.dumps(options)),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which then puts the server away
    )
    try:
        yield Child(_greeting(child, what), child.pid, lambda: _ended(child, what))
    finally:
        _stop(child)


def _greeting(child: subprocess.Popen[bytes], what: str) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()  # ends when the child does
    try:
        greeting: dict[str, Any] = json.loads(line)
    except ValueError:
        raise IpwError(
            f"{what} ended while it loaded the model ({exit_text(child.wait(STOP_S))})",
            "is there enough memory for the model and its context?",
        ) from None
    if "error" in greeting:
        raise IpwError(f"{what} cannot load the model: {greeting['error']}", "is it a model for text generation?")
    return greeting


def _ended(child: subprocess.Popen[bytes], what: str) -> Outage | None:
    code = child.poll()
    return None if code is None else death_of(what, code)


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
