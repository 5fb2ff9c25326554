"""Work before first results, on an engine whose every step is known: which step did how much of whose."""

from __future__ import annotations

import numpy as np
import pytest

from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import bursts
from ipw.energy.steps.prompts import Prompts, located
from ipw.energy.steps.steps import steps_of

MS = 1_000_000
BASE_MS, TOKEN_MS, BUDGET = 10.0, 0.1, 100


def served(prompts: list[int], every: int = 12, answers: int = 3) -> tuple[Prompts, dict[tuple[int, int], float]]:
    """One stream decodes throughout; a prompt comes every so many steps, and is taken as far as it fits into each.

    Returns what was located, and the truth: tokens by unit and step.
    """
    count = every * (len(prompts) + 1)
    truth: dict[tuple[int, int], float] = {}
    chunks: list[tuple[float, int]] = []
    asked = {0: 0.0}
    first: dict[int, float] = {}
    ends: dict[int, float] = {}
    waiting: list[list[int]] = []
    decoding: dict[int, int] = {}
    now = 0.0
    for step in range(count):
        unit, left = divmod(step, every)
        if left == 5 and 1 <= unit <= len(prompts):
            waiting.append([unit, prompts[unit - 1]])
            asked[unit] = now - 0.5
        room = BUDGET - 1 - len(decoding)
        taken = 0
        finished = []
        while waiting and room > 0:
            part = min(room, waiting[0][1])
            truth[waiting[0][0], step] = part
            waiting[0][1] -= part
            room, taken = room - part, taken + part
            if not waiting[0][1]:
                finished.append(waiting.pop(0)[0])
        now += BASE_MS + TOKEN_MS * (taken + 1 + len(decoding))
        for here in [0, *decoding, *finished]:
            chunks.append((now + 0.01 * here / 100, here))
            first.setdefault(here, now)
            ends[here] = now
        decoding = {u: n - 1 for u, n in decoding.items() if n > 1} | dict.fromkeys(finished, answers)
    units = sorted(asked)
    produced = [sum(1 for _, u in chunks if u == unit) for unit in units]
    before = [1, *prompts]

    def ns(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return (np.array(values) * MS).astype(np.int64)

    requests = Requests(
        ns([asked[u] for u in units]), ns([first[u] for u in units]), ns([ends[u] for u in units]),
        np.array(before), np.array(produced), np.zeros(len(units), np.int64),
    )  # fmt: skip
    chunks.sort()
    arrivals = Arrivals(
        ns([t for t, _ in chunks]), np.ones(len(chunks), np.int64), np.array([u for _, u in chunks], np.int32)
    )
    return located(requests, steps_of(requests, arrivals, bursts(arrivals, 2 * MS))), truth


def placed(found: Prompts) -> dict[tuple[int, int], float]:
    pieces: dict[tuple[int, int], float] = {}
    for unit, step, tokens in zip(found.unit.tolist(), found.step.tolist(), found.tokens.tolist(), strict=True):
        pieces[unit, step] = pieces.get((unit, step), 0.0) + tokens
    return pieces


@pytest.mark.parametrize(
    ("prompts", "off"),
    [
        ([40, 150, 90, 70, 220] * 8, 0.01),  # prompts of one step tell how long a token takes
        ([60] * 30, 0.01),
        ([250] * 30, 0.15),  # all alike: how long a step lasts without them is not told
        ([40, 150, 260] * 10, 0.13),
    ],
)
def test_a_prompt_is_placed_in_the_steps_that_computed_it(prompts: list[int], off: float) -> None:
    found, truth = served(prompts)
    pieces = placed(found)
    whole = np.bincount(found.unit, found.tokens, len(prompts) + 1)
    assert whole[1:].tolist() == pytest.approx(prompts)  # no token is lost or made
    wrong = sum(abs(pieces.get(key, 0.0) - truth.get(key, 0.0)) for key in {*pieces, *truth} if key[0])
    assert wrong <= off * sum(prompts)
    assert found.passes.tolist() == [1.0] * found.passes.size


def test_how_long_a_token_takes_is_told_by_prompts_of_different_lengths() -> None:
    assert served([40, 150, 90, 70, 220] * 8)[0].token_s == pytest.approx(TOKEN_MS / 1000, rel=0.01)


def test_step_tokens_are_the_sums_of_the_pieces() -> None:
    found, _ = served([40, 150, 260] * 10)
    np.testing.assert_allclose(found.step_tokens, np.bincount(found.step, found.tokens, found.step_tokens.size))
