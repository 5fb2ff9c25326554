"""Methods by the names that users know from the papers: a sampler, a cache, or one of each with a plus between."""

from __future__ import annotations

from typing import NamedTuple

from ipw.errors import UsageError, near

SAMPLERS = {
    "greedy": "low-confidence",
    "random": "random",
    "dream": "dream",
    "dream-entropy": "dream-entropy",
    "threshold": "threshold",
    "local-leap": "local-leap",
}
"""Method name to sampler; these compute everything at every step."""
CACHES = {"dkv-decode": "decode", "dkv-prefill": "prefill", "dkv-pd": "pd", "dkv-greedy": "greedy"}
ABOUT = {
    "greedy": "The surest positions, as many in each step as a schedule tells.",
    "random": "As many as greedy, in a random order.",
    "dream": "Dream's schedule, the surest first by probability.",
    "dream-entropy": "Dream's schedule, the surest first by entropy.",
    "threshold": "All positions of at least the threshold, and always the surest (Fast-dLLM).",
    "local-leap": "A lower threshold near positions that are sure (LocalLeap).",
    "dkv-decode": "Compute anew only what is not settled since a step (dKV-Cache-Decode).",
    "dkv-prefill": "Compute the prompt once (dKV-Cache-Prefill).",
    "dkv-pd": "Both of these.",
    "dkv-greedy": "Compute only what is committed and a window around it (dKV-Cache-Greedy).",
}
"""What each is, for people."""
ALIASES = {"fast-dllm": "threshold"}
PLAIN = "greedy"
"""What other samplers are held against."""


class Method(NamedTuple):
    """What a name stands for."""

    name: str
    sampler: str
    cache: str

    @property
    def held_against(self) -> str | None:
        """The method whose answers this one's should be: without its cache, or the plain sampler; none of its own."""
        if self.cache != "none":
            return next(name for name, sampler in SAMPLERS.items() if sampler == self.sampler)
        return None if self.name == PLAIN else PLAIN


def methods_of(text: str) -> tuple[Method, ...]:
    """Read a list by comma, in its order, doubles dropped. Raises UsageError."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    if not named:
        raise UsageError("no method is named", f"--method {','.join(SAMPLERS)}")
    found = [method_of(name) for name in named]
    return tuple({(method.sampler, method.cache): method for method in reversed(found)}.values())[::-1]


def method_of(name: str) -> Method:
    """Read one name. Raises UsageError with the nearest."""
    parts = [ALIASES.get(part.strip(), part.strip()) for part in name.split("+")]
    known = [*SAMPLERS, *CACHES, *ALIASES]
    for part in parts:
        if part not in SAMPLERS and part not in CACHES:
            raise UsageError(f"there is no method {part!r}", near(part, known))
    if len(parts) > 2 or (len(parts) == 2 and (parts[0] not in SAMPLERS or parts[1] not in CACHES)):
        raise UsageError(f"{name!r} is not a sampler and a cache", "--method local-leap+dkv-decode")
    if len(parts) == 2:
        return Method("+".join(parts), SAMPLERS[parts[0]], CACHES[parts[1]])
    if parts[0] in SAMPLERS:
        return Method(parts[0], SAMPLERS[parts[0]], "none")
    cache = CACHES[parts[0]]
    return Method(parts[0], "random" if cache == "greedy" else "low-confidence", cache)
