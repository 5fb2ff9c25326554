"""When to read: on a fixed cadence, or around the moments at which a counter is about to tick.

Everything here is a function of the times it is told, so that a simulated clock drives it as well as the real one.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from operator import mul

MS = 1_000_000
HUNT_STEP_NS, HUNT_LIMIT_NS = 2 * MS, 1_500 * MS
"""While it looks for the ticks: time between reads, and how long it looks."""
HELD_UP_NS = 50 * MS
"""After a read that is later than this it begins to look anew."""
FEWEST_TICKS, ENOUGH_TICKS = 3, 5
"""So many ticks tell the period if the gaps between them agree; of so many, one gap may differ."""
SHORTEST_PERIOD_NS = 5 * MS
"""A counter that ticks faster is read on a cadence: its next tick is never far."""
FIRST_PAUSE_NS, LONGEST_PAUSE_NS = 1_000 * MS, 512_000 * MS
"""From a hunt in vain to the next one; doubled every time."""
STEADY_TICKS = 64
"""After so many ticks, ticks that are lost are hunted at once."""
LOST_AFTER = 3
"""This many ticks missed in a row, and it no longer follows."""
MEMORY = 8
"""How many watched ticks the line through them, and the means of errors, remember."""
SMALLEST_GUARD_NS, LARGEST_STEP_NS = 3 * MS // 4, 3 * MS
WIDENED, NARROWED, MOST_NARROWED = 0.5, 0.995, 8
"""A missed tick adds this share of the guard to its margin; a watched one leaves this much of the margin for each tick
since the last, but for so many at most. Where ticks jitter, about one in a hundred is missed."""
TRUSTED_NS = MS
"""A watched tick that strayed less from where the line had it lets more ticks pass unwatched before the next."""
SOUGHT = 6
"""So many guards after its time a tick is given up."""
PATIENCE_NS = 2 * MS // 5
"""So much later than due a read at an exact moment does as well."""
ALIKE_NS = MS // 100
"""Reads that would move by less than this stay where they are."""
NEVER = 1 << 62


class Cadence:
    """About every `period_ns`: when the process is awake anyway, else a little later."""

    def __init__(self, start_ns: int, period_ns: int, leeway_ns: int = 0) -> None:
        self.due_ns = start_ns
        self.slack_ns = 0
        """How much earlier than due a read does as well."""
        self._period_ns, self._leeway_ns = period_ns, leeway_ns

    def advance(self, now_ns: int) -> None:
        """Plan the read after the one at `now_ns`."""
        self.due_ns = now_ns + self._period_ns + self._leeway_ns
        self.slack_ns = 6 * self._leeway_ns // 10


class TickFollower:
    """Learns the period and phase of a counter's ticks, then reads once between ticks and twice around a watched one.

    It hunts (reads every few milliseconds) until it has seen a few ticks, then follows them. Phase and period are those
    of the least-squares line through the last watched ticks. There is one read after each tick and before the next, so
    that the value of every tick is known. Before a tick that is watched, that read lies the guard before the expected
    moment, and another at that moment, so that an estimate which is off shows itself on the late side, where one more
    read finds the tick, and not on the early side, where its moment is lost. The guard covers how far ticks stray from
    the estimate and how late the process wakes; a tick that came before it is counted as missed and widens it. Three in
    a row, or no ticks at all: it rests on the channel's cadence and hunts again later.

    As long as watched ticks come where they are expected, ever more go unwatched between them, up to one in `stride`,
    and then they are watched when `watch_at` says so, else one in twice the stride; one that strays, or does not come,
    has the next ones watched. A counter that is `costly` to read is not read between watched ticks either.
    """

    __slots__ = (
        "_before", "_early_ns", "_expected_ns", "_free", "_give_up_ns", "_last_ns", "_late_ns", "_lead_ns",
        "_learned_at", "_line", "_margin_ns", "_missed_in_row", "_number", "_owed", "_passed", "_pause_ns",
        "_poll_ns", "_resume_ns", "_seen", "_stray_ns", "_told", "_trust", "_watch", "bracket_ns", "costly",
        "due_ns", "guard_ns", "missed", "moved", "patience_ns", "period_ns", "slack_ns", "stride", "ticks",
        "watched", "watched_ns",
    )  # fmt: skip
    # Without them an object of more than 30 attributes is a table, each a few more cache misses away: nothing
    # stays in the caches from one read to the next, a tenth of a second later.

    def __init__(self, start_ns: int, poll_ns: int, *, costly: bool = False) -> None:
        self.period_ns: float | None
        """`None` while it does not follow."""
        self.stride = 1
        """Of so many ticks, one is to be watched."""
        self.ticks = self.watched = self.missed = 0
        """How many were seen; how many of them closely; how many were to be and were not, or passed unread."""
        self.watched_ns = -1
        """When the last one was that was seen closely."""
        self.bracket_ns = 0.0
        """Half of the time between the read before a watched tick and the read after it: the mean over all of them."""
        self.costly = costly
        self._poll_ns, self._told = poll_ns, NEVER
        self.patience_ns = PATIENCE_NS
        """How much later than due the read does as well."""
        self._early_ns: float | None = None
        self._free, self._lead_ns = 0, 0.0
        """So many reads to come, each that long before an expected tick, have nothing to decide if all goes well."""
        self._pause_ns = FIRST_PAUSE_NS
        self._last_ns: int | None = None
        self.moved = True
        """Whether it expects its ticks at other moments than when this was last taken back."""
        self.guard_ns = 0.0
        """So long before a tick that is watched it is read, at the latest."""
        self._expected_ns, self._before, self._owed = 0.0, True, False
        self._hunt(start_ns)

    @property
    def resting(self) -> bool:
        """Whether it neither follows nor looks for ticks."""
        return self.period_ns is None and self._seen is None

    def phase_ns(self, now_ns: int) -> float | None:
        """Time from now to the next tick that it expects, less than a period; `None` while it does not follow."""
        return None if self.period_ns is None else (self._expected_ns - now_ns) % self.period_ns

    def observe(self, t_ns: int, changed: bool) -> None:
        """Take note of a read, and plan the next."""
        last_ns, self._last_ns = self._last_ns, t_ns
        if self._free and changed is self._owed and t_ns <= self._expected_ns and self.period_ns is not None:
            # between two ticks that nobody watches: what nearly all reads are, so it does the least
            self.ticks += changed
            self._owed = True
            self._free -= 1
            self._number += 1
            self._passed += 1
            self._expected_ns += self.period_ns
            self.due_ns = int(self._expected_ns - self._lead_ns)
            return
        if last_ns is None:
            self.due_ns = t_ns + HUNT_STEP_NS
        elif self.period_ns is not None:
            self._follow(last_ns, t_ns, changed, self.period_ns)
        elif self._seen is not None:
            self._look(last_ns, t_ns, changed, self._seen)
        else:
            self._rest(t_ns, changed)

    def read_before_ticks(self, early_ns: float) -> None:
        """Read so long before ticks that nobody watches; without this, it is an eighth of the period before them."""
        moved = self._early_ns is None or abs(early_ns - self._early_ns) > ALIKE_NS
        if moved:
            self._early_ns = early_ns
        if moved and self.period_ns is not None and self._before and not self._watch:
            self._plan_unwatched(self.period_ns)

    def watch_at(self, t_ns: float) -> None:
        """Watch the tick that is expected about then, or else the next that can be."""
        if self.period_ns is not None:
            ahead = round((t_ns - self._expected_ns) / self.period_ns)
            self._told = self._number + ahead
            self._free = max(min(self._free, ahead - 1), 0)
            if ahead <= 0 and self._before and not self._watch:
                self._plan_watched()

    def watch_now(self, now_ns: int) -> None:
        """Watch the next tick."""
        self.watch_at(now_ns)
        if self.period_ns is not None and self._before and self.costly:
            ahead = max(int((self._expected_ns - self.guard_ns - now_ns) // self.period_ns), 0)
            self._number -= ahead
            self._expected_ns -= ahead * self.period_ns
            self.due_ns = int(self._expected_ns - self.guard_ns)

    # --- hunting ----------------------------------------------------------------------------------------------------

    def _hunt(self, t_ns: int) -> None:
        self.period_ns, self._free, self.moved = None, 0, True
        self._seen: list[float] | None = []
        self._give_up_ns = t_ns + HUNT_LIMIT_NS
        self.due_ns, self.slack_ns, self.patience_ns = t_ns, HUNT_STEP_NS // 4, PATIENCE_NS

    def _look(self, last_ns: int, t_ns: int, changed: bool, seen: list[float]) -> None:
        held_up = t_ns - self.due_ns > HELD_UP_NS
        self.due_ns = t_ns + HUNT_STEP_NS
        if held_up:  # nobody knows when it ticked meanwhile
            seen.clear()
            self.ticks += changed
            self._give_up_ns = t_ns + HUNT_LIMIT_NS
            return
        if changed:
            self.ticks += 1
            self.watched_ns = t_ns
            seen.append((last_ns + t_ns) / 2)
            if len(seen) > 1:  # the next one is not to be expected soon
                self.due_ns = max(self.due_ns, int(seen[-1] + 0.75 * (seen[-1] - seen[-2])))
            if len(seen) >= FEWEST_TICKS:
                self._learn(t_ns, seen)
        if self._seen is not None and t_ns >= self._give_up_ns:
            self._give_up(t_ns)

    def _learn(self, t_ns: int, seen: list[float]) -> None:
        gaps = sorted(after - before for before, after in pairwise(seen))
        period = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2
        strangers = sum(abs(gap - period) > period / 4 for gap in gaps)
        if period > SHORTEST_PERIOD_NS and strangers <= (len(seen) == ENOUGH_TICKS):
            self._seen, self.period_ns, self.moved = None, period, True
            line = [(0, seen[-1])] if strangers else list(enumerate(seen, 1 - len(seen)))
            self._line: deque[tuple[int, float]] = deque(line, MEMORY)
            self._number, self._passed, self._told, self._trust, self._owed = 0, 0, NEVER, 1, False
            self._learned_at, self._missed_in_row = self.ticks, 0
            self._stray_ns, self._late_ns, self._margin_ns = HUNT_STEP_NS / 2, 0.0, 0.0
            self._expect(seen[-1] + period, t_ns, period)
        elif len(seen) == ENOUGH_TICKS:
            self._give_up(t_ns)

    # --- following --------------------------------------------------------------------------------------------------

    def _expect(self, tick_ns: float, t_ns: int, period: float) -> None:
        """Plan the read before the first expected tick that is still to come."""
        guard = SMALLEST_GUARD_NS + 2 * (self._stray_ns + self._late_ns) + self._margin_ns
        self.guard_ns = guard = min(guard, period / 4)
        behind = t_ns - (tick_ns - guard)
        skipped = int(behind // period) + 1 if behind >= 0 else 0
        self.missed += skipped
        self._number += 1 + skipped
        self._passed += 1 + skipped
        self._expected_ns, self._before = tick_ns + skipped * period, True
        most = 2 * self.stride if self._trust >= self.stride > 1 else self._trust
        unwatched = min(most - self._passed, self._told - self._number)
        self._watch = self.costly or unwatched <= 0
        if self._watch:
            self._plan_watched()
        else:
            self._free = unwatched - 1
            self._plan_unwatched(period)

    def _plan_watched(self) -> None:
        self._watch, self._free, self._told = True, 0, NEVER
        self.due_ns = int(self._expected_ns - self.guard_ns)
        self.slack_ns, self.patience_ns = int(min(self.guard_ns, LARGEST_STEP_NS)), PATIENCE_NS

    def _plan_unwatched(self, period: float) -> None:
        guard = self.guard_ns
        early = guard + (period - 2 * guard) / 8 if self._early_ns is None else self._early_ns
        self._lead_ns = min(max(early, guard), period - guard)
        self.due_ns = int(self._expected_ns - self._lead_ns)
        self.slack_ns = int(period - guard - self._lead_ns)
        self.patience_ns = int(min(self._lead_ns - guard, period / 8))

    def _follow(self, last_ns: int, t_ns: int, changed: bool, period: float) -> None:
        if self._before:
            self._come_between(t_ns, changed, period)
        elif changed and t_ns - last_ns > period / 2:  # it woke so late that nothing is learned
            self.ticks += 1
            self._miss(self._expected_ns, t_ns, period)
        elif changed:
            self.ticks += 1
            self._bracketed(last_ns, t_ns, period)
        elif t_ns > self._expected_ns + min(period / 2, SOUGHT * self.guard_ns):
            self._miss(self._expected_ns, t_ns, period)
        else:
            self._step(self.guard_ns, t_ns)

    def _come_between(self, t_ns: int, changed: bool, period: float) -> None:
        """Take the read after the last tick and before the expected one, unless it came too late."""
        if self._watch:
            self._late_ns += (min(max(t_ns - self.due_ns, 0), period) - self._late_ns) / MEMORY
        self.ticks += changed
        if t_ns > self._expected_ns:
            self.missed += 1
            self._owed = True
            self._expect(self._expected_ns + period, t_ns, period)
        elif changed and not self._owed:  # it ticked before its time
            self._miss(t_ns - self.guard_ns / 2, t_ns, period)
        else:
            if self._owed and not changed:  # a tick was left out, or comes at other moments now
                self._missed_in_row += 1
                self._trust = 1
            self._owed = not self._watch
            if self._watch:
                self._before = False
                self._step(self._expected_ns - t_ns, t_ns)
            else:
                self._expect(self._expected_ns + period, t_ns, period)

    def _step(self, wait_ns: float, t_ns: int) -> None:
        wait_ns = int(min(max(wait_ns, SMALLEST_GUARD_NS / 2), LARGEST_STEP_NS))
        self.due_ns, self.slack_ns = t_ns + wait_ns, wait_ns // 4

    def _bracketed(self, last_ns: int, t_ns: int, period: float) -> None:
        tick_ns, half_ns = (last_ns + t_ns) / 2, (t_ns - last_ns) / 2
        self.watched += 1
        self.watched_ns = t_ns
        self.bracket_ns += (half_ns - self.bracket_ns) / self.watched
        stray_ns = max(abs(tick_ns - self._expected_ns) - half_ns, 0.0)
        if stray_ns > period / 8:  # it ticks at other moments now
            self._line.clear()
        else:
            self._stray_ns += (stray_ns - self._stray_ns) / max(len(self._line), 2)
        if stray_ns > TRUSTED_NS:
            self._trust = max(self._trust // 2, 1)
        elif len(self._line) > MEMORY / 2:
            self._trust = min(2 * self._trust, self.stride)
        self._missed_in_row = 0
        self._margin_ns *= NARROWED ** min(self._passed, MOST_NARROWED)
        self._correct(tick_ns, t_ns, period)

    def _correct(self, tick_ns: float, t_ns: int, period: float) -> None:
        """Take a tick into the line through the last watched ones, and expect the next on it."""
        self._line.append((self._number, tick_ns))
        self._passed, self.moved = 0, True
        n = len(self._line)
        numbers, times_ns = zip(*self._line, strict=True)
        x, y = sum(numbers) / n, tick_ns + sum([t - tick_ns for t in times_ns]) / n
        aside = [number - x for number in numbers]
        spread = sum(map(mul, aside, aside))
        if spread:
            period = self.period_ns = sum(map(mul, aside, [t - y for t in times_ns])) / spread
        if self.costly and self._trust > 1:
            self._number += self._trust - 1
            self._owed = True
        self._expect(y + (self._number + 1 - x) * period, t_ns, period)

    def _miss(self, guess_ns: float, t_ns: int, period: float) -> None:
        self.missed += 1
        self._missed_in_row += 1
        self._trust = 1
        if self._missed_in_row < LOST_AFTER:
            self._owed = False
            self._margin_ns = min(self._margin_ns + WIDENED * self.guard_ns, period / 4)
            self._correct(guess_ns, t_ns, period)
        elif self.ticks - self._learned_at < STEADY_TICKS:
            self._give_up(t_ns)
        else:  # it followed well, so the ticks are there
            self._pause_ns = FIRST_PAUSE_NS
            self._hunt(t_ns)

    # --- resting ----------------------------------------------------------------------------------------------------

    def _give_up(self, t_ns: int) -> None:
        self._seen, self.period_ns, self._free, self.moved = None, None, 0, True
        self._resume_ns = t_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
        self.due_ns, self.slack_ns, self.patience_ns = t_ns + self._poll_ns, self._poll_ns // 4, PATIENCE_NS

    def _rest(self, t_ns: int, changed: bool) -> None:
        self.due_ns = t_ns + self._poll_ns
        if changed and t_ns >= self._resume_ns:
            self._hunt(t_ns)
