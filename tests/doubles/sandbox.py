"""Linux as containers, sandboxes and telephones show it: files of /proc and /sys with other content, another user."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest


@cache
def permitted() -> bool:
    """Whether this kernel lets us have namespaces of our own."""
    probe = ["unshare", "-rm", "sh", "-c", "mount --bind /proc/version /proc/meminfo"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run_in(
    folder: Path, command: Sequence[str], shown: Mapping[str, bytes | None], user: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command where `shown` stands in place of files, or an empty folder (`None`) in place of folders.

    `user` is a number that the process takes for its own. An empty variable is taken away. Skips the test where the
    kernel does not permit this.
    """
    if not permitted():
        pytest.skip("this kernel permits no namespaces")
    lines = ["set -e"]
    for number, (place, content) in enumerate(shown.items()):
        source = folder / f"shown{number}"
        if content is None:
            source.mkdir()
        else:
            source.write_bytes(content)
        lines.append(f"mount --bind {shlex.quote(str(source))} {place}")
    as_whom = [] if user is None else ["unshare", f"--map-user={user}", f"--map-group={user}"]
    lines.append(f"exec {shlex.join([*as_whom, *command])}")
    environment = {k: v for k, v in (os.environ | variables).items() if v}
    return subprocess.run(
        ["unshare", "-rm", "bash", "-c", "\n".join(lines)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
