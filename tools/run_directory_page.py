"""Writes docs/run-directory.md from what the code says of the run directory: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from ipw.runs import arrivals
from ipw.runs.contents import COLUMNS, FILES, MANIFEST_ENTRIES, READING_FIELDS, SUMMARY_ENTRIES
from ipw.runs.journal_lines import KINDS
from ipw.runs.readings import RECORD, RECORD_FIELDS
from ipw.runs.schema import HISTORY, SCHEMA_VERSION

PAGE = ROOT / "docs" / "run-directory.md"
BEGIN = """\
<!-- Made by `make docs` from ipw/runs: change it there. -->

# The run directory

A run is a folder, `runs/<utc>-<name>/`. It holds the raw measurements, and everything else is made from them: `ipw
report RUN --recompute` makes every number again, on any machine. Readers never wait. Only one process at a time can
measure, resume, score or derive a run; another one is refused, and the message says which process works on it.

A run is private to its user (folder 0700, files 0600). `--share`, or `IPW_SHARE=1`, gives it the access that the
umask allows.

Names that end in `_ns` are nanoseconds of the monotonic clock; `_j` are joules, `_w` watts, `_bytes` bytes. What is
not known is `null`, with a reason beside it; nothing is 0 because it is unknown.
"""
HELD = """\
## How changes and damage are found

When a run ends, its manifest keeps the length and the digest of the journal, how many readings the sampler wrote, and
the digests of these and of every other raw file; `ipw score` adds that of its scores. Manifest and summary hold a
digest of their own entries. If an entry was changed, ipw says so and the run is not valid.

When the run is derived, each line must be complete and of a known kind. Each question that was asked must be there
exactly once, each time must lie within a measured window, and every reading must be there unchanged. Otherwise the
check `record` fails, and the run is not valid. The summary keeps the digests of the files that it was made from. If
one of them has changed later, `ipw report`, `ipw compare`, the gate and `ipw.load_run` say so, and `ipw merge`
refuses the run.

A run of schema version 1 has no digests, so a change of its files cannot be seen. This is said beside its numbers, as
is a change of its joules from one derivation to the next.

A line of the journal is written completely or not at all. If it cannot be written, the run ends, keeps what it has,
and says that it could not write. If the disk is full for less than 0.3 s, ipw waits, and reports that too.

What a crash cut short was not finished; `ipw resume` asks it again.

A run may come from anybody. Entries and columns that are used in computations must have the right type, or the file
is refused in one line (exit code 2). A line of the journal that does not fit its kind counts as incomplete. NaN and
infinity count as absent. Values that are only shown may be anything.
"""


def page() -> str:
    """Make the whole page."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield BEGIN
    yield _table("File", FILES)
    yield HELD
    yield "## `manifest.json`\n"
    yield _table("Entry", MANIFEST_ENTRIES)
    yield "## `journal.jsonl`\n\nOne JSON object a line, which begins with its `kind`.\n"
    yield _table("Kind", KINDS)
    yield f"## `{arrivals.ARRIVALS}`\n\n{(arrivals.__doc__ or '').partition(chr(10) * 2)[2]}"
    yield f"## `power.bin`\n\nRecords of {RECORD.size} bytes, little-endian: {_layout()}.\n"
    yield _table("Field", READING_FIELDS)
    for name, columns in COLUMNS.items():
        yield f"## `{name}.parquet`\n"
        yield _table("Column", columns)
    yield "## `summary.json`\n"
    yield _table("Entry", SUMMARY_ENTRIES)
    yield f"## Versions\n\nThis is version {SCHEMA_VERSION}. Older ones are read; a newer one is refused.\n"
    yield _table("Version", {str(number): told for number, told in HISTORY.items()}, code=False).rstrip() + "\n"


def _layout() -> str:
    return ", ".join(f"`{name}` {kind[1:]}" for name, kind in RECORD_FIELDS)


def _table(heading: str, rows: Mapping[str, str], *, code: bool = True) -> str:
    lines = [f"| {heading} | |", "|---|---|"]
    for names, told in rows.items():
        cell = ", ".join(f"`{name}`" for name in names.split(", ")) if code else names
        lines.append(f"| {cell} | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
