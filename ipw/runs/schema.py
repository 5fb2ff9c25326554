"""The versions of the run directory: what changed with each, and how what an older one wrote is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipw.errors import UsageError

HISTORY: dict[int, str] = {
    1: "The first.",
    2: "`recorded` in the manifest, with which the journal and the readings are held against what the run left; "
    "`ids_digest` of the data set; `status`, `questions` and `files` in the summary; `digest` in manifest and summary. "
    "The journal's kind `cut_off`; its questions say how they failed (`failure`, `http_status`).",
}
"""Of the whole directory, by version. A change that an older ipw would misread is a new version."""
SCHEMA_VERSION = max(HISTORY)


def _from_1(manifest: dict[str, Any]) -> dict[str, Any]:
    """What version 1 did not write down is not known."""
    return {**manifest, "recorded": None}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From each older version to the one after it."""


def migrated(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Read a manifest of any older version as one of this; what is no version stays as it is."""
    found = dict(manifest)
    version = found.get("schema_version")
    while type(version) is int and version in MIGRATIONS:
        version += 1
        found = MIGRATIONS[version - 1](found) | {"schema_version": version}
    return found


def check_version(version: object, path: Path) -> None:
    """Raise UsageError where a run's version is not one that this ipw reads."""
    if type(version) is not int or version < 1:
        raise UsageError(f"{path} has the schema version {version!r}, which none has", "was the run copied whole?")
    if version > SCHEMA_VERSION:
        told = f"{path} was written by a newer ipw: its schema version is {version}, and this ipw reads up to"
        raise UsageError(f"{told} {SCHEMA_VERSION}", "pip install --upgrade ipw")
