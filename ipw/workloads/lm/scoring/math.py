"""Scores mathematical answers by what they mean, however written: 1/2 is 0.5."""

from __future__ import annotations

import json
import selectors
import subprocess
from typing import Self

from ipw.processes import environment, python
from ipw.workloads.lm.scoring.answers import Scored, require_math

LONGEST = 20_000
"""Characters from the end of a response that are looked at: the answer is there."""
PATIENCE_S = 15.0
"""With one answer; an answer over which the worker is still busy then is wrong."""
START_S = 60.0


class MathScorer:
    """Asks a worker in a process of its own, and replaces it where an answer keeps it too long or brings it down."""

    def __init__(self) -> None:
        require_math()
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, response: str, *answers: str) -> Scored:
        """Score one response; any of the answers is right."""
        best = Scored(0.0, parsed=False)
        for answer in answers:
            mine = self._compared(response, answer)
            if mine.score:
                return mine
            best = mine if mine.parsed else best
        return best

    def _compared(self, response: str, answer: str) -> Scored:
        fresh = self._process is None
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([answer, response[-LONGEST:]]).encode() + b"\n")
            process.stdin.flush()
        except OSError:  # it died
            self.close()
            return Scored(0.0, parsed=False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(START_S if fresh else PATIENCE_S)
        line = process.stdout.readline() if ready else b""
        if not line:
            self.close()
            return Scored(0.0, parsed=False)
        score, parsed = json.loads(line)
        return Scored(score, parsed)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            python("ipw.workloads.lm.scoring.math_worker"),
            env=environment(secrets=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self._process

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
