"""Runs the tests that failed once more, one at a time and alone; says which of them failed beside others only.

python tools/again.py

A test that passes here depends on how busy the machine is. That is a flaw of the test, and it is told. Where
more than `FEW` failed, none is tried again: a busy machine alone does not do that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FEW = 3
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Give 0 where all that failed pass now."""
    failed = sorted(json.loads(FAILED.read_text())) if FAILED.is_file() else []
    if not 0 < len(failed) <= FEW:
        print(f"error: {len(failed)} tests are on record as failed; at most {FEW} are tried again", file=sys.stderr)
        return 1
    bad = [name for name in failed if not passes(name)]
    print("failed beside other tests, pass alone:", *[name for name in failed if name not in bad])
    if bad:
        print("error: fail alone too:", *bad, file=sys.stderr)
    return 1 if bad else 0


def passes(name: str) -> bool:
    """Whether a test passes in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", name]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
