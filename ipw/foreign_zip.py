"""Members of ZIP archives that others made, also those of Zstandard, which Python's own module learns in 3.14."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

ZSTANDARD, LOCAL_HEADER = 93, struct.Struct("<26xHH")
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, struct.error, RuntimeError,
)  # fmt: skip
"""What reading an archive may raise; the last where it is encrypted, or packed in a way that is not known here."""


def member_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, most: int) -> bytes:
    """Unpack a member of at most `most` bytes of the archive at `path`. Raises one of DAMAGED where it cannot be."""
    if member.file_size > most:
        raise ValueError(f"its {member.filename} is larger than {most >> 20} MiB")
    if member.compress_type != ZSTANDARD:
        return archive.read(member)
    import pyarrow as pa

    with path.open("rb") as file:
        file.seek(member.header_offset)
        name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        file.seek(name_length + extra_length, io.SEEK_CUR)
        packed = file.read(member.compress_size)
    with pa.input_stream(pa.BufferReader(packed), compression="zstd") as stream:
        unpacked: bytes = stream.read(member.file_size)
    if len(unpacked) != member.file_size or zlib.crc32(unpacked) != member.CRC:
        raise zipfile.BadZipFile(f"its {member.filename} is damaged")
    return unpacked
