"""The one place that knows what may be a secret, and blots it out of what is shown, stored or handed on.

A secret is

- what an environment variable holds that is named like one, and the password in a URL that a variable holds;
- user and password in a URL, and the value of a query's parameter that is named like one;
- the value of an option (`--api-key X`), an assignment (`API_KEY=X`) or a header that is named like one;
- a text in the form that well-known services give their keys.

Everything that ipw writes of its own words goes through here: manifests, summaries, studies (`blotted`), errors
(`without_secrets`), commands (`command_without_secrets`), addresses of devices (`shown_url`). What a model or a server
says is data: only the very key that it was sent is blotted out of it (`without_key`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

BLOT = "[secret]"
WORDS = (
    r"api-?key|access-?key|key|token|secret|password|passwd|pwd|pass|passphrase|auth|authorization|bearer|credentials?|"
    r"sig|signature|session-?id|cookie"
)
NAME = re.compile(rf"(?i)(^|[^a-z])({WORDS}|x[_-]amz[_-][a-z_-]+)$")
"""How the name of an option, a variable or an entry ends whose value is one."""
PLAIN = {"key", "pwd", "token", "pass", "cookie", "sig", "auth"}
"""Names of entries that mean something else as well: `key` names a cell, `PWD` the working directory."""
LONG_NAME = 200
SHORTEST = 8
"""Shorter values of variables stand in any text by chance."""
IN_URL = re.compile(
    r"(?<=://)(?!USER:PASSWORD@)(?:[^/?#\s\"'<>]{1,200}|(?![^\s/@:]{1,100}:\d{1,5}[/?#])[^\s/@:\"'<>]{0,100}:[^\s@\"'<>]{1,200})(?=@)"
)
"""User and password, but not where a hint names them. A password may hold a slash, as those of object stores do."""
QUOTED = r"(?!\[secret\])(?:'[^']*'|\"[^\"]*\"|[^\s'\",;}\]]+)"
PARAMETER = rf"(?i)(?<=[?&;])((?:[\w.%-]*(?:{WORDS})|x-amz-[\w-]+))=(?!\[secret\])[^&#;\s\"'<>]*[^&#;\s\"'<>:,.)\]]"
OPTION = rf"(?i)(?<![\w-])(--?(?:[\w.-]*[^a-z\s-]?-)?(?:{WORDS}))([=\s]\s*)(?!-){QUOTED}"
ASSIGNMENT = rf"(?<![\w.-])([A-Za-z]\w*_(?i:{WORDS})|(?i:api_?key|password|passwd|secret))(=){QUOTED}"
HEADER = (
    r"(?i)(?<![\w-])((?:authorization|[\w-]{0,60}(?:api-?key|-token|-key|-secret)|(?:set-)?cookie)['\"]?\s*:\s*['\"]?)"
    r"(?:(?:bearer|basic|token|digest)\s+)?(?!\[secret\])(?=[^\s'\",]*\d|[^\s'\",]{16})[^\s'\",]+"
)
"""Its value has a digit, or is long: `no api-key: give one` is no header."""
SCHEME = r"(?i)\b((?:bearer|basic)\s+)(?=[\w.~+/=-]{8,})[\w.~+/=-]+"
KNOWN_FORM = (
    r"(?<![\w-])(?:sk-(?=[\w-]*\d)[\w-]{16,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}|"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)
"""Of OpenAI and others, Hugging Face, GitHub, GitLab, Slack, AWS, Google; JSON web tokens."""
SIGNS = (
    *("key", "token", "secret", "pass", "pwd", "auth", "bearer", "basic", "credential", "sig", "session", "cookie"),
    *("amz", "sk-", "hf_", "gh", "github_pat_", "glpat-", "xox", "akia", "asia", "aiza", "eyj"),
)
"""In small letters: a text of ASCII that has none of these holds none of these forms."""
KEPT_OUT: set[str] = set()
"""Secrets of this process that stand in no variable: of the commands that it starts."""
HARMLESS = re.compile(r"id=\d+|cmnd=status( \d+)?", re.IGNORECASE)
"""The queries that tell one device from another and hold no secret; all others are left out of what is shown."""
KEY_LIKE = re.compile(r"(?=.*\d)[\w.~-]{16,}", re.ASCII)
"""A part of a path that may well be a key."""


def without_secrets(text: str, known: Collection[str] | None = None) -> str:
    """Blot out of a text what may be a secret; `known` are those of the environment, where they are found already."""
    for value in known_secrets() if known is None else known:
        text = text.replace(value, BLOT)
    if "://" in text:
        text = IN_URL.sub(BLOT, text)
    lowered = text.lower()
    if text.isascii() and not any(sign in lowered for sign in SIGNS):
        return text
    for form, becomes in _forms():
        text = form.sub(becomes, text)
    return text


def command_without_secrets(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Give the words of a command to show or keep, with `[secret]` in place of what may be one."""
    known = known_secrets(environment)
    return [_word(word, before, known) for word, before in zip(command, ["", *command], strict=False)]


