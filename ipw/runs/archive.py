"""A run directory as one archive with a digest, and back."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path

from ipw.errors import IpwError
from ipw.runs.directory import RunDir

PIECE = 16 << 20
"""Bytes that travel at once, so that no run is ever whole in memory."""


def pack(run: Path) -> Path:
    """Write `<run>.tar.gz` beside a run; returns it."""
    archive = run.with_name(run.name + ".tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(run, arcname=run.name)
    return archive


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def piece(path: Path, offset: int) -> bytes:
    """The bytes of a file from `offset` on, at most PIECE of them."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE)


def unpack(archive: Path, folder: Path, sha256: str) -> RunDir:
    """Check an archive and take the run out of it. Raises IpwError where it is damaged or cannot be written."""
    if digest(archive) != sha256:
        raise IpwError(f"{archive.name} was damaged on its way", "its digest is not the one of the node's")
    inside = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(inside, filter="data")
        (arrived,) = inside.iterdir()
        target = _free(folder / arrived.name)
        arrived.rename(target)
    except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:
        raise IpwError(f"{archive.name} cannot be unpacked: {error}", "is the disk full?") from None
    finally:
        shutil.rmtree(inside, ignore_errors=True)
    return RunDir.open(target)


def _free(path: Path) -> Path:
    """Two nodes may have begun runs of one name in the same second."""
    names = (path if count == 1 else path.with_name(f"{path.name}-{count}") for count in range(1, 10_000))
    return next(name for name in names if not name.exists())
