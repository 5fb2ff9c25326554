"""When to read: on a fixed cadence, or around the moments at which a counter is about to tick.

Everything here is a function of the times it is told, so that a simulated clock drives it as well as the real one.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

MS = 1_000_000
HUNT_STEP_NS, HUNT_LIMIT_NS, HUNT_TICKS = 3 * MS // 2, 1_500 * MS, 5
"""While it looks for the ticks: time between reads, how long it looks, how many ticks are enough."""
SHORTEST_PERIOD_NS = 5 * MS
"""A counter that ticks faster is read on a cadence: its next tick is never far."""
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 1_000 * MS, 512_000 * MS
"""From a hunt in vain to the next one; doubled every time."""
STEADY_TICKS = 64
"""After so many ticks, ticks that are lost are hunted at once."""
LOST_AFTER = 3
"""This many ticks missed in a row, and it no longer follows."""
MEMORY = 8
"""How many ticks the line through them, and the means of errors, remember."""
SMALLEST_GUARD_NS, LARGEST_STEP_NS = 3 * MS // 4, 3 * MS
WIDENED, NARROWED = 0.5, 0.995
"""A missed tick adds this share of the guard to its margin, a seen one leaves this much of the margin: where ticks
jitter, about one in a hundred is missed."""


class Cadence:
    """Every `period_ns` on a grid that does not drift; what a stall swallowed is left out."""

    def __init__(self, start_ns: int, period_ns: int) -> None:
        self.due_ns = start_ns
        self.slack_ns = period_ns // 4
        """How much earlier than due a read does as well, when the process is awake anyway."""
        self._period_ns = period_ns

    def advance(self, now_ns: int) -> None:
        """Move on, after a read at `now_ns`, to the first moment of the grid for which it was too early."""
        behind_ns = max(now_ns - self.due_ns + self.slack_ns, 0)
        self.due_ns += (behind_ns // self._period_ns + 1) * self._period_ns


class TickFollower:
    """Learns the period and phase of a counter's ticks, then reads once shortly before each and once shortly after.

    It hunts (reads every 1.5 ms) until it has seen a few ticks, then follows them. Phase and period are those of the
    recursive least-squares line through the last ticks. The first read lies the guard before the expected tick and the
    second half as much after it, so that an estimate which is off shows itself on the late side, where one more read
    finds the tick, and not on the early side, where its moment is lost. The guard covers how far ticks stray from the
    estimate and how late the process wakes; a tick that came before it is counted as missed and widens it. Three in a
    row, or no ticks at all: it rests on the channel's cadence and hunts again later.
    """

    def __init__(self, start_ns: int, poll_ns: int) -> None:
        self.period_ns: float | None
        """`None` while it does not follow."""
        self.ticks = self.missed = 0
        self.bracket_ns = 0.0
        """Half of the time between the read before a tick and the read after it: the mean over all that were seen."""
        self._poll_ns = poll_ns
        self._pause_ns = FIRST_PAUSE_NS
        self._last_ns: int | None = None
        self._hunt(start_ns)

    @property
    def resting(self) -> bool:
        """Whether it neither follows nor looks for ticks."""
        return self.period_ns is None and self._seen is None

    def observe(self, t_ns: int, changed: bool) -> None:
        """Take note of a read, and plan the next."""
        last_ns, self._last_ns = self._last_ns, t_ns
        if last_ns is None:
            self.due_ns = t_ns + HUNT_STEP_NS
        elif self.period_ns is not None:
            self._follow(last_ns, t_ns, changed, self.period_ns)
        elif self._seen is not None:
            self._look(last_ns, t_ns, changed, self._seen)
        else:
            self._rest(t_ns, changed)

    # --- hunting ----------------------------------------------------------------------------------------------------

    def _hunt(self, t_ns: int) -> None:
        self.period_ns = None
        self._seen: list[float] | None = []
        self._give_up_ns = t_ns + HUNT_LIMIT_NS
        self.due_ns, self.slack_ns = t_ns, HUNT_STEP_NS // 4

    def _look(self, last_ns: int, t_ns: int, changed: bool, seen: list[float]) -> None:
        self.due_ns = t_ns + HUNT_STEP_NS
        if changed:
            seen.append(self._bracketed(last_ns, t_ns))
            if len(seen) > 1:  # the next one is not to be expected soon
                self.due_ns = max(self.due_ns, int(seen[-1] + 0.75 * (seen[-1] - seen[-2])))
        if len(seen) == HUNT_TICKS:
            self._learn(t_ns, seen)
        elif t_ns >= self._give_up_ns:
            self._give_up(t_ns)

    def _learn(self, t_ns: int, seen: list[float]) -> None:
        gaps = [after - before for before, after in pairwise(seen)]
        period = median(gaps)
        if period < SHORTEST_PERIOD_NS or sum(abs(gap - period) > period / 4 for gap in gaps) > 1:
            self._give_up(t_ns)
            return
        self.period_ns = period
        self._learned_from, self._learned_at, self._missed_in_row = HUNT_TICKS, self.ticks, 0
        self._stray_ns, self._late_ns, self._margin_ns = HUNT_STEP_NS / 2, 0.0, 0.0
        self._expect(seen[-1] + period, t_ns, period)

    # --- following --------------------------------------------------------------------------------------------------

    def _expect(self, tick_ns: float, t_ns: int, period: float) -> None:
        """Plan the first read before the first expected tick that is still to come."""
        guard = SMALLEST_GUARD_NS + 2 * (self._stray_ns + self._late_ns) + self._margin_ns
        self._guard_ns = guard = min(guard, period / 4)
        behind = t_ns - (tick_ns - guard)
        if behind >= 0:
            skipped = int(behind // period) + 1
            self.missed += skipped
            tick_ns += skipped * period
        self._expected_ns, self._before = tick_ns, True
        self.due_ns, self.slack_ns = int(tick_ns - guard), int(min(guard, LARGEST_STEP_NS) / 2)

    def _follow(self, last_ns: int, t_ns: int, changed: bool, period: float) -> None:
        if self._before:
            self._late_ns += (min(max(t_ns - self.due_ns, 0), period) - self._late_ns) / MEMORY
        if changed and self._before:  # it ticked, or we woke, before or after its time
            self._miss(min(self._expected_ns, t_ns - self._guard_ns / 2), t_ns, period)
        elif changed and t_ns - last_ns > period / 2:  # it woke so late that nothing is learned
            self._miss(self._expected_ns, t_ns, period)
        elif changed:
            tick_ns = self._bracketed(last_ns, t_ns)
            stray_ns = max(abs(tick_ns - self._expected_ns) - (t_ns - last_ns) / 2, 0.0)
            self._stray_ns += (stray_ns - self._stray_ns) / MEMORY
            self._missed_in_row = 0
            self._margin_ns *= NARROWED
            self._correct(tick_ns, t_ns, period)
        elif t_ns > self._expected_ns + period / 2:
            self._miss(self._expected_ns, t_ns, period)
        else:
            wait_ns = self._expected_ns + self._guard_ns / 2 - t_ns if self._before else 1.5 * self._guard_ns
            wait_ns = int(min(max(wait_ns, SMALLEST_GUARD_NS), LARGEST_STEP_NS))
            self.due_ns, self.slack_ns = t_ns + wait_ns, wait_ns // 4
            self._before = False

    def _correct(self, tick_ns: float, t_ns: int, period: float) -> None:
        """Take a tick into the line through the last ticks (an alpha-beta filter of growing, then constant memory)."""
        n = self._learned_from = min(self._learned_from + 1, MEMORY)
        error = tick_ns - self._expected_ns
        phase_gain, period_gain = 2 * (2 * n - 1) / (n * (n + 1)), 6 / (n * (n + 1))
        self.period_ns = period + period_gain * error
        self._expect(self._expected_ns + phase_gain * error + self.period_ns, t_ns, self.period_ns)

    def _miss(self, guess_ns: float, t_ns: int, period: float) -> None:
        self.missed += 1
        self._missed_in_row += 1
        if self._missed_in_row < LOST_AFTER:
            self._margin_ns = min(self._margin_ns + WIDENED * self._guard_ns, period / 4)
            self._correct(guess_ns, t_ns, period)
        elif self.ticks - self._learned_at < STEADY_TICKS:
            self._give_up(t_ns)
        else:  # it followed well, so the ticks are there
            self._pause_ns = FIRST_PAUSE_NS
            self._hunt(t_ns)

    def _bracketed(self, last_ns: int, t_ns: int) -> float:
        self.ticks += 1
        self.bracket_ns += ((t_ns - last_ns) / 2 - self.bracket_ns) / self.ticks
        return (last_ns + t_ns) / 2

    # --- resting ----------------------------------------------------------------------------------------------------

    def _give_up(self, t_ns: int) -> None:
        self._seen = self.period_ns = None
        self._resume_ns = t_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
        self.due_ns, self.slack_ns = t_ns + self._poll_ns, self._poll_ns // 4

    def _rest(self, t_ns: int, changed: bool) -> None:
        self.due_ns = t_ns + self._poll_ns
        if changed and t_ns >= self._resume_ns:
            self._hunt(t_ns)
