"""What the model reads while its routing is captured: sequences of tokens, each of one domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ipw.errors import UsageError
from ipw.workloads.texts import datasets
from ipw.workloads.texts.files import READERS

TEXT_SUFFIXES = (".txt", ".md")
DOMAIN_COLUMNS = ("domain", "subject")
ONE_DOMAIN = "all"


class Text(NamedTuple):
    """One document or one prompt."""

    id: str
    domain: str
    content: str
    is_prompt: bool
    """Whether it is a question to the model, which goes through its chat template, or text to read as it is."""


class Sequence(NamedTuple):
    """Tokens that the model reads in one go."""

    id: str
    domain: str
    token_ids: list[int]


def read_corpus(source: str, *, limit: int | None = None, seed: int = 0) -> Iterator[Text]:
    """Read texts from `bundled`, a data set of the language-model workload, a text file, or a folder of such.

    Rows of a data-set file have `text`, or else `prompt`; their domain is in `domain` or `subject`. A text file is one
    document; its domain is its folder's name where files lie in folders, and its own otherwise. Files of a folder take
    turns, so that a limited corpus has something of each. Raises UsageError.
    """
    if source == datasets.BUNDLED:
        questions = datasets.load(source, limit=limit, seed=seed).questions
        return (Text(q.id, q.subject or ONE_DOMAIN, q.prompt, is_prompt=True) for q in questions)
    path = Path(source)
    if path.is_dir():
        suffixes = {*TEXT_SUFFIXES, *READERS} - {".json"}  # which in a folder mostly describes the others
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        if not files:
            raise UsageError(f"{path} holds no text: no {', '.join((*TEXT_SUFFIXES, *READERS))} file")
        rounds = chain.from_iterable(zip_longest(*(_read_file(file, path) for file in files)))
        return (text for text in rounds if text is not None)
    return _read_file(path, path.parent)


def cut(
    texts: Iterable[Text], encode: Callable[[Text], list[int]], length: int, limit: int | None
) -> Iterator[Sequence]:
    """Cut every text into sequences of `length` tokens, the last as long as it comes; at most `limit` of them.

    A prompt is one sequence, cut off at `length`. Raises UsageError where there is nothing to read.
    """
    count = 0
    for text in texts:
        token_ids = encode(text)
        starts = range(0, 1 if text.is_prompt else len(token_ids), length)
        for piece, start in enumerate(starts):
            tokens = token_ids[start : start + length]
            if not tokens:
                continue
            if count == limit:
                return
            yield Sequence(text.id if len(starts) == 1 else f"{text.id}/{piece}", text.domain, tokens)
            count += 1
    if not count:
        raise UsageError("the corpus holds no text", "give --corpus a file with text in it")


def _read_file(path: Path, root: Path) -> Iterator[Text]:
    suffix = path.suffix.lower()
    if suffix not in (*TEXT_SUFFIXES, *READERS):
        raise UsageError(
            f"corpus {str(path)!r} is neither 'bundled' nor a folder nor a {', '.join((*TEXT_SUFFIXES, *READERS))} file"
        )
    if not path.is_file():
        raise UsageError(f"corpus {path} is not there", "give --corpus the path of a file or a folder, or 'bundled'")
    if suffix in READERS:
        yield from (_row(path, where, row) for where, row in READERS[suffix](path))
        return
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "save the file as UTF-8") from None
    domain = path.parent.name if path.parent != root else path.stem
    yield Text(path.stem, domain, content, is_prompt=False)


def _row(path: Path, where: str, row: dict[str, Any]) -> Text:
    content = row.get("text") or row.get("prompt")
    if not isinstance(content, str) or not content:
        raise UsageError(f"{path}, {where} has no text: its columns are {', '.join(map(str, row)) or 'none'}",
                         "name the column text, or prompt")  # fmt: skip
    domain = next((str(row[name]) for name in DOMAIN_COLUMNS if row.get(name)), path.stem)
    return Text(str(row.get("id") or where), domain, content, is_prompt=not row.get("text"))
