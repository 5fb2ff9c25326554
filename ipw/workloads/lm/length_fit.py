"""Makes prompts of fixed lengths as long as the server counts them, by a few requests before anything is measured.

What a server counts is what it computes: the prompt's tokens in its model's vocabulary and those of the chat template.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ipw.errors import IpwError
from ipw.workloads.lm.http.client import ask
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.plan import Plan
from ipw.workloads.lm.servers.endpoint import Endpoint
from ipw.workloads.texts.datasets import FIXED
from ipw.workloads.texts.fixed_lengths import Lengths, fixed_questions, lengths_of, prompt

FEW, SOME = 1, 13
"""Words of the first two prompts that are counted: short ones, that fit any context."""
TRIES = 4
"""Of a number of words."""
ENDS = (".", " .", " a")
"""What fills up tokens that are fewer than a word's: in the vocabularies in which words are several tokens."""
MOST_MISSING = 64
OTHERS = 2
"""Prompts with other words, that are counted in the end."""

Count = Callable[[str], Awaitable[int | None]]
"""Tokens of a prompt; `None` where the server does not tell."""


class Fit(NamedTuple):
    """What prompts are made of."""

    words: int
    end: str
    counted: tuple[int, int]
    """The least and the most tokens that the server counted in prompts made so."""


def fitted(endpoint: Endpoint, planned: Plan) -> tuple[Plan, dict[str, Any] | None]:
    """Correct the lengths of a plan over `fixed:IN,OUT`, and say for the manifest what came of it.

    Other plans stay as they are, with `None`. Raises IpwError where the server does not answer.
    """
    parameters = planned.parameters
    if not parameters.dataset.startswith(FIXED):
        return planned, None
    lengths = lengths_of(parameters.dataset.removeprefix(FIXED))
    facts: dict[str, Any] = {"tokens_in": lengths.tokens_in, "tokens_out": lengths.tokens_out, "counted": None}
    if not parameters.warmup:
        return planned, facts | {"reason": "the server counts them in the warm-up, and none is asked for"}
    fit = asyncio.run(_fit_with(endpoint, planned, lengths))
    if fit is None:
        return planned, facts | {"reason": "the server does not tell how many tokens a prompt has"}
    reason = None if set(fit.counted) == {lengths.tokens_in} else _why(fit, lengths)
    questions = fixed_questions(lengths, len(planned.dataset.questions), parameters.seed, fit.words, fit.end)
    facts |= {"words": fit.words, "end": fit.end, "counted": list(fit.counted), "reason": reason}
    facts["repeated"] = len(questions) - len({question.prompt for question in questions})
    return planned._replace(dataset=replace(planned.dataset, questions=questions)), facts


def told(facts: Mapping[str, Any]) -> str:
    """Say in a line what came of it."""
    asked = f"prompts of {facts['tokens_in']} tokens"
    if facts["counted"] is None:
        return f"mind: {asked} are only about as long: {facts['reason']}"
    if facts["reason"] is not None:
        return f"mind: {asked} cannot be made: {facts['reason']}"
    if facts["repeated"]:
        return f"mind: {asked} have too few words to differ: {facts['repeated']:,} are another's again"
    return f"{asked}, as the server counts them, its chat template among them"


async def fit_words(count: Count, tokens: int, seed: int) -> Fit | None:
    """Find what is counted as `tokens`, or comes nearest; `None` where nothing is counted.

    Where all words are as many tokens, the first two counts tell how many, and the third one confirms.
    """

    def text(words: int, number: int = 0) -> str:
        return prompt(words, f"{seed} {number}")

    few, some = await count(text(FEW)), await count(text(SOME))
    if few is None or some is None:
        return None
    known = {FEW: few, SOME: some}
    a_word = max((some - few) / (SOME - FEW), 0.1)
    for _ in range(TRIES):
        nearest = min(known, key=lambda words: abs(known[words] - tokens))
        words = max(nearest + int((tokens - known[nearest]) // a_word), FEW)
        if words in known:
            break
        known[words] = await count(text(words)) or 0
    words = max((words for words, counted in known.items() if counted <= tokens), default=FEW)
    end, counted = await _end(count, text(words), tokens, known[words])
    others = [await count(text(words, number) + end) or 0 for number in range(1, OTHERS + 1)]
    return Fit(words, end, (min(counted, *others), max(counted, *others)))


async def _end(count: Count, text: str, tokens: int, counted: int) -> tuple[str, int]:
    """Find what fills a prompt up to its tokens, or comes nearest, and what is counted with it."""
    best, missing = ("", counted), tokens - counted
    for filler in ENDS if 0 < missing <= MOST_MISSING else ():
        end = filler * missing
        now = await count(text + end) or 0
        if abs(tokens - now) < abs(tokens - best[1]):
            best = (end, now)
        if now == tokens:
            break
    return best


async def _fit_with(endpoint: Endpoint, planned: Plan, lengths: Lengths) -> Fit | None:
    limits = replace(planned.parameters.limits(), request=Lengths(lengths.tokens_in, 1).request, logprobs=False)
    async with Transport(endpoint.url, endpoint.key) as transport:

        async def count(text: str) -> int | None:
            answer = await ask(transport, endpoint.model, text, limits, endpoint.key)
            if answer.status != "ok" and answer.prompt_tokens is None:
                what = f"the server at {endpoint.url} answers no prompt of {len(text.split()):,} words: {answer.error}"
                raise IpwError(what, "see the server's log; is its context long enough for fixed:IN,OUT?")
            return answer.prompt_tokens

        return await fit_words(count, lengths.tokens_in, planned.parameters.seed)


def _why(fit: Fit, lengths: Lengths) -> str:
    """Say why prompts have not the length that was asked for."""
    least, most = fit.counted
    if fit.words == FEW and least > lengths.tokens_in:
        return f"the shortest prompt is counted as {least} tokens, most of them the chat template's"
    told = f"{least}" if least == most else f"{least} to {most}"
    return f"no prompt of whole words is counted as {lengths.tokens_in} tokens; these are counted as {told}"
