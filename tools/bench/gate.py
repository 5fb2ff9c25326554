"""How often gates cry wolf and how often they sleep, in simulated sessions of known truth.

    python tools/bench/gate.py [--sessions 4000]

A measurement is, as a log, the sum of what its job brought, of a slow AR(1) (0.9 from one repetition to the next), of
a linear drift over the job, of its server's start, of its own noise, and now and then of a spike. The standard
deviations are of hosted runners, bare metal and an assumed GPU box with unlocked clocks; starts differ by 0.5 %, a
spike slows by 15 % on average. Ours runs 10 pairs in one job in the order A B, B A, …; the others compare with a run
that was stored in another job, ten repetitions each, in the way in which they are shipped. Their rules are short
versions of our own: criterion's bootstrap is taken as Student's t. "A gate" is 3 metrics x 5 cases of which nothing
changed, and its column says how often any of the 15 is called.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

import numpy as np
import numpy.typing as npt

from ipw.gate.accuracy import judge_accuracy
from ipw.gate.family import decide, stage_alpha
from ipw.gate.verdict import Verdict, judge
from ipw.metrics.distributions import t_quantile

Floats = npt.NDArray[np.float64]
PAIRS, CASES, MARGIN, ALPHA = 10, 15, 0.02, 0.05
START_SD, SPIKE = 0.005, 0.15
EFFECTS = (0.0, MARGIN, 0.05)


class Runner(NamedTuple):
    """Standard deviations of logs, and how often a repetition is held up."""

    job: float
    slow: float
    repetition: float
    drift: float
    spikes: float


RUNNERS = {
    "hosted runner": Runner(0.0266, 0.012, 0.010, 0.010, 0.02),
    "bare metal": Runner(0.0056, 0.003, 0.006, 0.004, 0.01),
    "GPU box": Runner(0.015, 0.006, 0.012, 0.020, 0.01),
}


def job(rng: np.random.Generator, runner: Runner, sessions: int, repetitions: int) -> Floats:
    """Logs of so many repetitions one after the other in one job, a session a row."""
    shocks = rng.standard_normal((sessions, repetitions))
    slow = np.empty_like(shocks)
    slow[:, 0] = shocks[:, 0]
    for i in range(1, repetitions):
        slow[:, i] = 0.9 * slow[:, i - 1] + np.sqrt(1 - 0.9**2) * shocks[:, i]
    drift = rng.standard_normal((sessions, 1)) * np.linspace(-1, 1, repetitions)
    spikes = (rng.random(shocks.shape) < runner.spikes) * rng.exponential(SPIKE, shocks.shape)
    own = runner.repetition * rng.standard_normal(shocks.shape)
    return runner.job * rng.standard_normal((sessions, 1)) + runner.slow * slow + runner.drift * drift + own + spikes


def interleaved(
    rng: np.random.Generator, runner: Runner, sessions: int, starts: int, effect: float, pairs: int = PAIRS
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Log-ratios of sessions of pairs in one job, A B then B A, and the start of each pair."""
    logs = job(rng, runner, sessions, 2 * pairs)
    start = np.arange(pairs) * starts // pairs
    swapped = np.arange(pairs) % 2
    base, candidate = logs[:, 2 * np.arange(pairs) + swapped], logs[:, 2 * np.arange(pairs) + 1 - swapped]
    brought = START_SD * rng.standard_normal((2, sessions, starts))
    return candidate + brought[1][:, start] - base - brought[0][:, start] + np.log1p(effect), start


def ours(rng: np.random.Generator, runner: Runner, sessions: int, starts: int, effect: float) -> list[Verdict]:
    """Judge each session by its pairs."""
    ratios, start = interleaved(rng, runner, sessions, starts, effect)
    return [judge(each, start, margin=MARGIN, start_sd=START_SD, alpha=ALPHA) for each in ratios]


# --- the others' rules: milliseconds of two stored jobs to "is called a regression" ----------------------------------

Rule = Callable[[Floats, Floats], npt.NDArray[np.bool_]]


