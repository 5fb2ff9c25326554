"""The CI check: a verdict on two sets of runs."""

from ipw.gate.verdict import GateError, Verdict, judge

__all__ = ["GateError", "Verdict", "judge"]
