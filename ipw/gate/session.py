"""A comparison under way: pairs are measured until validity, the budget or the verdicts end it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ipw.gate.calibration import Calibrated
from ipw.gate.comparable import check_session, invalid
from ipw.gate.family import Decision, decide, stage_alpha
from ipw.gate.interleave import Arms, Start, measure, plan
from ipw.gate.judging import check_metrics, judge_rules, log_ratios
from ipw.gate.load import told_only
from ipw.gate.observed import Observed
from ipw.gate.policy import Policy
from ipw.gate.settle import Settle
from ipw.metrics.validity.check import Check
from ipw.workloads.base import NOBODY, Audience

LEAST_PAIRS = 2
SECOND_STAGE = 2
"""The second look may take so many times the pairs of the first."""


@dataclass(slots=True)
class Session:
    """A comparison under way, and what has come of it so far."""

    arms: Arms
    policy: Policy
    out: Path
    known: Calibrated
    budget_s: float | None
    say: Callable[[str], None]
    audience: Audience = NOBODY
    observed: list[Observed] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    decision: Decision[str] | None = None
    stages: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def pairs(self) -> int:
        """How many are done."""
        return len(self.observed) // 2

    def out_of_time(self) -> bool:
        """Whether one more pair would go beyond the budget; two are always measured."""
        if self.budget_s is None or self.pairs < LEAST_PAIRS:
            return False
        spent = time.monotonic() - self.began
        return spent * (1 + 1 / self.pairs) > self.budget_s


def measure_and_judge(session: Session, pairs: int, starts: int, seed: int | None, settle: Settle) -> None:
    """Take a first look, and where it does not decide and there is time, a second one at the rest of alpha."""
    if settle.warms:
        session.say("one pair to warm up, which is not counted")
        with closing(
            measure(
                session.arms, plan(1, 1), session.out / "warm-up", before_each=lambda: None, audience=session.audience
            )
        ) as warm:
            next(warm)
    for stage, more in enumerate((pairs, SECOND_STAGE * pairs)):
        planned = plan(more, starts, after=session.starts, seed=seed)
        if not _measure(session, planned, settle):
            session.decision = None
            return
        alpha = stage_alpha(session.policy.alpha, stage)
        verdicts = judge_rules(session.observed, session.policy.rules, session.known.start_sd, alpha)
        gating = [rule.metric for rule in session.policy.rules if rule.gates]
        session.decision = decide(verdicts, gating=gating, alpha=alpha, before=session.decision)
        session.stages = stage + 1
        # Asking the same questions again tells nothing more about accuracy.
        points = {rule.metric for rule in session.policy.rules if rule.points}
        worth_more = any(name in gating and name not in points for name in session.decision.undecided)
        if session.decision.verdict != "inconclusive" or not worth_more or session.out_of_time():
            return


def _measure(session: Session, planned: Sequence[Start], settle: Settle) -> bool:
    """Measure what is planned as long as there is time; whether all of it can be judged.

    Validity is asked after every pair, so that runs that cannot be compared cost no more time.
    """
    total = session.pairs + sum(len(start.pairs) for start in planned)
    session.starts += planned
    with closing(
        measure(session.arms, planned, session.out, before_each=settle, audience=session.audience)
    ) as measured:
        for observed in measured:
            session.observed += observed
            session.known.check_basis(observed[0].manifest.get("basis"))
            session.checks = _checks(session)
            if invalid(session.checks):
                return False
            session.say(f"pair {session.pairs} of {total}: {_pair_text(session)}")
            if session.out_of_time():
                break
    return True


def _checks(session: Session) -> list[Check]:
    policy = session.policy
    checks = check_session(session.observed, policy.equal, policy.allow | told_only(policy.rules))
    # A run that is not valid may lack metrics for that reason, which is then the one to tell.
    return checks if invalid(checks) else [*checks, check_metrics(session.observed, policy.rules)]


def _pair_text(session: Session) -> str:
    told = []
    for rule in session.policy.rules:
        ratios = None if rule.points else log_ratios(session.observed[-2:], rule.metric)
        told += [f"{rule.metric} {100 * math.expm1(ratios[0][0]):+.1f} %"] if ratios else []
    return ", ".join(told) or "done"