def benchmark_mean(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """pytest-benchmark, --benchmark-compare-fail=mean:5%."""
    return np.asarray(candidate.mean(axis=1) > 1.05 * base.mean(axis=1))


def benchmark_min(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """pytest-benchmark, --benchmark-compare-fail=min:5%."""
    return np.asarray(candidate.min(axis=1) > 1.05 * base.min(axis=1))


def pyperf(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """Student's t of two samples, both sides at 95 %: significant, and slower."""
    return np.asarray(_t(base, candidate) > t_quantile(0.025, 2 * PAIRS - 2))


def criterion(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """Significant at 5 %, and the interval of the change wholly beyond the noise threshold of 2 %."""
    change = candidate.mean(axis=1) / base.mean(axis=1) - 1
    half = t_quantile(0.025, 2 * PAIRS - 2) * _standard_error(base, candidate) / base.mean(axis=1)
    return np.asarray((_t(base, candidate) > t_quantile(0.025, 2 * PAIRS - 2)) & (change - half > MARGIN))


def action_150(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """github-action-benchmark, alert-threshold 150 %."""
    return np.asarray(candidate.mean(axis=1) > 1.5 * base.mean(axis=1))


def action_200(base: Floats, candidate: Floats) -> npt.NDArray[np.bool_]:
    """github-action-benchmark, alert-threshold 200 % (the default)."""
    return np.asarray(candidate.mean(axis=1) > 2 * base.mean(axis=1))


def _standard_error(base: Floats, candidate: Floats) -> Floats:
    return np.asarray(np.sqrt((base.var(axis=1, ddof=1) + candidate.var(axis=1, ddof=1)) / PAIRS))


def _t(base: Floats, candidate: Floats) -> Floats:
    return np.asarray((candidate.mean(axis=1) - base.mean(axis=1)) / _standard_error(base, candidate))


OTHERS: dict[str, Rule] = {
    "pytest-benchmark mean:5%": benchmark_mean,
    "pytest-benchmark min:5%": benchmark_min,
    "pyperf, t test": pyperf,
    "criterion, noise 2 %": criterion,
    "github-action-benchmark 150 %": action_150,
    "github-action-benchmark 200 %": action_200,
}


def theirs(rng: np.random.Generator, rule: Rule, runner: Runner, sessions: int, effect: float) -> npt.NDArray[np.bool_]:
    """Call each of so many comparisons of a new job with a stored one."""
    logs = [job(rng, runner, sessions, PAIRS) + START_SD * rng.standard_normal((sessions, 1)) for _ in range(2)]
    return rule(np.exp(logs[0]), np.exp(logs[1] + np.log1p(effect)))


# --- tables -----------------------------------------------------------------------------------------------------------


def share(called: object) -> str:
    """Write a share of cases in percent."""
    return f"{100 * float(np.mean(np.asarray(called, np.float64))):6.2f}"


def our_row(rng: np.random.Generator, runner: Runner, sessions: int, starts: int) -> list[str]:
    """No change (one judgement, a gate, a gate under Holm, called ok), the margin's boundary, and +5 %."""
    same = ours(rng, runner, sessions * CASES, starts, 0.0)
    gates = [dict(enumerate(same[i * CASES : (i + 1) * CASES])) for i in range(sessions)]
    decided = [decide(gate, gating=list(gate), alpha=ALPHA).verdict == "regressed" for gate in gates]
    called = np.array([v.verdict == "regressed" for v in same])
    at = [v.verdict for v in ours(rng, runner, sessions, starts, MARGIN)]
    slower = ours(rng, runner, sessions, starts, 0.05)
    found = [v.verdict == "regressed" for v in slower]
    among = [v.p_regressed < ALPHA / CASES for v in slower]
    return [
        *(share(x) for x in (called, called.reshape(sessions, CASES).any(axis=1), decided)),
        *(share([v.verdict == "ok" for v in same]), share([v == "regressed" for v in at])),
        *(share([v == "ok" for v in at]), share(found), share(among)),
    ]


def their_row(rng: np.random.Generator, rule: Rule, runner: Runner, sessions: int) -> list[str]:
    """The same for a rule that knows no family and no margin of its own; "-" where it has nothing to say."""
    same = theirs(rng, rule, runner, sessions * CASES, 0.0)
    at, found = (share(theirs(rng, rule, runner, sessions, effect)) for effect in EFFECTS[1:])
    gate = share(same.reshape(sessions, CASES).any(axis=1))
    return [share(same), gate, *["     -"] * 2, at, "     -", found, "     -"]


HEAD = ["no change", "any of 15", "… Holm", "ok", "at margin", "at m.: ok", "+5 %", "+5 %, Holm"]


def two_looks(rng: np.random.Generator, runner: Runner, sessions: int, effect: float) -> tuple[float, float]:
    """Percent of sessions in which one changed cell of 15 is called: 10 pairs, 20 more if open; and the mean pairs."""
    ratios, start = interleaved(rng, runner, sessions, 9, effect, 3 * PAIRS)
    called, pairs = 0, 0
    for each in ratios:
        look, alpha = (
            judge(each[:PAIRS], start[:PAIRS], margin=MARGIN, start_sd=START_SD, alpha=stage_alpha(ALPHA, 0)),
            0,
        )
        pairs += PAIRS
        if look.verdict == "inconclusive" or CASES * look.p_regressed > stage_alpha(ALPHA, 0) > look.p_regressed:
            look, alpha = judge(each, start, margin=MARGIN, start_sd=START_SD, alpha=stage_alpha(ALPHA, 1)), 1
            pairs += 2 * PAIRS
        called += CASES * look.p_regressed < stage_alpha(ALPHA, alpha)
    return 100 * called / sessions, pairs / sessions


def accuracy_rows(rng: np.random.Generator, sessions: int) -> None:
    """Print how often a loss of two points is found, with 6 % of the items turning right or wrong."""
    print(
        f"\naccuracy, 6 % of items differ, margin 2 points: called regressed, %{'':8}{'-2 points':>12}{'no loss':>12}"
    )
    for n in (200, 500, 1000, 2000):
        rates = []
        for loss in (0.02, 0.0):
            called = 0
            for _ in range(sessions):
                turned = rng.multinomial(n, [0.03 + loss / 2, 0.03 - loss / 2, 0.94])
                base, candidate = np.ones(n), np.ones(n)
                candidate[: turned[0]] = 0
                base[turned[0] : turned[0] + turned[1]] = 0
                called += judge_accuracy(base, candidate, margin_points=2, alpha=ALPHA).verdict == "regressed"
            rates.append(100 * called / sessions)
        print(f"  n = {n:5d}{'':52}{rates[0]:12.1f}{rates[1]:12.1f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=4000)
    sessions = parser.parse_args().sessions
    began = time.perf_counter()
    rng = np.random.default_rng(2026)
    print(f"called a regression, % of {sessions} sessions (margin 2 %, alpha 5 %)")
    for name, runner in RUNNERS.items():
        print(f"\n{name:32}" + "".join(f"{each:>12}" for each in HEAD))
        for starts in (1, 3):
            row = our_row(rng, runner, sessions, starts)
            print(
                f"  ipw, {starts} start{'s' if starts > 1 else ''} an arm".ljust(32) + "".join(f"{x:>12}" for x in row)
            )
        for rule_name, rule in OTHERS.items():
            row = their_row(rng, rule, runner, sessions)
            print(f"  {rule_name}".ljust(32) + "".join(f"{x:>12}" for x in row), flush=True)
    print("\nipw, two looks (10 pairs in 3 starts, then 20 in 6 more if open), one changed cell of 15 under Holm")
    for name, runner in RUNNERS.items():
        for effect in (0.0, 0.03, 0.05):
            called, pairs = two_looks(rng, runner, sessions, effect)
            print(f"  {name:20} +{100 * effect:.0f} %: called in {called:5.1f} %, {pairs:.0f} pairs on average")
    accuracy_rows(rng, sessions)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