def command_secrets(command: Sequence[str]) -> list[str]:
    """List what may be a secret among the words of a command, so that it can be kept out of what its program says."""
    found = []
    for word, shown in zip(command, command_without_secrets(command, {}), strict=True):
        before, blot, after = shown.partition(BLOT)
        if blot and BLOT not in after and len(word) >= len(before) + len(after) + SHORTEST:
            found.append(word[len(before) : len(word) - len(after)].strip("'\""))
    return found


def keep_out(secrets: Iterable[str]) -> None:
    """Blot these out too, from now on."""
    KEPT_OUT.update(each for each in secrets if len(each) >= SHORTEST)


def blotted(document: Any, known: Collection[str] | None = None) -> Any:
    """Blot out of all texts in a document what may be a secret, and the texts of entries that are named like one."""
    known = known_secrets() if known is None else known
    if isinstance(document, str):
        return without_secrets(document, known)
    if isinstance(document, Mapping):
        return {key: _entry(key, value, known) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [blotted(each, known) for each in document]
    return document


def shown_url(text: str) -> str:
    """Give an address to show: without user and password, without any part of path or query that may be a secret."""
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        return "an address that cannot be read"
    where = parts.netloc.rpartition("@")[2]
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    harmless = [pair for pair in pairs if HARMLESS.fullmatch("=".join(pair))]
    kept = "/".join("…" if KEY_LIKE.fullmatch(unquote(part)) else part for part in parts.path.split("/"))
    query = f"?{urlencode(harmless, quote_via=quote)}" if harmless else ""
    return (f"{parts.scheme}://" if parts.scheme else "") + f"{where}{kept}{query}"


def without_key(key: str | None, text: str) -> str:
    """Blot one known secret out of a text of somebody else's, which otherwise stays as it is."""
    return text.replace(key, BLOT) if key and len(key) >= SHORTEST else text


def known_secrets(environment: Mapping[str, str] = os.environ) -> list[str]:
    """List the secrets of the environment, the longest first."""
    return sorted({*_of(tuple(environment.items())), *KEPT_OUT}, key=len, reverse=True)


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable holds a secret, by its name or as a URL with a password."""
    return any(_known([(name, value)]))


@lru_cache(maxsize=4)
def _of(variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(_known(variables))


@cache
def _forms() -> list[tuple[re.Pattern[str], str]]:
    """Compile the forms, and what becomes of each, where they are first needed: most programs start without."""
    forms = (
        (PARAMETER, rf"\1={BLOT}"),
        (OPTION, rf"\1\2{BLOT}"),
        (ASSIGNMENT, rf"\1\2{BLOT}"),
        (HEADER, rf"\1{BLOT}"),
        (SCHEME, rf"\1{BLOT}"),
        (KNOWN_FORM, BLOT),
    )
    return [(re.compile(form), becomes) for form, becomes in forms]


def _known(variables: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, value in variables:
        if NAME.search(name) and name not in {"PWD", "OLDPWD"} and len(value) >= SHORTEST:
            yield value
        if found := IN_URL.search(value) if "://" in value else None:
            password = found[0].partition(":")[2] or found[0]
            yield from {each for each in (password, unquote(password)) if len(each) >= SHORTEST}


def _word(word: str, before: str, known: Collection[str]) -> str:
    option, equals, _ = word.partition("=")
    if equals and len(option) < LONG_NAME and NAME.search(option):
        return f"{option}={BLOT}"
    named = before.startswith("-") and "=" not in before and len(before) < LONG_NAME and NAME.search(before)
    if named and not word.startswith("--"):
        return BLOT
    return without_secrets(word, known)


def _entry(key: object, value: Any, known: Collection[str]) -> Any:
    if isinstance(key, str) and isinstance(value, str) and value and is_secret_name(key):
        return BLOT
    return blotted(value, known)


def is_secret_name(name: str) -> bool:
    """Whether the text of an entry of this name is one, whatever it looks like."""
    return len(name) < LONG_NAME and name.lower() not in PLAIN and bool(NAME.search(name))
