"""What a file or folder of another tool is, told by its content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ipw.errors import UsageError
from ipw.foreign_text import read_text
from ipw.interchange.documents import Document, documents
from ipw.interchange.from_aiperf import read_aiperf
from ipw.interchange.from_codecarbon import read_codecarbon
from ipw.interchange.from_guidellm import read_guidellm
from ipw.interchange.from_inspect import header_of, read_inspect
from ipw.interchange.from_llama_bench import read_llama_bench
from ipw.interchange.from_lm_eval import read_lm_eval
from ipw.interchange.from_power_log import read_power_log
from ipw.interchange.from_upstream import read_upstream
from ipw.interchange.from_vllm_bench import read_vllm_bench
from ipw.interchange.imported import Imported
from ipw.profilers.power_logs import Log
from ipw.runs.directory import MANIFEST

MOST_BYTES, MOST_ROWS = 256 << 20, 10_000
KNOWN = (
    "a file of AIPerf, GuideLLM, vllm bench serve, llama-bench, lm-eval, Inspect or codecarbon, a log of nvidia-smi or "
    "tegrastats, or a run directory of the paper's harness"
)
OF_JSON: tuple[Callable[[Sequence[Document], str], list[Imported] | None], ...] = (
    read_aiperf,
    read_guidellm,
    read_vllm_bench,
    read_lm_eval,
    read_inspect,
)


def recognise(path: Path) -> list[Imported] | Log:
    """Tell what `path` is, and read it. Raises UsageError for what cannot be imported."""
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if not found:
        raise UsageError(f"{path} holds nothing that can be imported, or was cut short", f"give {KNOWN}")
    if isinstance(found, list) and len(found) > MOST_ROWS:
        raise UsageError(f"{path} holds {len(found):,} rows; {MOST_ROWS:,} can be imported at once", "split it")
    return found


def _of_folder(path: Path) -> list[Imported] | None:
    if (path / MANIFEST).is_file():
        raise UsageError(f"{path} is a run directory of ipw already", f"ipw report {path}")
    return read_upstream(path)


def _of_file(path: Path) -> list[Imported] | Log | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES >> 20} MiB", f"give {KNOWN}")
        header = header_of(path)
        text = "" if header is not None else read_text(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", f"give {KNOWN}") from None
    if header is not None:
        return read_inspect([header], str(path))
    if found := read_llama_bench(text, str(path)) or read_codecarbon(text, str(path)):
        return found
    if text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}:
        return _of_json(text, path)
    return read_power_log(text, str(path))


def _of_json(text: str, path: Path) -> list[Imported] | None:
    try:
        found = documents(text)
    except ValueError as error:
        raise UsageError(
            f"{path} holds nothing that can be imported, or was cut short: {error}", f"give {KNOWN}"
        ) from None
    return next((runs for read in OF_JSON if (runs := read(found, str(path)))), None)
