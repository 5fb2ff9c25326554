"""What a user can do about what a server refuses: a hint for its error, from its status and its words.

The words are those of vLLM, SGLang, llama.cpp, TGI, OpenAI, Anthropic, and of this project's own engines.
"""

from __future__ import annotations

import re

from ipw.variables import OPENAI_KEY
from ipw.workloads.lm.http.url import ServerUrl

STATUS = re.compile(r"HTTP (\d{3}): ")
CONTEXT = re.compile(
    r"context[ _](length|size|window|limit)|prompt is too long|max_new_tokens|max_(completion_)?tokens.*too large"
    r"|max_tokens must be at least 1|the model takes up to",
    re.IGNORECASE,
)
LONGEST = re.compile(
    r"context (?:length|size|window|limit)(?: is| of)? ?\(?(\d+)|context limit: \d+ \+ \d+ > (\d+)|must be <= (\d+)"
    r"|takes up to (\d+)|tokens > (\d+)"
)
PROMPT = re.compile(
    r"(\d+) (?:tokens )?(?:in the messages|in your prompt|from the input|input tokens|`inputs` tokens)"
    r"|(?:request|input|prompt)(?: has| is too long:)? ?\(?(\d+) tokens|context limit: (\d+) \+"
)
NO_MODEL = re.compile(r"\bmodel\b.*\b(not exist|not found|no such|unknown|not available|not loaded)", re.IGNORECASE)
NO_TEMPLATE = re.compile(r"chat[ _]template", re.IGNORECASE)


def hint(error: str, url: ServerUrl, *, key: bool, variable: str = OPENAI_KEY) -> str | None:
    """Say what may mend an error that a server answers with. `None`: nobody knows.

    `key` says whether one was sent, `variable` where it comes from.
    """
    found = STATUS.match(error)
    status = int(found[1]) if found else 0
    if status in (401, 403):
        return f"check {variable}: the server refuses that key" if key else f"set {variable} to the server's key"
    if CONTEXT.search(error):
        return _shorter(error)
    if NO_TEMPLATE.search(error):
        return "--api completions, which needs no chat template"
    if status in (404, 405):
        return _elsewhere(error, url)
    if status in (301, 302, 303, 307, 308):
        return "--base-url with the place that it points to, if that is its API"
    if "a page of HTML: " in error:
        return "check --base-url: what answers there is a page for people, and no API"
    if status == 429:
        return "a lower --concurrency or --rate"
    return None


def _shorter(error: str) -> str:
    """The room that a prompt leaves in the model's context."""
    longest, prompt = _number(LONGEST, error), _number(PROMPT, error)
    if longest and prompt and prompt < longest:
        return f"--max-tokens {longest - prompt}, or less where prompts are longer"
    if longest and prompt:
        return f"a prompt of {prompt} tokens needs a model or a server with a context of more than {longest} tokens"
    within = f"so that it fits into {longest} tokens with the prompt" if longest else "smaller than it is"
    return f"--max-tokens N, {within}; or a server with a longer context"


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return next((int(group[:12]) for group in found.groups() if group), None) if found else None


def _elsewhere(error: str, url: ServerUrl) -> str:
    """Another model, or another place."""
    if NO_MODEL.search(error):
        return "--model with a name that the server lists at /v1/models"
    if not url.path.endswith("/v1"):
        return f"--base-url {url._replace(path='/v1')}: most servers have the API at /v1"
    return "check --base-url: is that a server with the OpenAI API? Some have --api completions alone"
