"""Children that run a module of ipw: how they are started, and what they may import."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

from ipw.secrets_out import is_secret
from ipw.variables import JUDGE_KEY, OPENAI_KEY

ROOT = str(Path(__file__).parents[1])
"""Where this process found ipw."""
KEYS = {OPENAI_KEY, JUDGE_KEY}
BOOT = (
    "import sys, json, runpy; _, module, paths = sys.argv[:3]; sys.path += json.loads(paths); del sys.argv[1:3]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def python(module: str, *arguments: str) -> list[str]:
    """Make the command that runs a module of ipw in a child, to be started with `environment()`.

    The child imports nothing from the working directory, or from the folder of the program that starts it, whatever
    lies there. What else this process finds, it finds too, behind its own. The environment does not carry the paths: a
    server that the child starts may be of another Python.
    """
    begun_in = set() if sys.flags.safe_path else set(sys.path[:1])
    found = [path for path in sys.path if Path(path).is_absolute() and path not in begun_in]
    paths = list(dict.fromkeys([*found, ROOT]))
    return [sys.executable, "-P", "-c", BOOT, module, json.dumps(paths), *arguments]


def environment(*, keys: Collection[str] = (), secrets: bool = True) -> dict[str, str]:
    """Make the environment of such a child, without the keys of servers but those that it is to have.

    A child that only computes gets no `secrets` of others either: one that loads a model may need the hub's token, and
    one that reads sensors a meter's password.

    An empty entry of PYTHONPATH would be the working directory, and is mostly there by accident: it is left out.
    """
    found = {name: value for name, value in os.environ.items() if name in keys or name not in KEYS}
    if not secrets:
        found = {name: value for name, value in found.items() if not is_secret(name, value)}
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = os.pathsep.join(path for path in found["PYTHONPATH"].split(os.pathsep) if path)
    return found
