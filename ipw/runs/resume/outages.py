"""Runs that ended early because what they measured was lost, as their manifests tell it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ipw.errors import OutageError
from ipw.runs.directory import RunDir


def outage_told(manifest: Mapping[str, Any]) -> str | None:
    """Say how the server was lost with which the run ended, and how far it was; `None` where it was not."""
    outage, progress = manifest.get("outage"), manifest.get("progress")
    if not isinstance(outage, dict):
        return None
    told = str(outage.get("told"))
    return f"{told}; {progress.get('finished')} of {progress.get('of')} questions are done" if progress else told


def outage_error(run: RunDir) -> OutageError | None:
    """Make the error with which a command ends that has measured `run`; `None` where all went well."""
    manifest = run.manifest()
    told = outage_told(manifest)
    return OutageError(told, manifest["outage"], f"ipw resume {shlex.quote(str(run))}") if told else None
