"""The run directory: all that a run leaves behind, raw first, so that every number can be made again from it."""

from __future__ import annotations

import bisect
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ipw.clock import wall_ns
from ipw.errors import IpwError, UsageError
from ipw.foreign_json import read_json
from ipw.runs.files import absolute, folder_mode, replacing
from ipw.runs.journal_lines import JOURNAL, JournalLines
from ipw.runs.readings import READINGS, RECORD, RECORD_FIELDS
from ipw.runs.run_shapes import SUMMARY as SUMMARY_SHAPE
from ipw.runs.run_shapes import manifest_fault, record_of
from ipw.runs.schema import SCHEMA_VERSION, check_version, migrated
from ipw.runs.self_digest import is_whole, with_digest, without_digest
from ipw.runs.tables import opened, typed
from ipw.secrets_out import blotted
from ipw.shapes import misfit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

T = TypeVar("T")
MANIFEST, SUMMARY, PAGE = "manifest.json", "summary.json", "report.html"
COPIED = "was the run copied whole?"


class RunDir:
    """One run on disk. Every write either appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._given = path
        self.path = absolute(path)
        """Absolute: what is measured may change the working directory."""
        self._lines = JournalLines(self.path)
        self._kept: dict[str, Any] | None = None
        self.called: str | None = None
        """A label for this occasion, in place of the one that the run was measured with: `ipw report NAME=RUN`."""

    def __str__(self) -> str:
        """Give the path as people gave it."""
        return str(self._given)

    @classmethod
    def create(cls, out: Path, slug: str) -> Self:
        """Make `out/<utc>-<slug>/`, a number behind it where that exists already."""
        absolute(out)  # raises where the current folder is gone
        if out.is_symlink() and not out.exists():
            where = f"{out} is a link to {out.readlink()}, which does not exist"
            raise IpwError(where, "choose another folder with --out")
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall_ns() / 1e9))
        stem = now + "-" + (re.sub(r"[^\w.-]+", "-", slug).strip("-.") or "run")
        try:
            out.mkdir(parents=True, exist_ok=True)
            for count in range(1, 1000):
                path = out / (stem[:80] if count == 1 else f"{stem[:80]}-{count}")
                with contextlib.suppress(FileExistsError):
                    path.mkdir(folder_mode())
                    return cls(path)
        except OSError as error:
            raise IpwError(f"cannot write to {out}: {error.strerror}", "choose another folder with --out") from None
        raise IpwError(f"{out} holds a thousand runs of this second", "choose another folder with --out")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing run. Raises UsageError where there is none, or one of a newer schema."""
        if not (path / MANIFEST).is_file():
            raise UsageError(f"{path} is not a run directory: it holds no {MANIFEST}", "`ipw list runs` shows the runs")
        run = cls(path)
        check_version(run.manifest().get("schema_version"), path)
        return run

    # --- manifest and summary ---------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """What was run, on what, by which sensors, in this version's terms. Raises UsageError where it is damaged."""
        return migrated(without_digest(self._read_json(MANIFEST, manifest_fault, COPIED)))

    def manifest_is_whole(self) -> bool:
        """Whether the manifest is as ipw wrote it. Raises UsageError as `manifest` does."""
        return is_whole(self._read_json(MANIFEST, manifest_fault, COPIED))

    def write_manifest(self, manifest: Mapping[str, Any], *, whole: bool = True) -> None:
        """Replace the manifest; `whole` says whether what it was made from was as ipw wrote it."""
        entries = with_digest(blotted({"schema_version": SCHEMA_VERSION, **manifest}), whole=whole)
        self._replace(MANIFEST, json.dumps(entries, indent=1) + "\n")

    def update_manifest(self, **changes: Any) -> None:
        """Replace the given top-level entries of the manifest."""
        self.write_manifest({**self.manifest(), **changes}, whole=self.manifest_is_whole())

    def summary(self) -> dict[str, Any] | None:
        """Every metric of the run; `None` where it was never derived. Raises UsageError as `manifest` does."""
        if not (self.path / SUMMARY).is_file():
            return None
        return without_digest(self._summary())

    def summary_is_whole(self) -> bool:
        """Whether the summary, where there is one, is as ipw wrote it. Raises UsageError as `manifest` does."""
        return not (self.path / SUMMARY).is_file() or is_whole(self._summary())

    def _summary(self) -> dict[str, Any]:
        again = f"ipw report {self} --recompute"
        return self._read_json(SUMMARY, lambda found: misfit(found, SUMMARY_SHAPE), again)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace the summary. NaN and infinity are refused: what is absent is `None` with a reason."""
        self._replace(SUMMARY, json.dumps(with_digest(blotted(summary)), indent=1, allow_nan=False) + "\n")

    # --- journal ----------------------------------------------------------------------------------------------------

    def journal(self, kind: str | None = None) -> Iterable[dict[str, Any]]:
        """Finished units of work in the order in which they finished, of one `kind` or all.

        A line that is torn, or does not fit its kind, is left out; the check of the record tells of it. Those of
        several ranks come one rank after the other.
        """
        for line in self._lines.of(kind):
            record = record_of(line)
            if record and (kind is None or record["kind"] == kind):
                yield record

    def journal_bytes(self) -> int:
        """How long the journal is."""
        path = self.path / JOURNAL
        return path.stat().st_size if path.is_file() else 0

    # --- what is made of the raw files ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what `once` makes: while a run is derived, nobody adds to its raw files, and many ask for the same."""
        self._kept = {}
        try:
            yield
        finally:
            self._kept = None

    def once(self, what: str, make: Callable[[], T]) -> T:
        """Make something of the raw files; within `keeping`, the first time only."""
        if self._kept is None:
            return make()
        if what not in self._kept:
            self._kept[what] = make()
        made: T = self._kept[what]
        return made

    # --- readings ---------------------------------------------------------------------------------------------------

    def readings(self) -> npt.NDArray[np.void]:
        """All raw readings as a structured array with the fields of RECORD_FIELDS, in the order of arrival."""
        import numpy as np

        dtype = np.dtype(RECORD_FIELDS)
        path = self.path / READINGS
        if path.is_file():
            raw = path.read_bytes()
            return np.frombuffer(raw, dtype, count=len(raw) // dtype.itemsize)
        return self._readings_from_table(dtype)

    def reading_count(self) -> int:
        """How many raw readings there are, without loading them."""
        path = self.path / READINGS
        if path.is_file():
            return path.stat().st_size // RECORD.size
        table = self.path / "power.parquet"
        if not table.is_file():
            return 0
        with opened(table) as file:
            return int(file.metadata.num_rows)

    def recent_readings(self, since_ns: int) -> npt.NDArray[np.void]:
        """Readings from about `since_ns` on of a run that is being measured, without reading what came before."""
        import numpy as np

        dtype = np.dtype(RECORD_FIELDS)
        path = self.path / READINGS
        count = path.stat().st_size // dtype.itemsize if path.is_file() else 0
        if count == 0:
            return np.zeros(0, dtype)
        records = np.memmap(path, dtype, "r", shape=(count,))
        first = bisect.bisect_left(range(count), since_ns, key=lambda i: int(records[i]["t_ns"]))
        return np.array(records[first:])

    def _readings_from_table(self, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
        import numpy as np
        import pyarrow as pa

        table = self.read_table("power")
        if table is None:
            return np.zeros(0, dtype)
        sensors = self.manifest().get("sensors", [])
        index = {channel["name"]: channel["index"] for channel in sensors if "index" in channel}
        codes = table["channel"].cast(pa.string()).combine_chunks().dictionary_encode()
        names = codes.dictionary.to_pylist()
        if unknown := [name for name in names if name not in index]:
            where = self.path / "power.parquet"
            raise UsageError(f"{where} holds readings of {unknown[0]!r}, which {MANIFEST} does not name", COPIED)
        lookup = np.array([index[name] for name in names] or [0])
        readings = np.zeros(table.num_rows, dtype)
        readings["channel"] = lookup[codes.indices.to_numpy()] if table.num_rows else 0
        for field in ("t_ns", "value", "status", "uncertainty_ns"):
            readings[field] = table[field].to_numpy()
        return readings

    def pack_readings(self) -> None:
        """Turn `power.bin` into `power.parquet`, which is smaller and which other tools read."""
        import numpy as np
        import pyarrow as pa

        if not (self.path / READINGS).is_file():
            return
        readings = self.readings()
        names = {c["index"]: c["name"] for c in self.manifest().get("sensors", []) if "index" in c}
        known = sorted(names)
        readings = readings[np.isin(readings["channel"], known)]
        codes = np.searchsorted(known, readings["channel"]).astype(np.int32)
        columns = {name: np.ascontiguousarray(readings[name]) for name in ("t_ns", "value", "status", "uncertainty_ns")}
        channel = pa.DictionaryArray.from_arrays(codes, [names[index] for index in known])
        self.write_table("power", pa.table({"t_ns": columns.pop("t_ns"), "channel": channel, **columns}), durable=True)
        (self.path / READINGS).unlink()

    # --- tables -----------------------------------------------------------------------------------------------------

    def write_table(self, name: str, table: pa.Table, *, durable: bool = False) -> None:
        """Replace `<name>.parquet`; `durable` where it cannot be derived again."""
        import pyarrow.parquet as pq

        with replacing(self.path / f"{name}.parquet", durable=durable) as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)

    def write_parts(self, name: str, parts: Iterable[pa.Table]) -> None:
        """Replace `<name>.parquet` by tables of one schema, at least one, of which only one is in memory at a time."""
        import pyarrow.parquet as pq

        tables = iter(parts)
        first = next(tables)
        with (
            replacing(self.path / f"{name}.parquet") as file,
            pq.ParquetWriter(file, first.schema, compression="zstd") as writer,
        ):
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)

    def read_table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """`<name>.parquet`, or `None` where the run has none; of `columns`, those that it has.

        Raises UsageError where it cannot be read, or a column is not what it must be (tables.py).
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            return None
        with opened(path) as file:
            known = file.schema_arrow.names
            table = file.read(None if columns is None else [column for column in columns if column in known])
        return typed(table, path, columns)

    def read_parts(self, name: str, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Yield `<name>.parquet`, of `columns` those that it has, at most `rows` at a time; nothing without a table.

        Raises UsageError as `read_table` does.
        """
        import pyarrow as pa

        path = self.path / f"{name}.parquet"
        if not path.is_file():
            return
        with opened(path) as file:
            known = [column for column in columns if column in file.schema_arrow.names]
            for batch in file.iter_batches(rows, columns=known):
                yield typed(pa.Table.from_batches([batch]), path, columns)

    # --- files ------------------------------------------------------------------------------------------------------

    def _read_json(self, name: str, fault: Callable[[Any], str | None], hint: str) -> dict[str, Any]:
        path = self.path / name
        content: dict[str, Any] = read_json(path, hint)
        if why := fault(content):
            raise UsageError(f"{path} cannot be read: {why}", hint)
        return content

    def _replace(self, name: str, text: str) -> None:
        with replacing(self.path / name, durable=True) as file:
            file.write(text.encode())
