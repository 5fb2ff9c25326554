"""Runs ipw on a machine whose clock is ahead and drifts: `python -m doubles.drifting AHEAD_S DRIFT ARGUMENTS…`."""

from __future__ import annotations

import sys
import time


def main() -> None:
    ahead_ns, drift = int(float(sys.argv[1]) * 1e9), float(sys.argv[2])
    began_ns = time.monotonic_ns()

    def drifting_ns() -> int:
        now = time.monotonic_ns()
        return now + ahead_ns + int(drift * (now - began_ns))

    import ipw.clock  # before anything takes its clock from there

    ipw.clock.now_ns = drifting_ns  # type: ignore[assignment]
    from ipw.cli import main as ipw_main

    sys.argv[1:] = sys.argv[3:]
    ipw_main()


if __name__ == "__main__":
    main()
