"""Compares mathematical answers with math-verify, in a process that may be killed: answers are anybody's text.

Reads `[answer, response]` as JSON, a pair a line, and writes for each `[score, parsed]`.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

MEMORY_BYTES = 2 << 30
SECONDS = 3
"""Of each step of math-verify, which keeps it by a signal; what no signal ends, the parent does."""


def main() -> None:
    """Answer line by line until the input ends."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from math_verify import parse, verify

    for line in sys.stdin:
        answer, response = json.loads(line)
        try:
            gold = parse(f"\\boxed{{{answer}}}", parsing_timeout=SECONDS) or parse(answer, parsing_timeout=SECONDS)
            given = parse(response, parsing_timeout=SECONDS)
            right = bool(given) and bool(verify(gold, given, timeout_seconds=SECONDS))
            verdict = [float(right), bool(given)]
        except Exception:  # noqa: BLE001 (sympy raises anything; what cannot be compared is not right)
            verdict = [0.0, False]
        print(json.dumps(verdict), flush=True)  # noqa: T201 (the answer to the parent)


if __name__ == "__main__":
    main()
