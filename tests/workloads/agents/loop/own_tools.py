"""Tools of the tests: what a user would write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal


def add(a: int, b: int, sign: Literal["+", "-"] = "+") -> int:
    """Add two numbers.

    And no more is told to the model.
    """
    sys.stdout.write("this is no result\n")
    return a + b if sign == "+" else a - b


def fails(why: str) -> str:
    raise ValueError(why)


def sleeps(folder: str) -> str:
    """Start a process of its own, tell both, and sleep."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(folder, "pids").write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return "late"


def secret() -> str:
    return os.environ.get("OPENAI_API_KEY", "none") + os.environ.get("MY_TOOL_TOKEN", "none")


def talks() -> str:
    return "x" * (1 << 20)


def dies() -> str:
    os.kill(os.getpid(), 9)
    return "never"


def star(*numbers: int) -> int:
    return sum(numbers)
